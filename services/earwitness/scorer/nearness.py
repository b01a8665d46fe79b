"""How near rows are to the rows that a reference keeps: mean distance to the nearest of them, layer by layer.

Within a layer each unit is divided by the standard deviation that it has among the kept rows, plus 5 % of the largest
of the layer: what never varies in real audio counts, but not without bounds. A layer of which no unit varies is left
as it is.

Source: k-nearest-neighbour distance, Ramaswamy, Rastogi & Shim 2000, as the mean over all k (Angiulli & Pizzuti 2002).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.layers import Layout
from earwitness.scorer.statistics import Rows

NEIGHBOURS = 5
"""How many of the nearest count, unless it is said, or there are fewer."""
_SHARE_OF_LARGEST = 0.05
_LEAST_SCALE = 1e-100
"""Below it squares of what FP32 may hold would leave float64."""
_CLOSE = 1e-5
"""Squared distances below this share of the squared lengths are measured anew: as a difference of products they have
lost too many digits."""
_BLOCK_VALUES = 2**21
"""Values of any array at once: 16 MiB."""
_BLOCK_WORK = 2**29
"""Multiplications at once: some 0.1 s, after which others have their turn."""


@dataclass(frozen=True, eq=False)
class _LayerRows:
    """The kept rows of a layer: `rows` [S, d] float64, `centre` taken off and divided by `scale` [d], and the square
    of each row's length, `squares` [S]."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    rows: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Rows) -> "_LayerRows":
        wide = rows.astype(np.float64)
        centre = wide.mean(axis=0)
        wide -= centre
        deviation = np.sqrt(np.einsum("sd,sd->d", wide, wide) / len(wide))
        deviation[(rows == rows[0]).all(axis=0)] = 0.0  # what rounding left of units that never change
        largest = float(deviation.max())
        scale = np.maximum(deviation + _SHARE_OF_LARGEST * largest, _LEAST_SCALE) if largest else np.ones_like(centre)
        wide /= scale
        return cls(centre, scale, wide, np.einsum("sd,sd->s", wide, wide))

    @property
    def byte_count(self) -> int:
        return self.rows.nbytes + self.squares.nbytes + self.centre.nbytes + self.scale.nbytes

    def distances(self, rows: Rows, neighbour_count: int) -> NDArray[np.float64]:
        """[M]: of each of the `rows` [M, d] the mean distance to its nearest."""
        wide = (rows - self.centre) / self.scale
        lengths = np.einsum("md,md->m", wide, wide)[:, np.newaxis] + self.squares
        squares = lengths - 2.0 * (wide @ self.rows.T)
        nearest = np.broadcast_to(np.arange(len(self.rows)), squares.shape)
        if neighbour_count < len(self.rows):
            nearest = np.argpartition(squares, neighbour_count - 1, axis=1)[:, :neighbour_count]
            squares, lengths = (np.take_along_axis(each, nearest, axis=1) for each in (squares, lengths))
        close = np.argwhere(squares < _CLOSE * lengths)
        block = max(1, _BLOCK_VALUES // rows.shape[1])
        for start in range(0, len(close), block):
            at, column = close[start : start + block].T
            apart = wide[at] - self.rows[nearest[at, column]]
            squares[at, column] = np.einsum("pd,pd->p", apart, apart)
        means: NDArray[np.float64] = np.sqrt(squares.clip(0.0)).mean(axis=1)
        return means


@dataclass(frozen=True, eq=False)
class KeptRows:
    """The rows that a version keeps, ready to be measured against, layer by layer, in the order of `layout`."""

    layout: Layout
    _layers: tuple[_LayerRows, ...]

    @classmethod
    def of(cls, rows: Rows, layout: Layout) -> "KeptRows":
        """`rows` [S, D] of the layout."""
        return cls(layout, tuple(_LayerRows.of(rows[:, layout.columns(each)]) for each in range(len(layout.layers))))

    @property
    def row_count(self) -> int:
        """S."""
        return len(self._layers[0].squares)

    @property
    def byte_count(self) -> int:
        """Memory that they take."""
        return sum(each.byte_count for each in self._layers)

    def distances(self, rows: Rows, layers: Sequence[int], neighbour_count: int) -> NDArray[np.float64]:
        """[M, L]: how near each of the `rows` [M, D] is in each of the `layers`, given by their places in the layout.

        All at once: of many rows give one of `blocks` after another.
        """
        found = (self._layers[each].distances(rows[:, self.layout.columns(each)], neighbour_count) for each in layers)
        return np.stack(list(found), axis=1)

    def blocks(self, row_count: int) -> Iterator[slice]:
        """`row_count` rows in parts that take little memory and time."""
        width, kept = self.layout.width, self.row_count
        block = max(1, min(_BLOCK_VALUES // max(width, kept), _BLOCK_WORK // (width * kept)))
        for start in range(0, row_count, block):
            yield slice(start, start + block)


def neighbours(asked: int, row_count: int) -> int:
    """How many neighbours count of `row_count` kept rows: as many as `asked`, or with 0 the default."""
    return asked or min(NEIGHBOURS, row_count)
