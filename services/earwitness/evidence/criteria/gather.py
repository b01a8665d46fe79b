"""Gathers what criteria go by: activations of all layers, of sweeps and of real audio, and what judges hear."""

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from earwitness.client.references import bundle_of, judges_whole_recordings
from earwitness.client.sweep_sources import SweepSource, profile_of, require_weights
from earwitness.client.values import FloatArray
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.evidence.criteria.values import AskedSense, Heard, SweptSense
from earwitness.evidence.judges import EMBEDDING_JUDGE, Judge
from earwitness.features import FeatureProfile, OnFlaw, load_audio, profile_from_dict, recording_excerpts, render_audio
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.metadata import BundleMetadata

Progress = Callable[[int, int, str], None]
BATCH_ROWS = 16


@dataclass(frozen=True, eq=False)
class RealAudio:
    """The N excerpts of some recordings, one every half an excerpt: which recording each is `of` [N], by its place,
    its `first_frames` [N], its `activations` [N, U] in all layers, and its `spectrograms` [N, bands, frames]."""

    recordings: tuple[Path, ...]
    of: NDArray[np.int64]
    first_frames: NDArray[np.int64]
    activations: FloatArray
    spectrograms: FloatArray

    def most(
        self, unit: int, count: int, *, upwards: bool, among: Sequence[int], apart: bool = False
    ) -> NDArray[np.int64]:
        """The `count` excerpts, or all there are, of the recordings `among` that activate the unit at that column most,
        or least, the most extreme first; with `apart` none of which overlap."""
        values = self.activations[:, unit] if upwards else -self.activations[:, unit]
        allowed = np.isin(self.of, list(among))
        frames = self.spectrograms.shape[2]
        found: list[int] = []
        for each in map(int, np.argsort(-values, kind="stable")):
            if len(found) == count:
                break
            overlaps = apart and any(
                self.of[one] == self.of[each] and abs(self.first_frames[one] - self.first_frames[each]) < frames
                for one in found
            )
            if allowed[each] and not overlaps:
                found.append(each)
        return np.array(found, np.int64)


