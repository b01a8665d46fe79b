"""Real audio: where every excerpt of some recordings lies, how it activates, and those that are picked of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.client.references import bundle_of, judges_whole_recordings, layer_activations
from earwitness.client.values import FloatArray
from earwitness.errors import InvalidArgument
from earwitness.features import FeatureProfile, OnFlaw, load_audio, profile_from_dict, recording_excerpts
from earwitness.inference.backend import InferenceBackend

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RealAudio:
    """The N excerpts of `recordings`, one every half an excerpt.

    `of` [N] is the recording of each, by its place among them, `first_frames` [N] where it begins; `activations`
    [N, units] are those of one layer; an excerpt has `frame_count` frames, every `hop_frames` another one begins.
    """

    recordings: tuple[Path, ...]
    of: Indices
    first_frames: Indices
    activations: FloatArray
    frame_count: int
    hop_frames: int

    def most(self, upwards: NDArray[np.float64], count: int, among: Sequence[Path] | None = None) -> Indices:
        """The `count` excerpts, or all there are, for which `upwards` [N] is highest, the highest first, none of which
        overlap; of the recordings `among`, where some are given."""
        return self._apart(np.argsort(-upwards, kind="stable"), count, among)

    def at(self, upwards: NDArray[np.float64], targets: NDArray[np.float64]) -> Indices:
        """For each of `targets` [n] an excerpt for which `upwards` [N] is nearest to it, none of which overlap.

        Fewer where there are no more; the highest targets, which fewest come near, choose first.
        """
        picked: list[int] = []
        for target in np.sort(targets)[::-1]:
            order = np.argsort(np.abs(upwards - target), kind="stable")
            picked += [int(each) for each in order if self._free(int(each), picked)][:1]
        return np.array(picked, np.int64)

    def _apart(self, order: Indices, count: int, among: Sequence[Path] | None) -> Indices:
        allowed = None if among is None else {self.recordings.index(each) for each in among}
        kept: list[int] = []
        for each in map(int, order):
            if len(kept) == count:
                break
            if (allowed is None or int(self.of[each]) in allowed) and self._free(each, kept):
                kept.append(each)
        return np.array(kept, np.int64)

    def _free(self, index: int, taken: Sequence[int]) -> bool:
        return not any(
            self.of[other] == self.of[index]
            and abs(self.first_frames[other] - self.first_frames[index]) < self.frame_count
            for other in taken
        )


async def scan(
    backend: InferenceBackend,
    model: str,
    layer: str,
    recordings: Sequence[Path],
    *,
    on_flaw: OnFlaw,
    on_progress: Callable[[int, int], None],
) -> RealAudio:
    """The activations of all excerpts; `on_progress` gets recordings done and in all.

    Raises: InvalidArgument for an unknown model or layer, or recordings without an excerpt; AudioError;
    InferenceUnavailable.
    """
    bundle = await bundle_of(backend, model)
    profile, whole = profile_from_dict(bundle.features), judges_whole_recordings(bundle)
    frame_count = bundle.spectrogram_shape[1]
    hop = max(1, frame_count // 2)
    of: list[int] = []
    first_frames: list[int] = []
    activations: list[FloatArray] = []
    for place, recording in enumerate(recordings):
        excerpts = await asyncio.to_thread(_excerpts, recording, profile, hop, whole, on_flaw)
        if len(excerpts):
            activations.append(await layer_activations(backend, bundle, layer, excerpts))
            of += [place] * len(excerpts)
            first_frames += [hop * each for each in range(len(excerpts))]
        on_progress(place + 1, len(recordings))
    if not activations:
        raise InvalidArgument("recordings", "no recording holds an excerpt; give longer ones")
    return RealAudio(
        tuple(recordings), np.array(of), np.array(first_frames), np.concatenate(activations), frame_count, hop
    )


async def spectrograms(
    real: RealAudio, profile: FeatureProfile, indices: Indices, *, repeated: bool
) -> dict[int, FloatArray]:
    """The spectrogram [bands, frames] of each of the excerpts, by its index; each recording is read once."""
    found: dict[int, FloatArray] = {}
    for place in np.unique(real.of[indices]):
        recording = real.recordings[int(place)]
        excerpts = await asyncio.to_thread(_excerpts, recording, profile, real.hop_frames, repeated, _ignored)
        for index in map(int, indices[real.of[indices] == place]):
            found[index] = excerpts[int(real.first_frames[index]) // real.hop_frames].copy()
    return found


def _excerpts(recording: Path, profile: FeatureProfile, hop: int, repeated: bool, on_flaw: OnFlaw) -> FloatArray:
    waveform = load_audio(recording, profile.sample_rate_hz, on_flaw)
    return recording_excerpts(profile, waveform, hop, repeated=repeated)


def _ignored(_flaw: object) -> None:
    """What a recording lacks was reported when it was scanned."""
