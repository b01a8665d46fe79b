"""Which rows of an objective come back: those near to real excerpts, and unlike each other.

A pure function of arrays.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


def keep_diverse(activations: Floats, places: NDArray[np.float64], keep_count: int, weight: float) -> NDArray[np.int64]:
    """Indices of the `keep_count` of R rows that are kept, rising.

    `activations` [R, width] are scaled, so that a Euclidean distance between two rows says how unlike they are;
    `places` [R] say how near each is to real excerpts, the lower the nearer. The nearest row is kept first; then,
    one after the other, that for which (1 - weight) * nearness + weight * novelty is highest. Both are places, 0 to 1:
    nearness is 1 for the nearest row and 0 for the furthest, novelty 1 for the row that is furthest from any that is
    kept. (Of distances themselves a weight below 0.7 would hardly change anything: they differ less than places.) With
    `weight` 0 these are the nearest rows, with 1 those that lie furthest apart. Of equal rows the nearer is kept, then
    the first.

    Raises: ValueError for a weight outside 0 to 1, another number of places than of rows, or more rows to keep than
    there are.
    Source: maximal marginal relevance, Carbonell & Goldstein, SIGIR 1998.
    """
    count = len(activations)
    if places.shape != (count,) or not 1 <= keep_count <= count or not 0 <= weight <= 1:
        raise ValueError(
            f"{count} rows, places {places.shape}, keep_count {keep_count}, weight {weight:g}: give a place for each "
            "row, 1 to that many to keep, and a weight from 0 to 1"
        )
    nearness = 1 - _places(places)
    apart = _distances(activations)
    kept = [int(np.argmax(nearness))]
    novelty = apart[kept[0]].copy()
    while len(kept) < keep_count:
        worth = (1 - weight) * nearness + weight * _places(novelty)
        worth[kept] = -np.inf
        best = np.flatnonzero(worth >= worth.max() - 1e-9)  # equal but for rounding
        kept.append(int(best[np.argmax(nearness[best])]))
        novelty = np.minimum(novelty, apart[kept[-1]])
    return np.sort(np.array(kept, np.int64))


def scaled(activations: Floats, unit_counts: Sequence[int]) -> NDArray[np.float64]:
    """Activations [R, width] of layers with so many units, one after the other, such that all layers weigh the same.

    Each unit is divided by its standard deviation among the rows plus 5 % of the largest of its layer, and by the
    square root of its layer's number of units; a layer that does not vary has 0.
    """
    deviations = activations.std(axis=0, dtype=np.float64)
    parts, first = [], 0
    for count in unit_counts:
        own = slice(first, first + count)
        largest = float(deviations[own].max())
        divisor = (deviations[own] + 0.05 * largest) * math.sqrt(count) if largest else np.inf
        parts.append(activations[:, own].astype(np.float64) / divisor)
        first += count
    return np.concatenate(parts, axis=1)


def _places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each of R values, 0 for the lowest and 1 for the highest; equal ones have the same."""
    return np.searchsorted(np.sort(values), values) / max(1, len(values) - 1)


def _distances(rows: Floats) -> NDArray[np.float64]:
    """Euclidean distances [R, R] between rows [R, width]."""
    values = rows.astype(np.float64)
    values = values - values.mean(axis=0)
    squares = np.square(values).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None] - 2.0 * values @ values.T, 0.0)))
