"""The search loop: ask the optimisers for latents, evaluate them, tell the gradients, keep each row's best iterate.

The loop holds nothing that counts: all of it is in a `SearchState`, which can be saved between two steps.
"""

import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.errors import NonFiniteModel, NothingSearchedYet, ZeroGradient
from earwitness.explainer.objective import words
from earwitness.explainer.plan import Plan
from earwitness.explainer.state import Outcome, SearchState, StoppedBy
from earwitness.inference.backend import FloatArray

NEXT_STEP_FADES = 0.8
"""How much of a slow step's time is still expected of the step after it."""
SLOWEST_STEP_FADES = 0.98
"""The same of what follows the search."""


FIRST_FOUND = 2
"""Evaluations without which there is no result: iterate 1 is what the first step leads to."""


DRAWS_AT_ONCE = 128
"""Draws that are classified before anybody is told: their spectrograms are in memory together."""


class Classify(Protocol):
    """Runs generator and classifier on n rows: the activations [n, units] of each of the layers for latents [n, Z].

    Raises: TimeoutError when the budget ends before.
    """

    async def __call__(
        self, latents: FloatArray, layers: Sequence[str], budget: "Budget"
    ) -> Mapping[str, FloatArray]: ...


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
    prior's. Where `drawing`, the first step is yet to come: so many latents to begin with were drawn and classified.
    """

    step: int
    step_count: int
    best_activations: FloatArray
    time_left_s: float
    row_count: int
    step_s: float
    zero_gradient_count: int
    drawing: bool = False


async def search(
    plan: Plan,
    evaluate: Evaluate,
    classify: Classify,
    budget: Budget,
    state: SearchState | None = None,
    *,
    first: Budget | None = None,
) -> AsyncGenerator[Progress | Outcome]:
    """One `Progress` after each evaluation of the rows still going, then the `Outcome`.

    `evaluate` is asked about rows that need a gradient, `classify` about others and about draws to begin with.

    `first` is the budget of the first step alone, all the time there is: without it nothing is found. A `state` of
    the plan is resumed, and is between two steps at every event and whenever this raises; one that is given is
    taken to be searchable (`require_searchable`).

    Raises: NothingSearchedYet when the budget ends before the first step; ZeroGradient, NonFiniteModel at the first
    latents; and whatever `evaluate` and `classify` raise.
    """
    known = state is not None
    state = state or SearchState(plan)
    started, step_s, slowest_s, evaluations = time.monotonic(), 0.0, 0.0, 0
    stopped_by = StoppedBy.COMPLETED
    if state.step == 0:
        async for event in _draw(state, classify, budget):
            yield event
        if not state.starts.done:  # then its steps, were they quick enough, would be of another search
            budget = Budget(started)
        state.begin()
    while not state.done:
        begun = time.monotonic()
        latents = state.ask()
        # The time of the slowest step is kept for what follows the search: one pass through each network, without
        # gradient, on a machine that may be as busy then as it was at its worst.
        allowed, kept_s = (budget, slowest_s) if first is None or state.step >= FIRST_FOUND else (first, 0.0)
        try:
            if not allowed.allows(step_s + kept_s):
                raise TimeoutError
            limit = Budget(allowed.end_s - kept_s)
            climbing = state.climbing
            activation, gradient = await _activate(state, latents, climbing, evaluate, classify, limit)
        except TimeoutError:
            if state.step < FIRST_FOUND:
                raise NothingSearchedYet("the deadline came before the first step was done; allow more time") from None
            stopped_by = StoppedBy.DEADLINE
            break
        step, zero_gradient = state.step, climbing & _only_prior(gradient, state.prior_weights, latents)
        finite = state.tell(latents, activation, gradient)
        if step == 0 and not known:
            _refuse_unsearchable(plan, finite, zero_gradient)
        taken_s = time.monotonic() - begun
        step_s, slowest_s = max(taken_s, step_s * NEXT_STEP_FADES), max(taken_s, slowest_s * SLOWEST_STEP_FADES)
        evaluations += len(latents)
        yield Progress(
            step=step,
            step_count=plan.step_count,
            best_activations=state.best_activations,
            time_left_s=(time.monotonic() - started) / evaluations * state.evaluations_left,
            row_count=len(latents),
            step_s=step_s,
            zero_gradient_count=int(zero_gradient.sum()),
        )
    yield state.outcome(stopped_by, time.monotonic() - started)


async def require_searchable(plan: Plan, evaluate: Evaluate, classify: Classify) -> None:
    """Look at the first latents alone.

    Raises: ZeroGradient, NonFiniteModel; and whatever `evaluate` and `classify` raise.
    """
    state, latents = SearchState(plan), plan.first_latents
    activation, gradient = await _activate(state, latents, state.climbing, evaluate, classify, Budget())
    finite = np.isfinite(activation) & np.isfinite(gradient).all(axis=1)
    _refuse_unsearchable(plan, finite, state.climbing & _only_prior(gradient, plan.prior_weights, latents))


async def _draw(state: SearchState, classify: Classify, budget: Budget) -> AsyncGenerator[Progress]:
    """Classify what rows may begin with, as far as the budget goes; a `Progress` for each batch from the first after
    which there is something to tell of every row."""
    starts, started, before, batch_s, slowest_s = state.starts, time.monotonic(), state.starts.drawn, 0.0, 0.0
    while not starts.done:
        begun = time.monotonic()
        if not budget.allows(batch_s + slowest_s):
            return
        latents = starts.ask(DRAWS_AT_ONCE)
        try:
            units = await classify(latents, starts.layers, Budget(budget.end_s - slowest_s))
        except TimeoutError:
            return
        starts.tell(units)
        taken_s, each_s = time.monotonic() - begun, (time.monotonic() - started) / (starts.drawn - before)
        batch_s, slowest_s = max(taken_s, batch_s * NEXT_STEP_FADES), max(taken_s, slowest_s * SLOWEST_STEP_FADES)
        best = starts.best_activations
        if np.isfinite(best).all():
            yield Progress(
                step=0,
                step_count=state.plan.step_count,
                best_activations=best * state.signs,
                time_left_s=each_s * (starts.left + state.evaluations_left),
                row_count=len(latents),
                step_s=taken_s,
                zero_gradient_count=0,
                drawing=True,
            )


async def _activate(
    state: SearchState,
    latents: FloatArray,
    climbing: NDArray[np.bool_],
    evaluate: Evaluate,
    classify: Classify,
    limit: Budget,
) -> tuple[FloatArray, FloatArray]:
    """Activations [n] of the rows still going and gradients [n, Z], zeros for rows that are not `climbing` [n].

    Raises: TimeoutError; and whatever `evaluate` and `classify` raise.
    """
    if climbing.all():
        return await evaluate(latents, state.unit_weights, state.prior_weights, timeout_s=limit.left_s())
    activation, gradient = np.empty(len(latents), np.float32), np.zeros_like(latents)
    if climbing.any():
        weights, priors = state.unit_weights[climbing], state.prior_weights[climbing]
        activation[climbing], gradient[climbing] = await evaluate(
            latents[climbing], weights, priors, timeout_s=limit.left_s()
        )
    rows = state.going[~climbing]
    units = await classify(latents[~climbing], [layer.name for layer in state.plan.layers_of(rows)], limit)
    activation[~climbing] = state.plan.activations(rows, units)
    return activation, gradient


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
                f"the gradient of {words(row.objective)} of models/{plan.bundle.name} is exactly zero at the first "
                f"latent of each of its {count} rows, so there is nothing to climb (a unit behind a ReLU may never "
                "fire); choose another unit, a layer before the nonlinearity, or other seeds",
                metadata={"layer": row.objective.layer, "model": plan.bundle.name},
            )
