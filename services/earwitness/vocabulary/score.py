"""What batches of explanations are measured by, and what was measured."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.vocabulary.reference import ReferenceVersion


@dataclass(frozen=True)
class Criterion:
    """What batches are ranked by: the published distance over the `unit`, Fréchet distances over `layers`, or nearness
    to the reference's rows in `layers` (none: all that it keeps), to `neighbour_count` of them (0: the default).

    Over several layers the places by each are summed. Batches that leave the real range come last, unless that is
    allowed.
    """

    kind: Literal["unit", "distance", "nearness"] = "unit"
    layers: tuple[str, ...] = ()
    neighbour_count: int = 0
    outside_range_allowed: bool = False


PUBLISHED = Criterion(outside_range_allowed=True)
"""The order of the paper, and of requests without a criterion: the distance alone."""


@dataclass(frozen=True)
class Score:
    """A Fréchet distance and what is needed to judge it; the fields are those of the scorer's API.

    `rank_deficient` says that the batch has too few rows to fill its dimensions: compare at equal `row_count` only.
    `outside_range_ratio`, 0 to 1, is the share of rows outside of the real range as far as the reference tells it; of
    the compared units that where it is largest.
    """

    distance: float
    mean_term: float
    covariance_term: float
    row_count: int
    reference_row_count: int
    dimension_count: int
    rank: int
    rank_deficient: bool
    interval_low: float
    interval_high: float
    noise_floor: float
    noise_floor_high: float
    outside_range_ratio: float


@dataclass(frozen=True)
class ScoredBatch:
    """A score and the version of the reference it was taken against."""

    score: Score
    version: ReferenceVersion


@dataclass(frozen=True)
class RankedBatch:
    """A batch's place among others: `rank` is 1 for the lowest distance.

    `probability_best`, 0 to 1, says how probable it is that no other batch has a lower distance in truth;
    `leaves_range` that its activations leave the range of the real ones: `score.outside_range_ratio` is above 0.5.
    """

    id: str
    rank: int
    score: Score
    probability_best: float
    leaves_range: bool
    criterion_value: float = 0.0
    """What it was ranked by: a distance, a nearness, or a sum of places."""
    kept_rows: tuple[int, ...] = ()
    """Of a sweep's result: the rows that were ranked, by their place among the seeds; empty where all were."""


@dataclass(frozen=True)
class Ranking:
    """Batches of equal size, best first, and the version of the reference they were scored against."""

    batches: tuple[RankedBatch, ...]
    version: ReferenceVersion


@dataclass(frozen=True, eq=False)
class MeasuredNearness:
    """Mean `distances` `[rows, layers]` float64 to the nearest rows of a `version` of a reference, in each of the
    `layers`."""

    distances: NDArray[np.float64]
    layers: tuple[str, ...]
    version: ReferenceVersion
