"""Partials: statistics of activations, computed where these are, that a scorer merges into a reference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.client.values import FloatArray, Reference, ReferenceVersion, Selection
from earwitness.errors import InvalidArgument

DoubleArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """`mean`, `minimum`, `maximum` `[units]` and `scatter` `[units, units]`, float64.

    The scatter (M2) is the sum over the rows x of (x - mean)(x - mean)ᵀ, divided by nothing.
    """

    mean: DoubleArray
    scatter: DoubleArray
    minimum: DoubleArray
    maximum: DoubleArray


@dataclass(frozen=True, eq=False)
class Partial:
    """Statistics that stand for `row_count` rows of activations: either moments or rows.

    Of a reference of all rows the moments, or all the `rows`, `[row_count, units]` float32, where these take less room;
    of one of top or bottom rows those selected, `[min(row_count, k), units]`, the most extreme first.
    """

    row_count: int
    moments: Moments | None = None
    rows: FloatArray | None = None

    def __post_init__(self) -> None:
        if (self.moments is None) == (self.rows is None):
            raise InvalidArgument("partial", "needs exactly one of moments and rows")

    @classmethod
    def of(cls, rows: FloatArray, selection: Selection) -> "Partial":
        """What a reference of this selection keeps of activations `[rows, units]`, at least one row.

        Takes two float64 copies of the rows in memory: of very many make several partials.

        Raises: InvalidArgument for another shape, and for a selection by a unit that they lack.
        """
        if rows.ndim != 2 or not rows.size:
            raise InvalidArgument("rows", f"have shape {rows.shape}; give [rows, units], at least one row")
        rows = np.ascontiguousarray(rows, np.float32)
        if selection.unit is not None:
            if not 0 <= selection.unit < rows.shape[1]:
                raise InvalidArgument("selection", f"is by unit {selection.unit}; there are {rows.shape[1]} units")
            keys = rows[:, selection.unit]
            order = np.argsort(-keys if selection.kind == "top" else keys, kind="stable")
            return cls(len(rows), rows=rows[order[: selection.k]])
        if len(rows) <= rows.shape[1] + 1:
            return cls(len(rows), rows=rows)
        mean = rows.mean(axis=0, dtype=np.float64)
        centred = rows - mean
        # The mean of many large numbers is rounded: what it missed is the mean of what is left.
        missed = centred.mean(axis=0)
        centred -= missed
        lowest, highest = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        return cls(len(rows), Moments(mean + missed, centred.T @ centred, lowest, highest))

    def to_bytes(self) -> bytes:
        """As it travels: see PartialForm in the scorer's proto."""
        if self.rows is not None:
            return np.ascontiguousarray(self.rows, "<f4").tobytes()
        assert self.moments is not None
        moments = self.moments
        triangle = [row[index:] for index, row in enumerate(moments.scatter)]
        return np.concatenate([moments.mean, moments.minimum, moments.maximum, *triangle]).astype("<f8").tobytes()

    @classmethod
    def of_row_bytes(cls, data: bytes, row_count: int, unit_count: int) -> "Partial":
        """Rows as they travelled. Raises: ValueError for bytes of another length."""
        return cls(row_count, rows=np.frombuffer(data, "<f4").reshape(-1, unit_count))

    @classmethod
    def of_moment_bytes(cls, data: bytes, row_count: int, unit_count: int) -> "Partial":
        """Moments as they travelled. Raises: ValueError for bytes of another length."""
        mean, minimum, maximum, packed = np.split(np.frombuffer(data, "<f8"), unit_count * np.arange(1, 4))
        scatter = np.zeros((unit_count, unit_count))
        scatter[np.triu_indices(unit_count)] = packed
        scatter += np.triu(scatter, 1).T
        return cls(row_count, Moments(mean, scatter, minimum, maximum))


@dataclass(frozen=True, eq=False)
class VersionStatistics:
    """The statistics of one version, and the reference as it was when they were read."""

    reference: Reference
    version: ReferenceVersion
    partial: Partial
