"""The plain values of sweeps: what goes into and comes out of `SweepClient`."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from earwitness.vocabulary.score import Criterion
from earwitness.vocabulary.search import FloatArray, Settings
from earwitness.vocabulary.sweep import OVER, PAPER_GRID, Grid, SweepObjective, SweepPlan, SweepRanking, SweepState


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


__all__ = [
    "OVER",
    "PAPER_GRID",
    "Grid",
    "Sweep",
    "SweepObjective",
    "SweepPlan",
    "SweepProgress",
    "SweepRanking",
    "SweepResult",
    "SweepState",
]


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
