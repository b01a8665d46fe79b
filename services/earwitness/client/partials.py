"""Partials: statistics of activations, computed where these are, that a scorer merges into a reference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.client.values import Reference, ReferenceVersion, Selection
from earwitness.errors import InvalidArgument
from earwitness.rpc.tensors import WIRE_TYPES, FloatTensor, Numbers, exact, wire_bytes

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

    Of a reference of all rows the moments, or all the `rows`, `[row_count, units]`, where these take less room; of one
    of top or bottom rows those selected, `[min(row_count, k), units]`, the most extreme first. Rows are float32 where
    that holds every number exactly, else float64.
    """

    row_count: int
    moments: Moments | None = None
    rows: FloatTensor | None = None

    def __post_init__(self) -> None:
        if (self.moments is None) == (self.rows is None):
            raise InvalidArgument("partial", "needs exactly one of moments and rows")

    @classmethod
    def of(cls, activations: Numbers, selection: Selection, *, first_column: int = 0) -> "Partial":
        """What a reference of this selection keeps of activations `[rows, units]`, at least one row.

        Where it keeps several layers, rows hold all of them, and its own, whose unit selects, begins at `first_column`.

        Takes two float64 copies of the rows in memory: of very many make several partials.

        Raises: InvalidArgument for another shape, for a selection by a unit that they lack, and for numbers that
        float64 does not hold exactly.
        """
        if activations.ndim != 2 or not activations.size:
            raise InvalidArgument("rows", f"have shape {activations.shape}; give [rows, units], at least one row")
        try:
            rows = exact(activations)
        except ValueError as err:
            raise InvalidArgument("rows", str(err)) from err
        if selection.unit is not None:
            column = first_column + selection.unit
            if selection.unit < 0 or not 0 <= column < rows.shape[1]:
                units = rows.shape[1] - first_column
                raise InvalidArgument("selection", f"is by unit {selection.unit}; there are {units} units")
            keys = rows[:, column]
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

    @property
    def datatype(self) -> str:
        """The KServe v2 name of the type that its numbers travel in."""
        return "FP64" if self.rows is None else wire_bytes(self.rows[:0])[0]

    def to_bytes(self) -> bytes:
        """As it travels: see PartialForm in the scorer's proto."""
        if self.rows is not None:
            return wire_bytes(self.rows)[1]
        assert self.moments is not None
        moments = self.moments
        triangle = [row[index:] for index, row in enumerate(moments.scatter)]
        return np.concatenate([moments.mean, moments.minimum, moments.maximum, *triangle]).astype("<f8").tobytes()

    @classmethod
    def of_row_bytes(cls, data: bytes, row_count: int, unit_count: int, datatype: str = "FP32") -> "Partial":
        """Rows as they travelled. Raises: ValueError for bytes of another length, and for another type."""
        if datatype not in WIRE_TYPES:
            raise ValueError(f"rows of {datatype} came; FP32 and FP64 are known")
        return cls(row_count, rows=np.frombuffer(data, WIRE_TYPES[datatype]).reshape(-1, unit_count))

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
