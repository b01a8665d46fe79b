"""The plain values of sweeps: what goes into and comes out of `SweepClient`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.score import Criterion, RankedBatch
from earwitness.vocabulary.search import FloatArray, Optimiser, Settings, require_seeds

SweepState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OVER: tuple[SweepState, ...] = ("succeeded", "failed", "cancelled")
"""States that do not change any more."""


@dataclass(frozen=True)
class Grid:
    """Every combination of the values."""

    learning_rates: Sequence[float]
    prior_weights: Sequence[float]
    steps: Sequence[int]
    optimisers: Sequence[Optimiser] = ("adam",)


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
        if not isinstance(self.settings, Grid):
            return len(self.settings)
        grid = self.settings
        return math.prod(map(len, (grid.learning_rates, grid.prior_weights, grid.steps, grid.optimisers)))


@dataclass(frozen=True)
class SweepProgress:
    """How a sweep goes; row-steps are steps summed over the rows.

    `time_left_s` is None before there is a measure; `waiting_for` says in words what it waits for, "" while it goes on.
    `objectives` are the first few of `objective_count`, directions without their weights.
    """

    sweep_id: str
    model: str
    state: SweepState
    sequence: int
    row_steps_done: int
    row_step_count: int
    results_done: int
    result_count: int
    time_left_s: float | None
    row_steps_per_second: float
    waiting_for: str
    cancelling: bool
    create_time: datetime
    update_time: datetime
    error: str | None = None
    objectives: tuple[SweepObjective, ...] = ()
    objective_count: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in OVER


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What one setting found for one objective, one entry a seed: `activations` float32 [S], `best_steps` and
    `diverged_steps` (-1 where a row stayed finite) [S]; all empty before it is `done`.

    `latents` [S, Z] and `layer_activations` [S, units] float32 are there when asked for.
    """

    index: int
    objective_index: int
    settings: Settings
    done: bool
    activations: FloatArray
    best_steps: NDArray[np.int64]
    diverged_steps: NDArray[np.int64]
    latents: FloatArray | None = None
    layer_activations: FloatArray | None = None

    @classmethod
    def to_do(cls, index: int, objective_index: int, settings: Settings) -> "SweepResult":
        """One that is not done."""
        nothing = np.empty(0, np.int64)
        return cls(index, objective_index, settings, False, np.empty(0, np.float32), nothing, nothing)


@dataclass(frozen=True)
class SweepRanking:
    """The done results of one objective, best first, their `id` being the result's index; or why there is none."""

    objective_index: int
    reference_version: str
    batches: tuple[RankedBatch, ...]
    error: str
    criterion: Criterion | None = None
    """What they were ranked by; None where that is the published distance."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep with what it has found so far."""

    sweep_id: str
    model: str
    weights_sha256: str
    objectives: tuple[SweepObjective, ...]
    seeds: range
    state: SweepState
    results: tuple[SweepResult, ...]
    rankings: tuple[SweepRanking, ...]
    row_step_count: int
    search_duration_s: float
    create_time: datetime
    end_time: datetime | None
    resumed_from: str | None = None
    keep_count: int = 0
    criterion: Criterion | None = None

    def results_of(self, objective_index: int) -> tuple[SweepResult, ...]:
        """All results of one objective, done or not."""
        return tuple(result for result in self.results if result.objective_index == objective_index)

    def ranking_of(self, objective_index: int) -> SweepRanking | None:
        """The ranking of one objective, None where nobody asked for one."""
        return next((each for each in self.rankings if each.objective_index == objective_index), None)
