"""What a network sees of an utterance: its beginning, cut or repeated to length, or windows over all of it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import InvalidArgument


def window_starts(frame_count: int, window_frames: int, hop_frames: int | None) -> NDArray[np.int64]:
    """First frames `[N]`, N at least 1, of the windows over an utterance of `frame_count` frames.

    Without a hop there is one window, at the beginning. With one there is a window every `hop_frames`, and a last one
    that ends with the utterance, so that every frame is seen; an utterance no longer than a window has one.

    Raises: InvalidArgument when a count is not positive.
    """
    for name, value in (("frame_count", frame_count), ("window_frames", window_frames), ("hop_frames", hop_frames)):
        if value is not None and value < 1:
            raise InvalidArgument(name, f"got {value}, expected at least 1")
    last = max(0, frame_count - window_frames)
    if hop_frames is None or last == 0:
        return np.zeros(1, np.int64)
    return np.append(np.arange(0, last, hop_frames), last)


def mean_over_windows(scores: ArrayLike, utterances: ArrayLike, utterance_count: int) -> NDArray[np.float64]:
    """Mean score `[utterance_count]` of each utterance from those of its windows.

    `scores` `[W]` are one per window, `utterances` `[W]` say whose, 0 ... utterance_count − 1, in any order.

    Raises: ValueError when the two do not match, or an utterance has no window.
    """
    scores, utterances = np.asarray(scores, np.float64), np.asarray(utterances)
    if scores.ndim != 1 or scores.shape != utterances.shape:
        raise ValueError(f"scores, utterances: got shapes {scores.shape} and {utterances.shape}, expected both [W]")
    counts = np.bincount(utterances, minlength=utterance_count)
    if len(counts) != utterance_count or not counts.all():
        raise ValueError(
            f"utterances: got windows of {np.count_nonzero(counts)} utterances of {len(counts)}, expected at least one "
            f"of each of {utterance_count}"
        )
    return np.asarray(np.bincount(utterances, scores, utterance_count) / counts)


class BandStatistics:
    """Mean and standard deviation of every band over all frames added so far; exact merging, float64 sums."""

    def __init__(self, band_count: int) -> None:
        self._count = 0
        self._mean = np.zeros(band_count)
        self._squares = np.zeros(band_count)
        """Summed squared distances from the mean."""

    def add(self, frames: NDArray[np.floating]) -> None:
        """Adds frames `[N, bands]`."""
        if not len(frames):
            return
        block = frames.astype(np.float64)
        mean = block.mean(axis=0)
        count = self._count + len(block)
        step = mean - self._mean
        self._squares += np.square(block - mean).sum(axis=0) + np.square(step) * self._count * len(block) / count
        self._mean += step * len(block) / count
        self._count = count

    def mean_and_std(self, least_std: float = 1e-2) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation, both `[bands]`, float32.

        A band that never changes would be divided by zero: `least_std`, about the rounding of a stored half-precision
        value, is the least that can be told apart.

        Raises: ValueError when no frame was added.
        """
        if not self._count:
            raise ValueError("band statistics of no frames; add at least one")
        std = np.sqrt(np.maximum(self._squares / self._count, least_std**2))
        return self._mean.astype(np.float32), std.astype(np.float32)
