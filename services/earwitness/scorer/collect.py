"""What a reference keeps of the rows it is given: the same for one shard, and for all of them when it is frozen.

A collector is fed rows, or the bodies that other collectors wrote, in any order and any split. A body is what the
store keeps of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.frechet import Factored, eigenvalues_of, factor_rows, factor_statistics
from earwitness.scorer.selection import SelectedRows, merge, select
from earwitness.scorer.statistics import (
    Accumulator,
    Statistics,
    from_lower_triangle,
    lower_triangle,
    upper_triangle,
)
from earwitness.storage import blobs
from earwitness.vocabulary.reference import Selection

FloatRows = NDArray[np.float32] | NDArray[np.float64]
"""Rows as they were sent. Of both kinds together float64 ones are made, which hold either exactly."""

ALL_COLUMNS = slice(None)
_HELD_BYTES = 4 * 2**20
"""What small shards may take before they are counted together: counting each by itself costs far more."""
_HELD_ROWS = 256
"""The same, of rows: what is held of extreme ones beside the k, and counted at once of all."""


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
            variance, root = gaussian.variance.copy(), gaussian.root.copy()
            variance[constant], root[constant] = 0.0, 0.0
            gaussian = replace(gaussian, variance=variance, root=root, eigenvalues=eigenvalues_of(root))
        if (gaussian.mean[constant] != minimum[constant]).any():
            gaussian = replace(gaussian, mean=np.where(constant, minimum, gaussian.mean))
        return cls(gaussian, minimum, maximum)

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        gaussian = self.gaussian
        return 4 * gaussian.mean.nbytes + gaussian.root.nbytes + gaussian.eigenvalues.nbytes

    def to_body(self) -> bytes:
        """For the store: of a triangular root the triangle."""
        gaussian = self.gaussian
        root = gaussian.root
        triangular = root.shape[0] == root.shape[1] and not any(row[at + 1 :].any() for at, row in enumerate(root))
        return blobs.encode(
            {
                "count": np.array(gaussian.count, dtype=np.int64),
                "mean": gaussian.mean,
                "variance": gaussian.variance,
                "eigenvalues": gaussian.eigenvalues,
                "factor": lower_triangle(root) if triangular else root,
                "minimum": self.minimum,
                "maximum": self.maximum,
            }
        )

    @classmethod
    def from_body(cls, body: bytes) -> "Frozen":
        """From the store.

        Raises: StoreDamaged.
        """
        arrays = blobs.decode(body)
        if "root" in arrays:  # as it was at first: of orthogonal columns, whose squared lengths are the eigenvalues
            root = arrays["root"]
            eigenvalues = np.square(root).sum(axis=0)
        else:
            root, eigenvalues = arrays["factor"], arrays["eigenvalues"]
            if root.ndim == 1:
                root = from_lower_triangle(root, len(arrays["mean"]))
        gaussian = Factored(int(arrays["count"]), arrays["mean"], arrays["variance"], root, eigenvalues)
        return cls.of(gaussian, arrays["minimum"], arrays["maximum"])


class Collector(Protocol):
    """Keeps what a selection needs of the rows it is given."""

    def add_rows(self, rows: FloatRows, shard_id: str, first_row: int) -> None:
        """Takes rows [N, D], which begin at row `first_row` of a shard."""

    def add_body(self, body: bytes) -> None:
        """Takes all that another collector of the same selection was given. Raises: StoreDamaged."""

    def body(self) -> bytes:
        """What was kept."""

    def frozen(self, columns: slice = ALL_COLUMNS) -> Frozen:
        """The Gaussian and range of what was kept of some units. Raises: ValueError for fewer than two rows."""


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
        self._groups: list[dict[str, blobs.Array]] = []
        self._group_bytes = 0
        self._accumulator: Accumulator | None = None

    def add_rows(self, rows: FloatRows, shard_id: str, first_row: int) -> None:
        """Takes rows [N, D]; where they come from does not matter."""
        self._rows.append(rows)
        self._row_count += len(rows)
        if self._must_fold and self._row_count * rows.itemsize * self._unit_count > _HELD_BYTES:
            self._fold()

    def add_body(self, body: bytes) -> None:
        """Raises: StoreDamaged."""
        arrays = blobs.decode(body)
        if "rows" in arrays:
            self.add_rows(arrays["rows"], "", 0)
            return
        self._groups.append(arrays)
        self._group_bytes += len(body)
        if self._group_bytes > _HELD_BYTES:
            self._fold()

    def body(self) -> bytes:
        """The rows, or count, mean, packed scatter, minimum and maximum."""
        if not self._must_fold:
            return blobs.encode({"rows": self._stacked(self._rows)})
        return statistics_body(self._fold().shared())

    def frozen(self, columns: slice = ALL_COLUMNS) -> Frozen:
        """Raises: ValueError for fewer than two rows."""
        if not self._must_fold:
            return _frozen_rows(self._stacked(self._rows)[:, columns])
        statistics = self._fold().shared().part(columns)
        return Frozen.of(factor_statistics(statistics), statistics.minimum.copy(), statistics.maximum.copy())

    @property
    def _must_fold(self) -> bool:
        """N rows are 4 N D bytes, their scatter's upper triangle is 4 D (D + 1)."""
        return self._accumulator is not None or bool(self._groups) or self._row_count > self._unit_count + 1

    def _fold(self) -> Accumulator:
        """Turns what is held into statistics; returns those."""
        if self._accumulator is None:
            self._accumulator = Accumulator(self._unit_count)
        for piece in _pieces(self._rows):
            self._accumulator.add_rows(self._stacked(piece))
        self._rows, self._row_count = [], 0
        self._add_groups(self._accumulator)
        return self._accumulator

    def _add_groups(self, accumulator: Accumulator) -> None:
        if not self._groups:
            return
        counts = np.array([arrays["count"] for arrays in self._groups], np.float64)
        means = np.array([arrays["mean"] for arrays in self._groups])
        minimum = np.min([arrays["minimum"] for arrays in self._groups], axis=0)
        maximum = np.max([arrays["maximum"] for arrays in self._groups], axis=0)
        scatters = [arrays["scatter"] for arrays in self._groups]
        scatter = scatters[0] if len(scatters) == 1 else np.sum(scatters, axis=0)
        self._groups, self._group_bytes = [], 0
        accumulator.add_groups(counts, means, scatter, minimum, maximum)

    def _stacked(self, rows: list[FloatRows]) -> FloatRows:
        return np.concatenate([np.empty((0, self._unit_count), dtype=np.float32), *rows])


