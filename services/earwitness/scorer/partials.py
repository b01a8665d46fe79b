"""Partials: the statistics of rows on their way into this store, computed elsewhere, or out of it.

moments   mean [D] | minimum [D] | maximum [D] | upper triangle of the scatter, row by row [D (D + 1) / 2], float64
rows      [rows, D] float32 or float64; of a selection its rows, the most extreme first

All little-endian. How many rows they stand for is said beside them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import FloatRows, statistics_body
from earwitness.scorer.intake import Content, ShardRows
from earwitness.scorer.layers import Layout
from earwitness.scorer.references import LARGEST, MAX_PARTIAL_BYTES, NewReference, Shard
from earwitness.scorer.selection import sort_keys
from earwitness.scorer.statistics import Statistics, from_upper_triangle

Form = Literal["moments", "rows"]

ARRAYS: Mapping[Form, Sequence[str]] = {"moments": ("mean", "minimum", "maximum", "scatter"), "rows": ("rows",)}
"""What the store calls the parts of each, in their order."""
_ROUNDING = 1e-6
"""What statistics may be off, of the size of what they are made from: as much as computing them in FP32 costs."""
_BYTES_PER_MOMENT = 8


def content_of(form: Form, shard: Shard, of: NewReference) -> Content:
    """A partial on its way into a reference.

    Raises: InvalidArgument for a form that the reference does not keep, and for one that is too large.
    """
    selection, unit_count = of.selection, of.layout.width
    if form == "moments":
        if selection.kind != "all":
            raise InvalidArgument("header.form", f"is moments; a reference of {selection.kind} rows is made of rows")
        return Moments(shard.row_count, of.layout)
    row_count = shard.row_count if selection.kind == "all" else min(shard.row_count, selection.count)
    byte_count = row_count * unit_count * shard.dtype.itemsize
    most = MAX_PARTIAL_BYTES * shard.dtype.itemsize // 4
    if byte_count > most:
        raise InvalidArgument(
            "header.row_count",
            f"is {shard.row_count}; {unit_count} {shard.datatype} units a row make {byte_count} bytes, a partial has "
            f"at most {most}: send moments",
        )
    if selection.kind == "all":
        return ShardRows(shard, row_count, of)
    return SortedRows(shard, row_count, of)


class SortedRows(ShardRows):
    """The most extreme of a shard's rows, in their order."""

    def __init__(self, shard: Shard, row_count: int, of: NewReference) -> None:
        super().__init__(shard, row_count, of)
        self._of = shard.row_count
        self._selection = self._layout.in_rows(of.selection)
        self._last_key: NDArray[np.floating] = np.full(1, -np.inf, shard.dtype.newbyteorder("="))

    def __str__(self) -> str:
        return f"the {super().__str__()}, selected of {self._of}"

    def _require(self, rows: FloatRows, first_row: int) -> None:
        super()._require(rows, first_row)
        keys = np.concatenate([self._last_key, sort_keys(rows, self._selection)])
        (misplaced,) = np.nonzero(keys[1:] < keys[:-1])
        if misplaced.size:
            unit = self._layout.words(self._selection.column)
            raise InvalidArgument(
                "chunk",
                f"row {first_row + misplaced[0]} is more extreme in {unit} than the one before; the most "
                "extreme must come first",
            )
        self._last_key = keys[-1:]


class Moments:
    """Mean, range and scatter of `row_count` rows."""

    item_bytes = _BYTES_PER_MOMENT

    def __init__(self, row_count: int, layout: Layout) -> None:
        unit_count = layout.width
        self.byte_count = _BYTES_PER_MOMENT * (3 * unit_count + unit_count * (unit_count + 1) // 2)
        self._row_count = row_count
        self._unit_count = unit_count
        self._layout = layout
        self._blocks: list[bytes] = []

    def __str__(self) -> str:
        return f"the FP64 moments of {self._unit_count} units"

    def add(self, block: bytes) -> None:
        """They are looked at as a whole."""
        self._blocks.append(block)

    def body(self) -> bytes:
        """Raises: InvalidArgument for statistics that no rows have."""
        values = np.frombuffer(b"".join(self._blocks), "<f8").astype(np.float64, copy=False)
        self._blocks.clear()
        mean, minimum, maximum = values[: 3 * self._unit_count].reshape(3, -1)
        scatter = from_upper_triangle(values[3 * self._unit_count :], self._unit_count)
        statistics = Statistics(self._row_count, mean, scatter, minimum, maximum)
        require_possible(statistics, self._layout)
        return statistics_body(statistics)


def require_possible(statistics: Statistics, layout: Layout) -> None:
    """Raises: InvalidArgument unless rows of values in the range of FP32 may have them, give or take their rounding."""
    require = partial(_require, layout)
    count, mean, scatter = statistics.count, statistics.mean, statistics.scatter
    minimum, maximum = statistics.minimum, statistics.maximum
    for name, values in (("mean", mean), ("minimum", minimum), ("maximum", maximum)):
        require(np.abs(values) <= LARGEST, name, values, f"must be finite, at most {LARGEST:g}")
    if not np.isfinite(scatter).all():
        row, column = np.argwhere(~np.isfinite(scatter))[0]
        pair = f"{layout.words(row)} and {layout.words(column)}"
        raise InvalidArgument("chunk", f"M2 of {pair} is {scatter[row, column]}; must be finite")
    require(minimum <= maximum, "minimum", minimum, "must not be above the maximum")
    slack = _ROUNDING * np.maximum(np.abs(minimum), np.abs(maximum))
    below, above = mean - minimum, maximum - mean
    require((below >= -slack) & (above >= -slack), "mean", mean, "must be between minimum and maximum")
    squares = scatter.diagonal()
    # Lowest and highest are rows themselves; no values of this range and mean are wider than those all at its ends.
    least = (below - slack).clip(0) ** 2 + (above - slack).clip(0) ** 2
    most = count * (below + slack) * (above + slack)
    possible = (squares >= least * (1 - _ROUNDING)) & (squares <= most * (1 + _ROUNDING))
    require(possible, "M2", squares, f"is not that of {count} rows with this mean, minimum and maximum")
    lifted = scatter.copy()
    np.fill_diagonal(lifted, squares + _ROUNDING * squares.max() + np.finfo(np.float64).tiny)
    try:
        np.linalg.cholesky(lifted)
    except np.linalg.LinAlgError:
        raise InvalidArgument("chunk", "M2 is not positive semidefinite, as that of any rows is") from None


def _require(layout: Layout, allowed: NDArray[np.bool_], name: str, values: NDArray[np.float64], words: str) -> None:
    if not allowed.all():
        unit = int(np.argmin(allowed))
        raise InvalidArgument("chunk", f"{name} of {layout.words(unit)} is {values[unit]:g}; {words}")
