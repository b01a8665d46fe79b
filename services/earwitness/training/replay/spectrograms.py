"""Spectrograms of a split's utterances on disk, half precision, computed once and read by every epoch.

    <folder>/<key>.f16    float16 [total frames, bands], memory-mapped
    <folder>/<key>.json   frame count of each utterance; its presence says "complete"

The key tells the profile, the audio files as they are, how they are altered and how many frames of each are kept.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.features import AudioError, FeatureProfile, load_audio, utterance_spectrogram
from earwitness.files import remove_orphans, whole_file
from earwitness.training.corpus.parallel import worker_pool
from earwitness.training.replay.alterations import ALTERATIONS
from earwitness.training.replay.utterances import Utterance
from earwitness.training.replay.windows import BandStatistics
from earwitness.training.run_folder import Progress, silent

FORMAT_VERSION = 3
LISTED = 5
"""Most broken files that a message lists."""


@dataclass(frozen=True)
class UtteranceSpectrograms:
    """Utterances and their frames `[total frames, bands]`, float16, one utterance after the other."""

    utterances: Sequence[Utterance]
    frames: NDArray[np.float16]
    frame_counts: Sequence[int]
    _firsts: Sequence[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_firsts", [0, *accumulate(self.frame_counts)])

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def genuine(self) -> NDArray[np.bool_]:
        """Label of each utterance `[U]`."""
        return np.array([utterance.genuine for utterance in self.utterances], bool)

    def spectrogram(self, index: int) -> NDArray[np.float16]:
        """Frames `[frames, bands]` of one utterance, a view."""
        return self.frames[self._firsts[index] : self._firsts[index + 1]]

    def band_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation `[bands]` over all frames kept."""
        statistics = BandStatistics(self.frames.shape[1])
        for index in range(len(self)):
            statistics.add(self.spectrogram(index))
        return statistics.mean_and_std()


def stored_spectrograms(
    utterances: Sequence[Utterance],
    profile: FeatureProfile,
    folder: Path,
    *,
    kept_frames: int | None = None,
    alteration: str | None = None,
    workers: int = 0,
    progress: Progress = silent,
) -> UtteranceSpectrograms:
    """The spectrograms of `utterances`, in order, from `folder`, where they are computed unless they are there.

    Only the first `kept_frames` of each are kept, where given. `alteration` names a change of `ALTERATIONS` that the
    waveforms go through first. `workers` processes compute the spectrograms, 0 this one.

    Raises: InvalidArgument when there are no utterances; AudioError naming the files that cannot be used.
    """
    if not utterances:
        raise InvalidArgument("utterances", "got none; the split is empty")
    tasks = [_Task(utterance.path, profile, kept_frames, alteration) for utterance in utterances]
    key = _key(utterances, profile, kept_frames, alteration)
    index, data = folder / f"{key}.json", folder / f"{key}.f16"
    if not index.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        remove_orphans(data)
        if workers:
            with worker_pool(workers, ["earwitness.training.replay.spectrograms"]) as pool:
                counts = _write(data, pool.map(_compute, tasks, chunksize=8), len(tasks), progress)
        else:
            counts = _write(data, map(_compute, tasks), len(tasks), progress)
        with whole_file(index) as partial:
            partial.write_text(json.dumps({"profile": profile.name, "frame_counts": counts}))
    counts = json.loads(index.read_text())["frame_counts"]
    frames = np.memmap(data, np.float16, "r", shape=(sum(counts), profile.excerpt_shape[0]))
    return UtteranceSpectrograms(utterances, frames, counts)


@dataclass(frozen=True)
class _Task:
    path: Path
    profile: FeatureProfile
    kept_frames: int | None
    alteration: str | None


def _compute(task: _Task) -> NDArray[np.float16] | str:
    """The frames, or what is wrong with the file."""
    try:
        waveform = load_audio(task.path, task.profile.sample_rate_hz)
    except AudioError as err:
        return str(err)
    if task.alteration is not None:
        waveform = ALTERATIONS[task.alteration].apply(waveform, task.profile.sample_rate_hz)
    if not len(waveform):
        return f"{task.path}: lasts less than a sample at {task.profile.sample_rate_hz} Hz; give a longer recording"
    if task.kept_frames is not None:
        # The last frames that are kept reach beyond the fewest samples that make as many.
        waveform = waveform[: task.profile.sample_count(task.kept_frames) + task.profile.widest_window]
    return utterance_spectrogram(task.profile, waveform)[: task.kept_frames].astype(np.float16)


def _write(path: Path, results: Iterable[NDArray[np.float16] | str], total: int, progress: Progress) -> list[int]:
    counts, broken = list[int](), list[str]()
    with whole_file(path) as partial:
        with partial.open("wb") as file:
            for done, result in enumerate(results, start=1):
                if isinstance(result, str):
                    broken.append(result)
                else:
                    result.tofile(file)
                    counts.append(len(result))
                progress(done, total, "spectrograms")
        if broken:
            more = f"; and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
            raise AudioError("; ".join(broken[:LISTED]) + more)
    return counts


def _key(
    utterances: Sequence[Utterance], profile: FeatureProfile, kept_frames: int | None, alteration: str | None
) -> str:
    made = [FORMAT_VERSION, profile.to_dict(), kept_frames, *([] if alteration is None else [alteration])]
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode())
    for utterance in utterances:
        found = utterance.path.stat() if utterance.path.is_file() else None
        body = [str(utterance.path.resolve()), found and found.st_size, found and found.st_mtime_ns]
        digest.update(json.dumps(body).encode())
    return digest.hexdigest()[:32]
