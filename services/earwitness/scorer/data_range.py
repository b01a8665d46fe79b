"""The range of real activations, as far as a reference shows it, and how much of a batch lies outside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.collect import Frozen
from earwitness.scorer.statistics import Rows
from earwitness.vocabulary.reference import ALL, Selection

MOSTLY = 0.5
"""A batch leaves the range when more than this share of it lies outside."""


@dataclass(frozen=True, eq=False)
class DataRange:
    """Where real activations lie, `minimum` and `maximum` [D] float64; infinite where the reference does not know."""

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    @classmethod
    def of(cls, frozen: Frozen, selection: Selection = ALL) -> "DataRange":
        """The range of real activations, as far as a reference shows it.

        All rows show it for every unit. The rows where one unit is highest (lowest) show only how high (low) that unit
        goes: below them the real data go on, and what other units do elsewhere they do not show.
        """
        if selection.kind == "all":
            return cls(frozen.minimum, frozen.maximum)
        minimum, maximum = np.full_like(frozen.minimum, -np.inf), np.full_like(frozen.maximum, np.inf)
        if selection.kind == "top":
            maximum[selection.column] = frozen.maximum[selection.column]
        else:
            minimum[selection.column] = frozen.minimum[selection.column]
        return cls(minimum, maximum)

    def unit(self, index: int) -> "DataRange":
        """The same of one unit alone."""
        one = slice(index, index + 1)
        return DataRange(self.minimum[one], self.maximum[one])

    def outside_ratio(self, rows: Rows) -> float:
        """Share of `rows` [M, D], 0 to 1, below the lowest or above the highest real activation of a unit: of the D
        units the largest share.

        Not the share of rows with any activation beyond: that is near 1 for real audio already, where there are many
        units and few reference rows.
        """
        outside = (rows < self.minimum) | (rows > self.maximum)
        return float(outside.mean(axis=0).max())
