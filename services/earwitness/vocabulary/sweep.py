"""Sweeps: many settings over the same seeds, and how these ranked."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.score import Criterion, RankedBatch
from earwitness.vocabulary.search import Optimiser, Settings, require_seeds

SweepState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OVER: tuple[SweepState, ...] = ("succeeded", "failed", "cancelled")
"""States that do not change any more."""


@dataclass(frozen=True)
class Grid:
    """Every combination of the values; no optimiser is Adam."""

    learning_rates: Sequence[float]
    prior_weights: Sequence[float]
    steps: Sequence[int]
    optimisers: Sequence[Optimiser] = ("adam",)

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(map(len, (self.optimisers or ("adam",), self.learning_rates, self.prior_weights, self.steps)))

    def settings(self) -> tuple[Settings, ...]:
        """The combinations, the steps fastest, then prior weights, learning rates and optimisers."""
        return tuple(
            Settings(optimiser, rate, prior, steps)
            for optimiser, rate, prior, steps in itertools.product(
                self.optimisers or ("adam",), self.learning_rates, self.prior_weights, self.steps
            )
        )


PAPER_GRID = Grid(learning_rates=(0.1, 0.01, 0.001), prior_weights=(0.1, 0.01, 0.001), steps=(100, 500, 1000))
"""The 27 settings of the paper (arXiv:1904.09533)."""


@dataclass(frozen=True)
class SweepObjective:
    """An objective, and the reference (`NAME` or `NAME/versions/N`) that its settings are ranked against.

    With `whole_layer` all units of the layer are compared, without it the objective's unit alone, as in the paper.
    """

    objective: Objective
    reference: str | None = None
    whole_layer: bool = False

    @property
    def unit(self) -> int | None:
        """The one unit that is compared; None for the whole layer."""
        return None if self.whole_layer else self.objective.unit


@dataclass(frozen=True)
class SweepPlan:
    """What to sweep: each objective with each of the settings, a grid or one by one, over the same seeds.

    Of the rows of each result the `keep_count` nearest to what its reference keeps are ranked, all where it is 0, by
    the `criterion`, where there is none by the server's.
    """

    model: str
    objectives: Sequence[SweepObjective]
    settings: Grid | Sequence[Settings] = PAPER_GRID
    seed_count: int = 50
    first_seed: int = 0
    keep_count: int = 0
    criterion: Criterion | None = None

    def __post_init__(self) -> None:
        """Raises: InvalidArgument for seeds that there are not."""
        require_seeds(self.first_seed, self.seed_count, "first_seed")

    @property
    def setting_count(self) -> int:
        """Settings of each objective."""
        return self.settings.size if isinstance(self.settings, Grid) else len(self.settings)

    @property
    def result_count(self) -> int:
        """Results: one for each objective and setting."""
        return len(self.objectives) * self.setting_count


@dataclass(frozen=True)
class SweepRanking:
    """The done results of one objective, best first, their `id` being the result's index; or why there is none."""

    objective_index: int
    reference_version: str
    batches: tuple[RankedBatch, ...]
    error: str
    criterion: Criterion | None = None
    """What they were ranked by; None where that is the published distance."""
