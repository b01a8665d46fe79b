"""What batches are ranked by: values of which the lowest is the best, one for each batch and each of its resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.uncertainty import RESAMPLES, resample_count

_BLOCK_VALUES = 2**20
"""Values drawn at once."""
_MEDIAN_WORK = 100
"""What a row's part in a median costs, in multiplications."""


@dataclass(frozen=True, eq=False)
class Measures:
    """What a criterion sees of one batch in each of L layers: `values` [L], and `resampled` [L, R], row i of every
    resample r being the same row of every batch."""

    values: NDArray[np.float64]
    resampled: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: "Sequence[Measures]") -> "Measures":
        """Those of several layers as one, with the resamples that all of them have."""
        count = min(each.resampled.shape[1] for each in parts)
        return cls(
            np.concatenate([each.values for each in parts]),
            np.concatenate([each.resampled[:, :count] for each in parts]),
        )


def combined(measures: Sequence[Measures]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The criterion's value of each of B batches [B], and of each of R resamples of them [B, R].

    Of one layer it is what was measured there; of several, which have units of their own, the sum of the batch's
    places, equal ones sharing the mean of theirs.
    """
    values = np.stack([each.values for each in measures])
    resampled = np.stack([each.resampled for each in measures])
    if values.shape[1] == 1:
        return values[:, 0], resampled[:, 0]
    sums = sum(places(values[:, layer, np.newaxis]) for layer in range(values.shape[1]))
    drawn = sum(places(resampled[:, layer]) for layer in range(values.shape[1]))
    return np.asarray(sums)[:, 0], np.asarray(drawn)


def places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, R]: in each column of `values` [B, R] the place of each, 1 for the lowest, equal ones sharing the mean."""
    found = np.empty_like(values)
    for column, each in enumerate(values.T):
        ordered = np.sort(each)
        below, up_to = (np.searchsorted(ordered, each, side) for side in ("left", "right"))
        found[:, column] = (below + up_to + 1) / 2
    return found


def median_measures(distances: NDArray[np.float64], seed: int, batch_count: int) -> Measures:
    """Medians over the M rows of `distances` [M, L], and over resamples of these rows.

    Rows are drawn as `bootstrap_distances` does: the same ones for every batch of as many rows, given the same `seed`
    and `batch_count`.
    """
    row_count, layer_count = distances.shape
    count = resample_count(batch_count * row_count * layer_count * _MEDIAN_WORK, RESAMPLES)
    generator = np.random.default_rng(seed)
    resampled = np.empty((layer_count, count))
    block = max(1, _BLOCK_VALUES // distances.size)
    for start in range(0, count, block):
        stop = min(start + block, count)
        drawn = distances[generator.integers(row_count, size=(stop - start, row_count))]
        resampled[:, start:stop] = np.median(drawn, axis=1).T
    return Measures(np.median(distances, axis=0), resampled)