async def real_audio(
    backend: InferenceBackend, model: str, recordings: Sequence[Path], on_flaw: OnFlaw, on_progress: Progress
) -> RealAudio:
    """All excerpts of the recordings.

    Raises: InvalidArgument for an unknown model, or recordings without an excerpt; AudioError; InferenceUnavailable.
    """
    bundle = await bundle_of(backend, model)
    profile, whole = profile_from_dict(bundle.features), judges_whole_recordings(bundle)
    hop = max(1, bundle.spectrogram_shape[1] // 2)
    of: list[int] = []
    first_frames: list[int] = []
    spectrograms: list[FloatArray] = []
    activations: list[FloatArray] = []
    for place, path in enumerate(recordings):
        waveform = await asyncio.to_thread(load_audio, path, profile.sample_rate_hz, on_flaw)
        excerpts = await asyncio.to_thread(recording_excerpts, profile, waveform, hop, repeated=whole)
        if len(excerpts):
            spectrograms.append(np.asarray(excerpts, np.float32))
            activations.append(await all_activations(backend, bundle, spectrograms[-1]))
            of += [place] * len(excerpts)
            first_frames += [hop * each for each in range(len(excerpts))]
        on_progress(place + 1, len(recordings), "listening to real audio")
    if not of:
        raise InvalidArgument("recordings", "no recording holds an excerpt; give longer ones")
    return RealAudio(
        tuple(recordings),
        np.array(of),
        np.array(first_frames),
        np.concatenate(activations),
        np.concatenate(spectrograms),
    )


async def all_activations(backend: InferenceBackend, bundle: BundleMetadata, spectrograms: FloatArray) -> FloatArray:
    """[N, bands, frames] → [N, U]: the units of all layers, each at the column that its metadata say.

    Raises: InferenceUnavailable, InferenceFailed.
    """
    names = [each.name for each in bundle.layers]
    found = np.empty((len(spectrograms), bundle.unit_count), np.float32)
    for start in range(0, len(spectrograms), BATCH_ROWS):
        rows = slice(start, start + BATCH_ROWS)
        inputs = {"spectrogram": np.ascontiguousarray(spectrograms[rows])}
        served = bundle.served_name("classifier")
        answer = await backend.infer(served, inputs, names, weights_sha256=bundle.weights_sha256)
        for each in bundle.layers:
            found[rows, each.first_unit : each.first_unit + each.unit_count] = answer[each.name]
    return found


class Ears:
    """The judges, and what they make of sounds of one model: voices only for a model of voices."""

    def __init__(self, judges: Mapping[str, Judge], profile: FeatureProfile, *, voices: bool) -> None:
        self._judges = {name: each for name, each in judges.items() if voices or name == EMBEDDING_JUDGE}
        self._profile, self._voices = profile, voices

    async def hear(self, spectrograms: FloatArray) -> Heard:
        """What they make of the sounds of [n, bands, frames], made as those of explanations are."""
        return await asyncio.to_thread(self._hear, spectrograms)

    def _hear(self, spectrograms: FloatArray) -> Heard:
        import soundfile

        probabilities: dict[str, list[float]] = {name: [] for name in self._judges}
        embeddings = []
        with threadpool_limits(1, user_api="blas"):  # threads of NumPy's BLAS wait for each other on a busy machine
            for each in spectrograms:
                waveform, rate_hz = soundfile.read(io.BytesIO(render_audio(self._profile, each).wav), dtype="float32")
                for name, judge in self._judges.items():
                    heard = judge.hear(waveform, rate_hz)
                    probabilities[name].append(heard.vocal_probability)
                    if name == EMBEDDING_JUDGE:
                        embeddings.append(heard.embedding)
        voices = {name: np.array(values) for name, values in probabilities.items() if self._voices}
        return Heard(voices, np.stack([each for each in embeddings if each is not None]))


async def asked_of(backend: InferenceBackend, source: SweepSource) -> list[AskedSense]:
    """Every objective of a sweep that can be compared.

    Raises: FailedPrecondition for a sweep that is not finished, or of other weights than `backend` serves;
    InvalidArgument for one of directions or whole layers, or whose model cannot be heard; InferenceUnavailable.
    """
    sweep = source.sweep
    if sweep.state != "succeeded":
        raise FailedPrecondition(
            f"sweep {sweep.sweep_id} is {sweep.state}; criteria are compared on sweeps that ended: "
            f"`earwitness sweeps resume {sweep.sweep_id}` resumes one that was stopped"
        )
    await require_weights(backend, sweep)
    profile_of(source.model)
    for asked in sweep.objectives:
        if asked.objective.unit is None or asked.whole_layer:
            raise InvalidArgument("sweep", f"{sweep.sweep_id} is of {asked.objective}; criteria need a single unit")
    return [AskedSense(source.model, each.objective) for each in sweep.objectives]


async def swept_senses(
    backend: InferenceBackend,
    source: SweepSource,
    ears: Ears,
    row_count: int,
    on_progress: Progress,
) -> list[SweptSense]:
    """Every objective of a sweep that `asked_of` lets pass, with the activations of all its rows; of each setting the
    first `row_count` rows are heard.

    Raises: InferenceUnavailable; as the source.
    """
    sweep, model = source.sweep, source.model
    bundle = await bundle_of(backend, sweep.model)
    saved = (await source.saved()).sweep
    found = []
    for index, asked in enumerate(saved.objectives):
        results = saved.results_of(index)
        activations, heard = [], []
        for done, result in enumerate(results, 1):
            assert result.latents is not None
            spectrograms = await _spectrograms(backend, bundle, result.latents)
            activations.append(await all_activations(backend, bundle, spectrograms))
            heard.append(await ears.hear(spectrograms[:row_count]))
            on_progress(done, len(results), f"judging {sweep.model}: {asked.objective}")
        found.append(
            SweptSense(
                model,
                asked.objective,
                saved.sweep_id,
                tuple(each.settings for each in results),
                np.stack(activations),
                tuple(heard),
            )
        )
    return found


async def _spectrograms(backend: InferenceBackend, bundle: BundleMetadata, latents: FloatArray) -> FloatArray:
    """[M, Z] → [M, bands, frames]."""
    parts = []
    for start in range(0, len(latents), BATCH_ROWS):
        inputs = {"z": np.ascontiguousarray(latents[start : start + BATCH_ROWS])}
        answer = await backend.infer(bundle.served_name("generator"), inputs, ["spectrogram"])
        parts.append(answer["spectrogram"])
    return np.concatenate(parts)