class ExtremeRows:
    """The k rows where a unit is highest or lowest, with all their units."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._parts: list[SelectedRows] = []
        self._row_count = 0

    def add_rows(self, rows: FloatRows, shard_id: str, first_row: int) -> None:
        """Takes rows [N, D], which begin at row `first_row` of a shard."""
        self._add(select(rows, self._selection, shard_id, first_row))

    def add_body(self, body: bytes) -> None:
        """Raises: StoreDamaged."""
        arrays = blobs.decode(body)
        shard_ids = arrays["shard_ids"].tobytes().decode().split("\n")
        self._add(SelectedRows(arrays["rows"], tuple(shard_ids), arrays["row_indices"]))

    def body(self) -> bytes:
        """The rows selected, and the shard and row each came from."""
        selected = self._merged()
        # A shard id is printable: it holds no line break.
        shard_ids = np.frombuffer("\n".join(selected.shard_ids).encode(), dtype=np.uint8)
        return blobs.encode({"rows": selected.rows, "shard_ids": shard_ids, "row_indices": selected.row_indices})

    def frozen(self, columns: slice = ALL_COLUMNS) -> Frozen:
        """Raises: ValueError for fewer than two rows."""
        return _frozen_rows(self._merged().rows[:, columns])

    def _add(self, part: SelectedRows) -> None:
        self._parts.append(part)
        self._row_count += len(part.rows)
        # Merging only now and then keeps the work per row constant, and the rows held not far above k.
        if self._row_count > self._selection.count + max(self._selection.count // 4, _HELD_ROWS):
            self._merged()

    def _merged(self) -> SelectedRows:
        self._parts = [merge(self._parts, self._selection)]
        self._row_count = len(self._parts[0].rows)
        return self._parts[0]


def _pieces(parts: list[FloatRows]) -> Iterator[list[FloatRows]]:
    """The parts in a few pieces: counted one by one they take long, all at once as much memory again."""
    piece: list[FloatRows] = []
    row_count = 0
    for part in parts:
        piece.append(part)
        row_count += len(part)
        if row_count >= _HELD_ROWS:
            yield piece
            piece, row_count = [], 0
    if piece:
        yield piece


def _frozen_rows(rows: FloatRows) -> Frozen:
    # Laid out as rows of these units alone would be, so that the same numbers are added in the same order.
    rows = rows if rows.flags.c_contiguous else rows.copy(order="C")
    gaussian = factor_rows(rows)
    return Frozen.of(gaussian, rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64))
