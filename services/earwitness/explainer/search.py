"""The search loop: ask the optimisers for latents, evaluate them, tell the gradients, keep each row's best iterate.

A row of S steps visits S + 1 iterates, 0 (the first latent) to S. Its explanation is the iterate of best *activation*
in the objective's sense; the prior shapes the path but not the choice, as in the method's own experiments. The first
of equals wins. A row whose activation or gradient is no longer finite stops there and keeps the best it had.
"""

import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.errors import NonFiniteModel, NothingSearchedYet, ZeroGradient
from earwitness.explainer.optimisers import RowIndex, ascent
from earwitness.explainer.plan import Plan
from earwitness.inference.backend import FloatArray

SLOWEST_STEP_FADES = 0.8
"""How much of the slowest step's time is still expected of the step after it."""


class Evaluate(Protocol):
    """Runs the search graph on n rows: latents [n, Z], unit weights [n, U], prior weights [n, 1], all float32.

    Returns the weighted activations [n] and the gradients of activation − prior·‖z‖² [n, Z].
    Raises: TimeoutError after `timeout_s` seconds.
    """

    async def __call__(
        self,
        latents: FloatArray,
        unit_weights: FloatArray,
        prior_weights: FloatArray,
        *,
        timeout_s: float | None = None,
    ) -> tuple[FloatArray, FloatArray]: ...


class StoppedBy(Enum):
    """Why a search ended."""

    COMPLETED = "completed"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class Budget:
    """The time a search may take: until `end_s` on the `time.monotonic` clock. Cancel the task to stop it before."""

    end_s: float = math.inf

    def left_s(self) -> float | None:
        """Seconds left, None where there is no end."""
        return None if math.isinf(self.end_s) else self.end_s - time.monotonic()

    def allows(self, step_s: float) -> bool:
        """Whether a step of `step_s` seconds still fits."""
        left = self.left_s()
        return left is None or left > step_s


@dataclass(frozen=True, eq=False)
class Progress:
    """One evaluation done: `step` of `step_count` steps, for `row_count` rows, in `step_s` seconds.

    `best_activations` [B] are float32; `zero_gradient_count` rows had no gradient besides the
    prior's.
    """

    step: int
    step_count: int
    best_activations: FloatArray
    time_left_s: float
    row_count: int
    step_s: float
    zero_gradient_count: int


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one row went through, float32 [iterates]: activation, ‖z‖ and ‖gradient‖, prior included."""

    activations: FloatArray
    latent_norms: FloatArray
    gradient_norms: FloatArray


@dataclass(frozen=True, eq=False)
class Outcome:
    """The best iterates: `latents` [B, Z] and `activations` [B] float32, `best_steps` [B] integers.

    `trajectories` has one entry a row; `diverged_steps[i]` is the iterate of row i that was not finite, or None.
    """

    stopped_by: StoppedBy
    latents: FloatArray
    activations: FloatArray
    best_steps: NDArray[np.int64]
    trajectories: tuple[Trajectory, ...]
    diverged_steps: tuple[int | None, ...]
    row_step_count: int
    duration_s: float


async def search(plan: Plan, evaluate: Evaluate, budget: Budget) -> AsyncIterator[Progress | Outcome]:
    """One `Progress` after each evaluation of the rows still going, then the `Outcome`.

    Raises: NothingSearchedYet when the budget ends before the first step; ZeroGradient, NonFiniteModel at the first
    latents; and whatever `evaluate` raises.
    """
    moving = ascent(plan.first_latents, [row.settings for row in plan.rows])
    record = _Record(plan)
    rows: RowIndex = np.arange(len(plan.rows))
    weights, priors = plan.unit_weights, plan.prior_weights
    started, step_s = time.monotonic(), 0.0
    stopped_by = StoppedBy.COMPLETED
    for step in range(plan.step_count + 1):
        begun = time.monotonic()
        latents = moving.ask(rows)
        try:
            if not budget.allows(2 * step_s):
                raise TimeoutError
            # The time of one step is kept for what follows the search: one pass through each network, without gradient.
            left_s = budget.left_s()
            timeout_s = None if left_s is None else left_s - step_s
            activation, gradient = await evaluate(latents, weights, priors, timeout_s=timeout_s)
        except TimeoutError:
            if step < 2:  # iterate 1 is what the first step leads to
                raise NothingSearchedYet("the deadline came before the first step was done; allow more time") from None
            stopped_by = StoppedBy.DEADLINE
            break
        finite = record.add(step, rows, latents, activation, gradient)
        zero_gradient = _only_prior(gradient, priors, latents)
        if step == 0:
            _refuse_unsearchable(plan, finite, zero_gradient)
        onwards = finite & (plan.steps[rows] > step)
        count = len(rows)
        if not onwards.all():  # copies as little as can be: the weights span all units
            rows, weights, priors, gradient = rows[onwards], weights[onwards], priors[onwards], gradient[onwards]
        moving.tell(rows, gradient)
        step_s = max(time.monotonic() - begun, step_s * SLOWEST_STEP_FADES)
        yield record.progress(step, rows, count, step_s, time.monotonic() - started, int(zero_gradient.sum()))
        if not len(rows):
            break
    yield record.outcome(stopped_by, time.monotonic() - started)


def _only_prior(gradient: FloatArray, priors: FloatArray, latents: FloatArray) -> NDArray[np.bool_]:
    """Which rows [n] have no gradient but the prior's −2λz: an exact comparison, as 0 + x is x in floating point."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((gradient == -2 * priors * latents).all(axis=1))


