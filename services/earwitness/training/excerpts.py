"""Excerpts of any corpus, for a generator to learn and to be measured by: labelled spectrograms, or utterances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.features import FeatureProfile
from earwitness.training.corpus import DatasetError, LabelledSpectrograms, Split, open_corpus
from earwitness.training.datasets import open_spoofing_corpus
from earwitness.training.datasets.asvspoof import is_spoofing_corpus
from earwitness.training.replay.excerpts import UtteranceExcerpts
from earwitness.training.replay.spectrograms import stored_spectrograms
from earwitness.training.replay.utterances import UtteranceSplit
from earwitness.training.run_folder import Progress, silent

UTTERANCE_SPLITS: Final[dict[Split, UtteranceSplit]] = {"train": "train", "valid": "dev", "test": "eval"}
"""What ASVspoof calls the split to learn from, to choose by and to report."""


class ExcerptSource(Protocol):
    """One split of a corpus, as excerpts."""

    @property
    def profile(self) -> FeatureProfile:
        """The front end, which tells an excerpt's shape."""
        ...

    @property
    def label_share(self) -> float:
        """Share of label 1."""
        ...

    @property
    def frame_counts(self) -> Sequence[int]:
        """Frames of each recording."""
        ...

    def random_excerpts(
        self, rng: np.random.Generator, count: int, recordings: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`count` excerpts `[count, bands, frames]`, drawn uniformly, and the label of each, 0 or 1, `[count]`.

        With `recordings` they are of these alone.
        """
        ...

    def band_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each band over all frames, both `[bands]`."""
        ...


@dataclass(frozen=True)
class ExcerptCorpus:
    """A corpus whose splits are opened as excerpts.

    `fingerprint` differs when its content does; `sources` tell in words where its recordings come from.
    """

    fingerprint: str
    sources: Sequence[str]
    open: Callable[[Split], ExcerptSource]


def open_excerpts(
    corpus: Path, profile: FeatureProfile | None, cache: Path, progress: Progress = silent
) -> ExcerptCorpus:
    """A corpus of spectrograms (built or imported), or one of utterances with their protocols (see `datasets`).

    Spectrograms keep the profile they were made with. Those of utterances are computed under `profile`, once, and kept
    in the folder `cache`.

    Raises: DatasetError when there is no corpus, or one of utterances without a `profile`; BrokenData as
    `open_spoofing_corpus`; from opening a split DatasetError when every recording is shorter than an excerpt,
    AudioError naming the files that cannot be used.
    """
    if is_spoofing_corpus(corpus, None):
        return _utterances(corpus, profile, cache, progress)
    opened = open_corpus(corpus)

    def labelled(split: Split) -> LabelledSpectrograms:
        data = opened.open(split)
        data.require_excerpts()
        return data

    return ExcerptCorpus(str(opened.manifest["fingerprint"]), list(opened.manifest["sources"]), labelled)


def _utterances(corpus: Path, profile: FeatureProfile | None, cache: Path, progress: Progress) -> ExcerptCorpus:
    if profile is None:
        raise DatasetError(
            f"features: {corpus} holds recordings; name the front end of the detector to be explained, such as "
            "log-power-512@1"
        )
    opened = open_spoofing_corpus(corpus)

    def windows(split: Split) -> UtteranceExcerpts:
        utterances = opened.utterances(UTTERANCE_SPLITS[split])
        return UtteranceExcerpts(stored_spectrograms(utterances, profile, cache, progress=progress), profile)

    return ExcerptCorpus(opened.fingerprint, opened.sources, windows)
