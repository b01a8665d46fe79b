"""What a reference keeps of the rows it is given: the same for one shard, and for all of them when it is frozen.

A collector is fed rows, or the bodies that other collectors wrote, in any order and any split. A body is what the
store keeps of it.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.frechet import Factored, factor, factor_rows, gaussian_of
from earwitness.scorer.selection import SelectedRows, Selection, merge, select
from earwitness.scorer.statistics import Accumulator, Statistics, from_upper_triangle, upper_triangle
from earwitness.storage import blobs

FloatRows = NDArray[np.float32] | NDArray[np.float64]
"""Rows as they were sent. Of both kinds together float64 ones are made, which hold either exactly."""


@dataclass(frozen=True)
class Frozen:
    """What a batch is scored against: the selected rows' Gaussian and their range, `minimum` and `maximum` [D]."""

    gaussian: Factored
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    def unit(self, index: int) -> "Frozen":
        """The same of one unit alone."""
        one = slice(index, index + 1)
        return Frozen(self.gaussian.unit(index), self.minimum[one], self.maximum[one])

    @classmethod
    def of(cls, gaussian: Factored, minimum: NDArray[np.float64], maximum: NDArray[np.float64]) -> "Frozen":
        """Where a unit is the same in all rows it has no variance, and what rounding left of one is taken away: set
        against that, any distance would be a vast one."""
        constant = minimum == maximum
        if gaussian.variance[constant].any():
            mean, variance, root = gaussian.mean.copy(), gaussian.variance.copy(), gaussian.root.copy()
            mean[constant], variance[constant], root[constant] = minimum[constant], 0.0, 0.0
            gaussian = Factored(gaussian.count, mean, variance, root)
        return cls(gaussian, minimum, maximum)

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        gaussian = self.gaussian
        return 4 * gaussian.mean.nbytes + gaussian.root.nbytes

    def to_body(self) -> bytes:
        """For the store."""
        gaussian = self.gaussian
        return blobs.encode(
            {
                "count": np.array(gaussian.count, dtype=np.int64),
                "mean": gaussian.mean,
                "variance": gaussian.variance,
                "root": gaussian.root,
                "minimum": self.minimum,
                "maximum": self.maximum,
            }
        )

    @classmethod
    def from_body(cls, body: bytes) -> "Frozen":
        """From the store.

        Raises: CorruptBlob.
        """
        arrays = blobs.decode(body)
        gaussian = Factored(int(arrays["count"]), arrays["mean"], arrays["variance"], arrays["root"])
        return cls.of(gaussian, arrays["minimum"], arrays["maximum"])


class Collector(Protocol):
    """Keeps what a selection needs of the rows it is given."""

    def add_rows(self, rows: FloatRows, shard_id: str, first_row: int) -> None:
        """Takes rows [N, D], which begin at row `first_row` of a shard."""

    def add_body(self, body: bytes) -> None:
        """Takes all that another collector of the same selection was given. Raises: CorruptBlob."""

    def body(self) -> bytes:
        """What was kept."""

    def frozen(self) -> Frozen:
        """The Gaussian and range of what was kept. Raises: ValueError for fewer than two rows."""


def collector(selection: Selection, unit_count: int) -> Collector:
    """An empty collector for rows of `unit_count` units."""
    if selection.kind == "all":
        return AllRows(unit_count)
    return ExtremeRows(selection)


def statistics_body(statistics: Statistics) -> bytes:
    """The body of rows of which every one counts, known by their statistics."""
    return blobs.encode(
        {
            "count": np.array(statistics.count, dtype=np.int64),
            "mean": statistics.mean,
            "scatter": upper_triangle(statistics.scatter),
            "minimum": statistics.minimum,
            "maximum": statistics.maximum,
        }
    )


class AllRows:
    """Every row counts: the rows themselves while they take less room than their statistics, then those."""

    def __init__(self, unit_count: int) -> None:
        self._unit_count = unit_count
        self._rows: list[FloatRows] = []
        self._row_count = 0
        self._accumulator: Accumulator | None = None

    def add_rows(self, rows: FloatRows, shard_id: str, first_row: int) -> None:
        """Takes rows [N, D]; where they come from does not matter."""
        self._rows.append(rows)
        self._row_count += len(rows)
        # N rows of float32 are 4 N D bytes, their scatter's upper triangle is 4 D (D + 1).
        if self._row_count > self._unit_count + 1:
            self._fold()

    def add_body(self, body: bytes) -> None:
        """Raises: CorruptBlob."""
        arrays = blobs.decode(body)
        if "rows" in arrays:
            self.add_rows(arrays["rows"], "", 0)
            return
        scatter = from_upper_triangle(arrays["scatter"], self._unit_count)
        statistics = Statistics(int(arrays["count"]), arrays["mean"], scatter, arrays["minimum"], arrays["maximum"])
        self._fold().add(statistics)

    def body(self) -> bytes:
        """The rows, or count, mean, packed scatter, minimum and maximum."""
        if self._accumulator is None:
            return blobs.encode({"rows": self._stacked()})
        return statistics_body(self._fold().statistics())

    def frozen(self) -> Frozen:
        """Raises: ValueError for fewer than two rows."""
        if self._accumulator is None:
            return _frozen_rows(self._stacked())
        statistics = self._fold().statistics()
        return Frozen.of(factor(gaussian_of(statistics)), statistics.minimum, statistics.maximum)

    def _fold(self) -> Accumulator:
        """Turns the rows held into statistics; returns those."""
        if self._accumulator is None:
            self._accumulator = Accumulator(self._unit_count)
        self._accumulator.add_rows(self._stacked())
        self._rows, self._row_count = [], 0
        return self._accumulator

    def _stacked(self) -> FloatRows:
        return np.concatenate([np.empty((0, self._unit_count), dtype=np.float32), *self._rows])


class ExtremeRows:
    """The k rows where a unit is highest or lowest, with all their units."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._parts: list[SelectedRows] = []

    def add_rows(self, rows: FloatRows, shard_id: str, first_row: int) -> None:
        """Takes rows [N, D], which begin at row `first_row` of a shard."""
        self._add(select(rows, self._selection, shard_id, first_row))

    def add_body(self, body: bytes) -> None:
        """Raises: CorruptBlob."""
        arrays = blobs.decode(body)
        shard_ids = arrays["shard_ids"].tobytes().decode().split("\n")
        self._add(SelectedRows(arrays["rows"], tuple(shard_ids), arrays["row_indices"]))

    def body(self) -> bytes:
        """The rows selected, and the shard and row each came from."""
        selected = self._merged()
        # A shard id is printable: it holds no line break.
        shard_ids = np.frombuffer("\n".join(selected.shard_ids).encode(), dtype=np.uint8)
        return blobs.encode({"rows": selected.rows, "shard_ids": shard_ids, "row_indices": selected.row_indices})

    def frozen(self) -> Frozen:
        """Raises: ValueError for fewer than two rows."""
        return _frozen_rows(self._merged().rows)

    def _add(self, part: SelectedRows) -> None:
        self._parts.append(part)
        # Merging only now and then keeps the work per row constant and the rows held below three times k.
        if sum(len(each.rows) for each in self._parts) > 2 * self._selection.k:
            self._merged()

    def _merged(self) -> SelectedRows:
        self._parts = [merge(self._parts, self._selection)]
        return self._parts[0]


def _frozen_rows(rows: FloatRows) -> Frozen:
    gaussian = factor_rows(rows)
    return Frozen.of(gaussian, rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64))
