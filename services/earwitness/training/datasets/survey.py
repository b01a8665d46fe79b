"""A folder of recordings before any audio is decoded: what is there, how it is labelled, what each file contains."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.features import FeatureProfile, LogMelProfile
from earwitness.training.corpus import DatasetError
from earwitness.training.corpus.parallel import Progress, run_all, silent, worker_pool
from earwitness.training.datasets.asvspoof import KIND, SpoofingKind, is_spoofing_corpus
from earwitness.training.datasets.inspection import sha256_of
from earwitness.training.datasets.labels import Labelling, Vocabulary, read_intervals, read_words
from earwitness.training.datasets.layout import Kind, Recording, SeededSplit, find_recordings
from earwitness.training.datasets.problems import Problem

PRELOAD = ("earwitness.training.datasets.inspection", "soxr", "soundfile")


DataKind = Kind | SpoofingKind
"""Layouts of recordings whose labels are intervals, and the one of those with a label for all of each."""


@dataclass(frozen=True)
class DataConfig:
    """How a folder is read; `kind` None is found out from the folder.

    `tolerance_s` is how far the end of the labels, and the length a header tells, may be from the audio's. `vocal` and
    `other` are label words beside the known ones. `leave_out_broken` imports what is sound of data with broken files.
    """

    kind: DataKind | None = None
    split: SeededSplit = field(default_factory=SeededSplit)
    vocal: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    tolerance_s: float = 1.0
    leave_out_broken: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance_s < np.inf:
            raise InvalidArgument("tolerance_s", f"is {self.tolerance_s}; give seconds from 0")
        Vocabulary.of(self.vocal, self.other)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of(self.vocal, self.other)


@dataclass(frozen=True)
class Source:
    """A recording whose label file has been read, the content of both by SHA-256; no labelling when that is broken."""

    recording: Recording
    audio_sha256: str
    label_sha256: str
    labelling: Labelling | None


@dataclass(frozen=True)
class Survey:
    """A folder's recordings with their labels, before any audio is decoded; `problems` so far."""

    root: Path
    kind: Kind
    profile: LogMelProfile
    config: DataConfig
    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]

    def relative(self, path: Path) -> str:
        """A file as problems name it."""
        return path.relative_to(self.root).as_posix()


@contextmanager
def recording_pool(workers: int) -> Iterator[Executor]:
    """Worker processes; for one worker a thread of this process, which starts at once."""
    if workers == 1:
        with ThreadPoolExecutor(1) as pool:
            yield pool
    else:
        with worker_pool(workers, PRELOAD) as processes:
            yield processes


def survey(
    path: Path, profile: FeatureProfile, config: DataConfig, workers: int = 1, progress: Progress = silent
) -> Survey:
    """Finds the recordings, reads their labels and the content of all files.

    Raises: DatasetError when `path` is no folder, or its labels are not intervals; InvalidArgument when the profile is
    no log-mel profile.
    """
    if not isinstance(profile, LogMelProfile):
        raise InvalidArgument(
            "profile", f"{profile.name!r} is not log-mel: recordings are labelled on a log-mel frame axis"
        )
    if is_spoofing_corpus(path, config.kind):
        raise DatasetError(
            f"{path}: recordings with one label each, genuine or spoof, make no corpus of labelled frames; training of "
            "replay detectors reads them as they are"
        )
    assert config.kind != KIND  # told above, for the type checker
    layout = find_recordings(path, config.kind, config.split)
    problems = list(layout.problems)
    with recording_pool(workers) as pool:
        digests = run_all(pool, sha256_of, [each.audio for each in layout.recordings], "files", progress)
    sources = []
    for recording, digest in zip(layout.recordings, digests, strict=True):
        file = layout.relative(recording.label)
        if layout.kind == "jamendolyrics":
            labelling, found = read_words(recording.label, file)
        else:
            labelling, found = read_intervals(recording.label, file, config.vocabulary)
        problems += found
        sources.append(Source(recording, digest, sha256_of(recording.label), labelling))
    return Survey(path, layout.kind, profile, config, tuple(sources), (*problems, *_doubles(sources)))


def _doubles(sources: Sequence[Source]) -> list[Problem]:
    """The same audio under two names."""
    readable = sorted((each for each in sources if each.audio_sha256), key=lambda each: each.audio_sha256)
    found = []
    for _, group in groupby(readable, key=lambda each: each.audio_sha256):
        same = list(group)
        if len(same) < 2:
            continue
        names = ", ".join(f"{each.recording.name} ({each.recording.split})" for each in same)
        if len({each.recording.split for each in same}) > 1:
            found.append(Problem("error", "in-two-splits", "", f"the same audio is in more than one split: {names}"))
        else:
            found.append(Problem("warning", "same-audio", "", f"the same audio under several names: {names}"))
    return found
