"""Percentile intervals of resampled figures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
COVERAGE = 0.95
SEED = 0


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, holding the figure in COVERAGE of all cases; NaN where there is nothing to resample."""

    low: float
    high: float


def interval_of(values: NDArray[np.float64]) -> Interval:
    """The interval of a figure over resamples `[resamples]`; those where it is not defined (NaN) are left out.

    Source: the percentile bootstrap of Efron, Annals of Statistics 7 (1979).
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))