def _refuse_unsearchable(plan: Plan, finite: NDArray[np.bool_], zero_gradient: NDArray[np.bool_]) -> None:
    """Raises: NonFiniteModel, ZeroGradient from what the first latents gave."""
    if not finite.all():
        index = int(np.argmin(finite))
        raise NonFiniteModel(
            f"models/{plan.bundle.name} answers NaN or infinity for {plan.rows[index].objective} at the first latent "
            f"of search.rows[{index}] (seed {plan.rows[index].seed}): the model is broken, export it again"
        )
    climbing = {row.objective for row, dead in zip(plan.rows, zero_gradient, strict=True) if not dead}
    for row in plan.rows:
        if row.objective not in climbing:
            count = sum(other.objective == row.objective for other in plan.rows)
            raise ZeroGradient(
                f"the gradient of {row.objective} of models/{plan.bundle.name} is exactly zero at the first latent of "
                f"each of its {count} rows, so there is nothing to climb (a unit behind a ReLU may never fire); "
                "choose another unit, a layer before the nonlinearity, or other seeds",
                metadata={"layer": row.objective.layer, "model": plan.bundle.name},
            )


class _Record:
    """The best iterate and the trajectory of each row."""

    def __init__(self, plan: Plan) -> None:
        count = len(plan.rows)
        self._plan = plan
        self._signs = np.array([row.objective.sense.value for row in plan.rows], np.float32)
        self._best = np.full(count, -np.inf, np.float32)
        self._best_steps = np.zeros(count, np.int64)
        self._latents = plan.first_latents.copy()
        self._iterates = np.zeros(count, np.int64)
        self._diverged = np.full(count, -1, np.int64)
        self._curves = np.empty((3, count, plan.step_count + 1), np.float32)
        self._row_evaluations = 0

    def add(
        self, step: int, rows: RowIndex, latents: FloatArray, activation: FloatArray, gradient: FloatArray
    ) -> NDArray[np.bool_]:
        """Keep iterate `step` of `rows`; returns which of them were finite [n]."""
        with np.errstate(over="ignore", invalid="ignore"):
            curves = np.stack([activation * self._signs[rows], _norms(latents), _norms(gradient)])
        finite = np.asarray(np.isfinite(curves).all(axis=0))
        self._row_evaluations += len(rows)
        self._diverged[rows[~finite]] = step
        kept = rows[finite]
        self._curves[:, kept, step] = curves[:, finite]
        self._iterates[kept] = step + 1
        better = finite & (activation > self._best[rows])
        gained = rows[better]
        self._best[gained] = activation[better]
        self._best_steps[gained] = step
        self._latents[gained] = latents[better]
        return finite

    def progress(
        self, step: int, going: RowIndex, row_count: int, step_s: float, elapsed_s: float, zero_gradient_count: int
    ) -> Progress:
        """How far the search is, with `going` the rows that have another step."""
        evaluations_left = int((self._plan.steps[going] - step).sum())
        return Progress(
            step=step,
            step_count=self._plan.step_count,
            best_activations=self._best * self._signs,
            time_left_s=elapsed_s / self._row_evaluations * evaluations_left,
            row_count=row_count,
            step_s=step_s,
            zero_gradient_count=zero_gradient_count,
        )

    def outcome(self, stopped_by: StoppedBy, duration_s: float) -> Outcome:
        """What was found."""
        return Outcome(
            stopped_by=stopped_by,
            latents=self._latents,
            activations=self._best * self._signs,
            best_steps=self._best_steps,
            trajectories=tuple(
                Trajectory(*self._curves[:, row, :iterates]) for row, iterates in enumerate(self._iterates)
            ),
            diverged_steps=tuple(None if step < 0 else int(step) for step in self._diverged),
            row_step_count=int((self._iterates - 1).sum()),
            duration_s=duration_s,
        )


def _norms(rows: FloatArray) -> FloatArray:
    """Euclidean norm of each row [n, Z] → [n], float32."""
    return np.asarray(np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1)), np.float32)
