"""A plan's rows, searched and drawn side by side: what each way found becomes one outcome, in the order of the rows."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from earwitness.explainer.draws import Drawn, Pool, Wanted, draw, latents_of
from earwitness.explainer.plan import Plan, drawn_rows
from earwitness.explainer.search import Budget, Classify, Progress
from earwitness.explainer.state import Outcome, StoppedBy
from earwitness.inference.backend import FloatArray
from earwitness.vocabulary.search import Trajectory

ByRow = TypeVar("ByRow", Plan, Outcome)
Search = Callable[[Plan], AsyncGenerator[Progress | Outcome]]
"""The search of rows that move."""


class Searching:
    """One plan; `on_progress` receives all rows as soon as something is known about each."""

    def __init__(self, plan: Plan, on_progress: Callable[[Progress], None]) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self._groups = drawn_rows(plan.rows)
        self._drawn = sorted(row for rows in self._groups.values() for row in rows)
        self._moving = [row for row in range(len(plan.rows)) if row not in set(self._drawn)]
        self._best = np.full(len(plan.rows), np.nan, np.float32)
        self._told: dict[bool, Progress] = {}
        """The last progress of each way, by whether it draws."""

    async def run(
        self,
        search: Search,
        classify: Classify,
        batch_rows: int,
        budget: Budget,
        first: Budget,
        on_step: Callable[[Progress], None],
        on_draws: Callable[[int], None],
    ) -> tuple[Plan, Outcome]:
        """What was found, and the plan of it: a row that was drawn has the seed of its draw.

        Raises: as `search.search` and `draws.draw`.
        """
        ways: list[Coroutine[Any, Any, tuple[Plan, Outcome]]] = []
        if self._moving:
            ways.append(self._move(search, on_step))
        if self._drawn:
            ways.append(self._draw(classify, batch_rows, budget, first, on_draws))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if len(found) == 1:
            return found[0]
        (moved_plan, moved), (drawn_plan, drawn) = found
        order = np.argsort([*self._moving, *self._drawn])
        return take(_joined(moved_plan, drawn_plan), order), take(_together(moved, drawn), order)

    async def _move(self, search: Search, on_step: Callable[[Progress], None]) -> tuple[Plan, Outcome]:
        plan = take(self._plan, self._moving)
        outcome: Outcome | None = None
        async with aclosing(search(plan)) as events:
            async for event in events:
                if isinstance(event, Outcome):
                    outcome = event
                else:
                    on_step(event)
                    self._best[self._moving] = event.best_activations
                    self._tell(event, drawing=False)
        assert outcome is not None  # the last event of every search
        return plan, outcome

    async def _draw(
        self, classify: Classify, batch_rows: int, budget: Budget, first: Budget, on_draws: Callable[[int], None]
    ) -> tuple[Plan, Outcome]:
        seeds = [self._plan.rows[row].seed for row in self._drawn]
        wanted = [Wanted(objective, draws, len(rows)) for (objective, draws), rows in self._groups.items()]
        pool = Pool(wanted, min(seeds), self._plan.bundle.latent_size)
        begun, stopped_by = time.monotonic(), StoppedBy.COMPLETED
        async with aclosing(draw(pool, classify, batch_rows, budget, first)) as events:
            async for event in events:
                if isinstance(event, Drawn):
                    on_draws(event.count)
                    self._tell_draws(pool, event)
                else:
                    stopped_by = event
        return drawn_plan(self._plan, self._groups, pool), drawn_outcome(
            self._groups, pool, stopped_by, time.monotonic() - begun, self._plan.bundle.latent_size
        )

    def _tell_draws(self, pool: Pool, event: Drawn) -> None:
        if not pool.filled:
            return
        for index, rows in enumerate(self._groups.values()):
            self._best[rows] = pool.found(index)[1]
        progress = Progress(
            step=pool.drawn,
            step_count=pool.size,
            best_activations=self._best[self._drawn],
            time_left_s=event.time_left_s,
            row_count=event.count,
            step_s=event.seconds,
            zero_gradient_count=0,
        )
        self._tell(progress, drawing=True)

    def _tell(self, event: Progress, *, drawing: bool) -> None:
        self._told[drawing] = event
        if len(self._told) == bool(self._moving) + bool(self._drawn):
            steps = self._told.get(False, event)  # of rows that move, where there are any
            left_s = max(each.time_left_s for each in self._told.values())
            self._on_progress(replace(steps, best_activations=self._best.copy(), time_left_s=left_s))


def drawn_plan(plan: Plan, groups: Mapping[Any, Sequence[int]], pool: Pool) -> Plan:
    """The plan of the rows of `groups` alone, in their order, each with the seed and latent of its draw."""
    rows = list(plan.rows)
    for index, of in enumerate(groups.values()):
        for row, seed in zip(of, pool.found(index)[0].tolist(), strict=True):
            rows[row] = replace(rows[row], seed=seed)
    chosen = sorted(row for of in groups.values() for row in of)
    part = take(replace(plan, rows=tuple(rows)), chosen)
    return replace(part, first_latents=latents_of([row.seed for row in part.rows], plan.bundle.latent_size))


def drawn_outcome(
    groups: Mapping[Any, Sequence[int]], pool: Pool, stopped_by: StoppedBy, duration_s: float, latent_size: int
) -> Outcome:
    """What a filled pool has for the rows of `groups`, in their order. Such a row has one iterate, and no gradient."""
    found = sorted(
        (row, seed, activation)
        for index, of in enumerate(groups.values())
        for row, seed, activation in zip(of, *(each.tolist() for each in pool.found(index)), strict=True)
    )
    latents = latents_of([seed for _, seed, _ in found], latent_size)
    activations = np.array([activation for _, _, activation in found], np.float32)
    return Outcome(
        stopped_by=stopped_by,
        latents=latents,
        activations=activations,
        best_steps=np.zeros(len(found), np.int64),
        trajectories=single_iterates(latents, activations),
        diverged_steps=(None,) * len(found),
        row_step_count=0,
        duration_s=duration_s,
        evaluation_count=pool.drawn,
    )


def single_iterates(latents: FloatArray, activations: FloatArray) -> tuple[Trajectory, ...]:
    """What rows go through that do not move, [n, Z] and [n]; they have no gradient."""
    norms = np.sqrt(np.square(latents, dtype=np.float64).sum(axis=1)).astype(np.float32)
    return tuple(
        Trajectory(activations[row : row + 1], norms[row : row + 1], np.zeros(1, np.float32))
        for row in range(len(latents))
    )


def take(whole: ByRow, rows: Sequence[int] | np.ndarray[Any, Any]) -> ByRow:
    """Some rows of a plan or an outcome: each of their arrays and tuples has one entry a row."""
    numbers = [int(row) for row in rows]
    parts: dict[str, Any] = {}
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            parts[name] = value[numbers]
        elif isinstance(value, tuple):
            parts[name] = tuple(value[number] for number in numbers)
    return replace(whole, **parts)


def _joined(first: ByRow, second: ByRow, **changes: Any) -> ByRow:
    """The rows of the one, then those of the other; what is not by row is the first's, or among `changes`."""
    parts: dict[str, Any] = {}
    for name, value in vars(first).items():
        if isinstance(value, np.ndarray):
            parts[name] = np.concatenate([value, getattr(second, name)])
        elif isinstance(value, tuple):
            parts[name] = value + getattr(second, name)
    return replace(first, **parts, **changes)


def _together(moved: Outcome, drawn: Outcome) -> Outcome:
    stopped = StoppedBy.DEADLINE if StoppedBy.DEADLINE in (moved.stopped_by, drawn.stopped_by) else StoppedBy.COMPLETED
    return _joined(
        moved,
        drawn,
        stopped_by=stopped,
        duration_s=max(moved.duration_s, drawn.duration_s),
        evaluation_count=moved.evaluation_count + drawn.evaluation_count,
    )
