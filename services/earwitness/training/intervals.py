"""How sure figures of a classifier are: intervals by resampling whole files, since frames of one file are alike.

The threshold is taken as given: its own uncertainty, that of the validation files, is not in the intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.intervals import RESAMPLES, SEED, Interval, interval_of

SCORE_BINS = 4096
"""Scores are ranked in so many bins of equal count: off by at most half a bin, AUROC is exact to about 1e-4."""


class ScoredFrames(Protocol):
    """Scores and truth of one file's frames, both `[frames]`."""

    @property
    def scores(self) -> NDArray[np.float32]: ...

    @property
    def labels(self) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Intervals:
    """Of error, AUROC and F1 over `files` files."""

    files: int
    error: Interval
    auroc: Interval
    f1: Interval


def bootstrap(
    files: Sequence[ScoredFrames], threshold: float, resamples: int = RESAMPLES, seed: int = SEED
) -> Intervals:
    """Percentile intervals over resamples of the files with replacement; a single file gives NaN.

    Source: the percentile bootstrap of Efron, Annals of Statistics 7 (1979), with files in place of single frames.
    """
    if len(files) < 2:
        nothing = Interval(float("nan"), float("nan"))
        return Intervals(len(files), nothing, nothing, nothing)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(files), np.full(len(files), 1 / len(files)), size=resamples).astype(np.float64)
    hits, false_alarms, misses, frames = (weights @ column for column in _counts(files, threshold).T)
    wrong = false_alarms + misses
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / (2 * hits + wrong)
    return Intervals(len(files), interval_of(wrong / frames), interval_of(_aurocs(files, weights)), interval_of(f1))


def _counts(files: Sequence[ScoredFrames], threshold: float) -> NDArray[np.float64]:
    """Hits, false alarms, misses and frames of each file `[files, 4]`."""
    rows = []
    for each in files:
        called = each.scores >= threshold
        rows.append(
            ((called & each.labels).sum(), (called & ~each.labels).sum(), (~called & each.labels).sum(), len(called))
        )
    return np.array(rows, np.float64)


def _aurocs(files: Sequence[ScoredFrames], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve of each resample `[resamples]`, NaN where it holds one class."""
    scores = np.concatenate([each.scores for each in files])
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, SCORE_BINS + 1)[1:-1]))
    positive, negative = (np.zeros((len(files), len(edges) + 1)) for _ in range(2))
    for row, each in enumerate(files):
        bins = np.searchsorted(edges, each.scores, side="right")
        positive[row] = np.bincount(bins[each.labels], minlength=len(edges) + 1)
        negative[row] = np.bincount(bins[~each.labels], minlength=len(edges) + 1)
    above, below = weights @ positive, weights @ negative
    # P(a positive is higher than a negative), ties within a bin counted half.
    ordered = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(ordered / (above.sum(axis=1) * below.sum(axis=1)))
