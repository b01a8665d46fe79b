"""Utterances as excerpts: windows that begin anywhere, each with its utterance's label."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from earwitness.features import FeatureProfile, cut_or_repeat
from earwitness.training.replay.spectrograms import UtteranceSpectrograms


@dataclass(frozen=True, eq=False)
class UtteranceExcerpts:
    """Windows of whole utterances, which `data` has under `profile`; label 1 is genuine, 0 replayed.

    An utterance shorter than a window goes on from its beginning, as it does before a detector.
    """

    data: UtteranceSpectrograms
    profile: FeatureProfile

    @property
    def label_share(self) -> float:
        """Share of all windows that are genuine."""
        return float(np.repeat(self.data.genuine, self._window_counts).mean())

    @property
    def frame_counts(self) -> Sequence[int]:
        """Frames of each utterance, at least those of a window."""
        return [int(count) + self._length - 1 for count in self._window_counts]

    def excerpt(self, recording: int, start: int) -> NDArray[np.float32]:
        """The window `[bands, frames]` that begins `start` frames into an utterance."""
        window = cut_or_repeat(self.data.spectrogram(recording), self._length, start).astype(np.float32)
        # Half precision rounds the floor down.
        return np.maximum(window, np.float32(self.profile.floor_value))

    def random_excerpts(
        self, rng: np.random.Generator, count: int, recordings: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`count` windows `[count, bands, frames]`, drawn uniformly from all, and their labels `[count]`.

        With `recordings` they are of these utterances alone.
        """
        counts = self._window_counts
        if recordings is not None:
            counts = np.where(np.isin(np.arange(len(counts)), recordings), counts, 0)
        before = np.cumsum(counts)
        chosen = rng.integers(before[-1], size=count)
        utterances = np.searchsorted(before, chosen, side="right")
        starts = chosen - (before - counts)[utterances]
        windows = [self.excerpt(*where) for where in zip(utterances, starts, strict=True)]
        return np.stack(windows), self.data.genuine[utterances].astype(np.float32)

    def band_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each band over all frames, both `[bands]`."""
        return self.data.band_statistics()

    @property
    def _length(self) -> int:
        return self.profile.excerpt_shape[1]

    @cached_property
    def _window_counts(self) -> NDArray[np.int64]:
        """Windows of each utterance `[U]`; a short one has one."""
        return np.maximum(np.asarray(self.data.frame_counts, np.int64) - self._length + 1, 1)
