"""Count, mean, scatter and range of rows, in float64, exact under any split of the rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]
"""[N, D] activations: N rows, D units."""

_BLOCK_VALUES = 2**18
_MIN_BLOCK_ROWS = 512
_MAX_BLOCK_ROWS = 2**15
"""Rows are centred in blocks of about so many values: memory stays bounded, a block stays in the processor's cache, and
has rows enough to make a [D, D] product worth its while."""
_PANEL = 512
"""Rows of a [D, D] matrix that are worked on at once: of a large one, no second one is needed."""


@dataclass(frozen=True)
class Statistics:
    """What a Gaussian and a range need to know of N rows of D units.

    `count` is N; `mean`, `minimum`, `maximum` are [D] float64; `scatter` is [D, D] float64, the sum over rows of
    (x - mean)(x - mean)ᵀ.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    def part(self, columns: slice) -> "Statistics":
        """The same of some units, without a copy."""
        return Statistics(
            self.count, self.mean[columns], self.scatter[columns, columns], self.minimum[columns], self.maximum[columns]
        )


class Accumulator:
    """Statistics that grow in place by rows or by other statistics; takes one [D, D] matrix of memory, two small ones.

    Source: Chan, Golub & LeVeque 1979, the pairwise update of means and sums of squares.
    """

    def __init__(self, dimension_count: int) -> None:
        self._count = 0
        self._mean = np.zeros(dimension_count)
        self._scatter = np.zeros((dimension_count, dimension_count))
        self._product = np.empty(min(dimension_count, _PANEL) * dimension_count)
        self._scratch = np.empty((0, dimension_count))
        self._minimum = np.full(dimension_count, np.inf)
        self._maximum = np.full(dimension_count, -np.inf)

    def add_rows(self, rows: Rows) -> None:
        """Counts `rows` [N, D].

        Raises: ValueError when D is another.
        """
        self._check(rows.shape[-1] if rows.ndim == 2 else -1)
        block = min(max(_BLOCK_VALUES // rows.shape[1], _MIN_BLOCK_ROWS), _MAX_BLOCK_ROWS)
        for start in range(0, len(rows), block):
            self._add_block(rows[start : start + block])

    def add(self, other: Statistics) -> None:
        """Counts the rows that `other` was made from.

        Raises: ValueError when its dimensions differ.
        """
        self._check(other.mean.shape[0])
        if other.count:
            self._add_means(np.array([other.count], np.float64), other.mean[np.newaxis])
            self._scatter += other.scatter
            self._widen(other.minimum, other.maximum)

    def add_groups(
        self,
        counts: NDArray[np.float64],
        means: NDArray[np.float64],
        scatter: NDArray[np.float64],
        minimum: NDArray[np.float64],
        maximum: NDArray[np.float64],
    ) -> None:
        """Counts G groups of rows at once, each of `counts` [G] rows, at least 1, with its own of the `means` [G, D].

        `scatter` [D (D + 1) / 2] is the sum of theirs, each around its own mean, as `upper_triangle` packs it;
        `minimum` and `maximum` [D] are those of all.

        Raises: ValueError when D is another.
        """
        self._check(means.shape[1])
        self._add_means(counts, means)
        start = 0
        for index, row in enumerate(self._scatter):
            row[index:] += scatter[start : start + len(row) - index]
            start += len(row) - index
        self._widen(minimum, maximum)

    def statistics(self) -> Statistics:
        """What was counted so far, as a value of its own."""
        shared = self.shared()
        return Statistics(
            shared.count, shared.mean.copy(), shared.scatter.copy(), shared.minimum.copy(), shared.maximum.copy()
        )

    def shared(self) -> Statistics:
        """The same without a copy: it changes with what is counted next."""
        for start in range(0, len(self._mean), _PANEL):
            stop = start + _PANEL
            square = self._scatter[start:stop, start:stop]
            square[:] = np.triu(square) + np.triu(square, 1).T
            self._scatter[stop:, start:stop] = self._scatter[start:stop, stop:].T
        return Statistics(self._count, self._mean, self._scatter, self._minimum, self._maximum)

    def _add_block(self, rows: Rows) -> None:
        # One row more than there are, for `_shift`. Kept between blocks: fresh memory costs more than the sums.
        if len(self._scratch) <= len(rows):
            self._scratch = np.empty((len(rows) + 1, rows.shape[1]))
        centred = self._scratch[: len(rows) + 1]
        centred[:-1] = rows
        weights = np.full(len(rows), 1.0 / len(rows))
        mean = weights @ centred[:-1]
        centred[:-1] -= mean
        # The mean of many large numbers is rounded: what it missed is the mean of what is left.
        self._shift(len(rows), mean + weights @ centred[:-1], centred)
        self._widen(rows.min(axis=0), rows.max(axis=0))

    def _add_means(self, counts: NDArray[np.float64], means: NDArray[np.float64]) -> None:
        """Counts groups of rows as if all rows of each, `counts` [G], were its mean, `means` [G, D]."""
        total = counts.sum()
        centred = np.empty((len(means) + 1, means.shape[1]))
        mean = counts @ means / total
        np.subtract(means, mean, out=centred[:-1])
        missed = counts @ centred[:-1] / total
        centred[:-1] -= missed
        centred[:-1] *= np.sqrt(counts)[:, np.newaxis]
        self._shift(int(total), mean + missed, centred)

    def _shift(self, count: int, mean: NDArray[np.float64], centred: NDArray[np.float64]) -> None:
        """Moves count and mean; adds the scatter of `centred` and that between the means, written in its last row."""
        total = self._count + count
        apart = mean - self._mean
        centred[-1] = apart * np.sqrt(self._count * (count / total))
        for start in range(0, len(mean), _PANEL):  # the upper triangle alone; `shared` mirrors it
            panel = centred[:, start : start + _PANEL]
            shape = (panel.shape[1], len(mean) - start)
            product = self._product[: shape[0] * shape[1]].reshape(shape)
            np.matmul(panel.T, centred[:, start:], out=product)
            self._scatter[start : start + _PANEL, start:] += product
        self._mean += apart * (count / total)
        self._count = total

    def _widen(self, minimum: NDArray[np.floating], maximum: NDArray[np.floating]) -> None:
        np.minimum(self._minimum, minimum, out=self._minimum)
        np.maximum(self._maximum, maximum, out=self._maximum)

    def _check(self, dimension_count: int) -> None:
        if dimension_count != self._mean.shape[0]:
            raise ValueError(f"rows must be [N, {self._mean.shape[0]}], the last dimension is {dimension_count}")


def upper_triangle(scatter: NDArray[np.float64]) -> NDArray[np.float64]:
    """[D (D + 1) / 2]: the upper triangle of a symmetric matrix [D, D], row by row."""
    return np.concatenate([row[index:] for index, row in enumerate(scatter)])


def from_upper_triangle(packed: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The matrix [size, size] that `upper_triangle` packed."""
    scatter = np.empty((size, size))
    start = 0
    for index in range(size):
        row = packed[start : start + size - index]
        scatter[index, index:] = row
        scatter[index:, index] = row
        start += size - index
    return scatter


def lower_triangle(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """[D (D + 1) / 2]: the lower triangle of a matrix [D, D], row by row."""
    return np.concatenate([row[: index + 1] for index, row in enumerate(matrix)])


def from_lower_triangle(packed: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The triangular matrix [size, size] that `lower_triangle` packed, 0 above its diagonal."""
    matrix = np.zeros((size, size))
    start = 0
    for index in range(size):
        matrix[index, : index + 1] = packed[start : start + index + 1]
        start += index + 1
    return matrix


def from_rows(rows: Rows) -> Statistics:
    """Statistics of `rows` [N, D], N at least 1.

    Raises: ValueError when `rows` is not two-dimensional or has no row.
    """
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"rows must be [N, D] with at least one row and one unit, got shape {rows.shape}")
    accumulator = Accumulator(rows.shape[1])
    accumulator.add_rows(rows)
    return accumulator.statistics()
