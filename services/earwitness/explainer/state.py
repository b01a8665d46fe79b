"""Where a search is between two steps: its latents, its optimisers' memory, and the record of its best iterates.

A row of S steps visits S + 1 iterates, 0 (the first latent) to S. Its explanation is the iterate of best *activation*
in the objective's sense; the prior shapes the path but not the choice, as in the method's own experiments. The first
of equals wins. A row whose activation or gradient is no longer finite stops there and keeps the best it had. A row with
a target stops at the first iterate that reaches it: none before activated as much, so that is its best.

A row's best iterate is kept at each of its stops. The first S' steps are the same whether S or S' are to be done, those
of SGD aside, so one row answers for several settings that differ by their steps alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.moving import ascent
from earwitness.explainer.optimisers import Arrays, RowIndex
from earwitness.explainer.plan import Plan
from earwitness.explainer.starts import Starts
from earwitness.inference.backend import FloatArray
from earwitness.vocabulary.search import Trajectory

FIRST_ITERATES = 256
"""There is room for in the curves at first."""


class StoppedBy(Enum):
    """Why a search ended."""

    COMPLETED = "completed"
    DEADLINE = "deadline"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The best iterates at each stop, in the order of the rows and of each row's stops: B of them where each row has
    one stop. `latents` [B, Z] and `activations` [B] float32, `best_steps` [B] integers.

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
    evaluation_count: int = 0
    """Latents that were evaluated."""


class SearchState:
    """A plan's search between two steps: `ask` for latents, `tell` what the model answered, until it is `done`."""

    def __init__(self, plan: Plan) -> None:
        """At the first latents."""
        count = len(plan.rows)
        stops = [(row, step) for row, each in enumerate(plan.rows) for step in each.stops or (each.settings.steps,)]
        self.plan = plan
        self._targets = plan.targets
        self._moving = ascent(
            plan.first_latents, [row.settings for row in plan.rows], [row.seed for row in plan.rows], self._targets
        )
        self._climb = np.array([row.settings.needs_gradient for row in plan.rows])
        self.signs = np.array([row.objective.sign for row in plan.rows], np.float32)
        """What turns the activations of each row so that it ascends, [B]."""
        self._stop_rows, self._stop_steps = np.array(stops, np.int64).T
        self._going: RowIndex = np.arange(count)
        self._best = np.full(count, -np.inf, np.float32)
        self._best_steps = np.zeros(count, np.int64)
        self._latents = plan.first_latents.copy()
        self._kept = np.full(len(stops), -np.inf, np.float32)
        self._kept_steps = np.zeros(len(stops), np.int64)
        self._kept_latents = np.empty((len(stops), plan.first_latents.shape[1]), np.float32)
        self._iterates = np.zeros(count, np.int64)
        self._diverged = np.full(count, -1, np.int64)
        self._curves = np.full((3, count, min(plan.step_count + 1, FIRST_ITERATES)), np.nan, np.float32)
        self.step = 0
        """The iterate that the next evaluation is of."""
        self.starts = Starts(plan)
        """What is to be drawn before the first; then `begin`."""
        self.unit_weights: FloatArray = plan.unit_weights
        """Those of the rows still going, as `prior_weights`."""
        self.prior_weights: FloatArray = plan.prior_weights

    @property
    def done(self) -> bool:
        """Whether no row has another step."""
        return not len(self._going)

    @property
    def going(self) -> RowIndex:
        """The rows that have another step, [n]."""
        return self._going

    @property
    def climbing(self) -> NDArray[np.bool_]:
        """Which of the rows still going need a gradient, [n]."""
        return np.asarray(self._climb[self._going])

    @property
    def best_activations(self) -> FloatArray:
        """Best activation of each row so far, float32 [B]."""
        return np.asarray(self._best * self.signs)

    @property
    def evaluations_left(self) -> int:
        """Evaluations to come, summed over the rows still going: at most, where there are targets."""
        return int((self.plan.steps[self._going] - self.step + 1).sum())

    @property
    def row_step_count(self) -> int:
        """Steps done, summed over the rows."""
        return int(np.maximum(self._iterates - 1, 0).sum())

    @property
    def evaluation_count(self) -> int:
        """Latents evaluated, those of draws among them."""
        return int(self._iterates.sum() + (self._diverged >= 0).sum()) + self.starts.drawn

    def begin(self) -> None:
        """Take the best of the draws for the first latents."""
        self._moving.state["latents"][...] = self._latents[...] = self.starts.latents()

    def ask(self) -> FloatArray:
        """The latents of the rows still going, a fresh float32 [n, Z]."""
        return self._moving.ask(self._going)

    def tell(self, latents: FloatArray, activation: FloatArray, gradient: FloatArray) -> NDArray[np.bool_]:
        """Take the answer to `ask`, activations [n] and gradients [n, Z] (zeros where none is needed), and move on;
        returns which rows were finite [n]."""
        rows = self._going
        latents, activation = self._moving.settle(rows, latents, activation)
        finite = self._add(rows, latents, activation, gradient)
        onwards = finite & (self.plan.steps[rows] > self.step) & (activation < self._targets[rows])
        if not onwards.all():  # copies as little as can be: the weights span all units
            self._going, gradient = rows[onwards], gradient[onwards]
            self.unit_weights, self.prior_weights = self.unit_weights[onwards], self.prior_weights[onwards]
        if len(self._going):
            self._moving.tell(self._going, gradient)
        self.step += 1
        return finite

    def reached(self) -> NDArray[np.bool_]:
        """Which stops' best iterates are final, in the order of the rows and of each row's stops."""
        over = np.ones(len(self.plan.rows), bool)
        over[self._going] = False
        return np.asarray((self._stop_steps < self.step) | over[self._stop_rows])

    def stops_over(self) -> int:
        """Of the steps at which there are stops, those whose stops are all reached."""
        reached = self.reached()
        return sum(bool(reached[self._stop_steps == step].all()) for step in np.unique(self._stop_steps))

    def kept(self) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
        """Latents [K, Z], activations [K] and steps [K] of the best iterates at the K stops; of those not reached, the
        best so far."""
        early = self._stop_steps >= self.step
        rows = self._stop_rows[early]
        latents, best, steps = self._kept_latents.copy(), self._kept.copy(), self._kept_steps.copy()
        latents[early], best[early], steps[early] = self._latents[rows], self._best[rows], self._best_steps[rows]
        return latents, np.asarray(best * self.signs[self._stop_rows]), steps

    def diverged_steps(self) -> tuple[int | None, ...]:
        """The iterate of each row that was not finite."""
        return tuple(None if step < 0 else int(step) for step in self._diverged)

    def outcome(self, stopped_by: StoppedBy, duration_s: float) -> Outcome:
        """What was found."""
        latents, activations, best_steps = self.kept()
        return Outcome(
            stopped_by=stopped_by,
            latents=latents,
            activations=activations,
            best_steps=best_steps,
            trajectories=tuple(
                Trajectory(*self._curves[:, row, :iterates]) for row, iterates in enumerate(self._iterates)
            ),
            diverged_steps=self.diverged_steps(),
            row_step_count=self.row_step_count,
            duration_s=duration_s,
            evaluation_count=self.evaluation_count,
        )

    def curves(self, first_step: int) -> FloatArray:
        """Activation, ‖z‖ and ‖gradient‖ of the iterates from `first_step` to the last, [3, B, iterates]; NaN where a
        row had stopped."""
        return self._curves[:, :, first_step : self.step].copy()

    def save(self) -> Arrays:
        """All of it but the curves, in fresh arrays: with both, a search goes on as if it had never stopped."""
        return {name: array.copy() for name, array in self._state.items()} | {"step": np.array(self.step, np.int64)}

    def restore(self, saved: Mapping[str, NDArray[Any]], curves: FloatArray) -> None:
        """Go on where `save` was called, with the `curves` from iterate 0 on."""
        for name, array in self._state.items():
            if name != "going":
                array[...] = saved[name]
        self.step = int(saved["step"])
        self.starts.skip()
        self._going = np.array(saved["going"], np.intp)
        self._hold(self.step)
        self._curves[:, :, : self.step] = curves
        self.unit_weights = self.plan.unit_weights[self._going]
        self.prior_weights = self.plan.prior_weights[self._going]

    def _hold(self, iterates: int) -> None:
        """Let the curves hold so many iterates: they grow, as a search may end long before its last step."""
        held = self._curves.shape[2]
        if iterates > held:
            more = min(max(iterates, 2 * held), self.plan.step_count + 1) - held
            self._curves = np.pad(self._curves, ((0, 0), (0, 0), (0, more)), constant_values=np.nan)

    @property
    def _state(self) -> Arrays:
        return {
            "going": self._going,
            "best": self._best,
            "best_steps": self._best_steps,
            "best_latents": self._latents,
            "kept": self._kept,
            "kept_steps": self._kept_steps,
            "kept_latents": self._kept_latents,
            "iterates": self._iterates,
            "diverged": self._diverged,
            **self._moving.state,
        }

    def _add(
        self, rows: RowIndex, latents: FloatArray, activation: FloatArray, gradient: FloatArray
    ) -> NDArray[np.bool_]:
        """Keep this iterate of `rows`; returns which of them were finite [n]."""
        step = self.step
        with np.errstate(over="ignore", invalid="ignore"):
            curves = np.stack([activation * self.signs[rows], _norms(latents), _norms(gradient)])
        finite = np.asarray(np.isfinite(curves).all(axis=0))
        self._diverged[rows[~finite]] = step
        kept = rows[finite]
        self._hold(step + 1)
        self._curves[:, kept, step] = curves[:, finite]
        self._iterates[kept] = step + 1
        better = finite & (activation > self._best[rows])
        gained = rows[better]
        self._best[gained] = activation[better]
        self._best_steps[gained] = step
        self._latents[gained] = latents[better]
        due = np.flatnonzero(self._stop_steps == step)
        of = self._stop_rows[due]
        self._kept[due], self._kept_steps[due], self._kept_latents[due] = (
            self._best[of], self._best_steps[of], self._latents[of],
        )  # fmt: skip
        return finite


def _norms(rows: FloatArray) -> FloatArray:
    """Euclidean norm of each row [n, Z] → [n], float32."""
    return np.asarray(np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1)), np.float32)
