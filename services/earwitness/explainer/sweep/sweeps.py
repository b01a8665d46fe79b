"""What can be done with sweeps."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import TypeVar

import numpy as np

from earwitness import tracing
from earwitness.errors import InvalidArgument
from earwitness.explainer.errors import ResultNotDone, SweepNotOver
from earwitness.explainer.explainer import Explainer
from earwitness.explainer.explaining import Explanation
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.plan import Artefact
from earwitness.explainer.room import Room
from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.search import Budget
from earwitness.explainer.searching import single_iterates
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.checkpoints import join_curves, trajectory
from earwitness.explainer.sweep.layout import Layout, check_layout
from earwitness.explainer.sweep.queue import SweepQueue, layout_of, layout_with_real, model_of
from earwitness.explainer.sweep.rankings import How, Rankings
from earwitness.explainer.sweep.record import NewSweep, State, SweepRecord
from earwitness.explainer.sweep.results import Held, Rows, Tensors, outcome
from earwitness.explainer.sweep.sizes import READ_AHEAD, require_rankings, require_view
from earwitness.explainer.sweep.store import SweepStore
from earwitness.explainer.sweep.values import SweepLimits, check_keep_count, check_plan
from earwitness.explainer.sweep.watching import Watching
from earwitness.inference.backend import FloatArray
from earwitness.storage import blobs
from earwitness.vocabulary.messages.search import reference_value
from earwitness.vocabulary.score import Criterion
from earwitness.vocabulary.search import Trajectory
from earwitness.vocabulary.sweep import SweepPlan, SweepRanking

DRAWN_AT_ONCE = 32
"""Explanations whose spectrograms are in memory at once."""
CHANGES_AT_ONCE = 4
"""Writers among the callers that are in the database at once."""
Result = TypeVar("Result")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """How much of a sweep is wanted: of the results in `numbers` (None: all) the rows, and the tensors."""

    rows: bool = False
    tensors: bool = False
    numbers: Sequence[int] | None = None


class Sweeps:
    """The sweeps of one database, run on the models of one explainer."""

    def __init__(
        self,
        explainer: Explainer,
        store: SweepStore,
        settings: ExplainerSettings,
        scorer: ScorerClient | None,
        metrics: ExplainerMetrics,
    ) -> None:
        self._explainer = explainer
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._rankings = Rankings(store, scorer, self._activations)
        self._limits = SweepLimits(
            settings.max_steps,
            settings.max_draws,
            settings.max_sweep_settings,
            settings.max_sweep_explanations,
            settings.max_sweep_row_steps,
        )
        self._watching = Watching(store)
        self._queue = SweepQueue(explainer, store, settings, self._rankings, metrics, self._watching.tell)
        # Threads of their own: they may all be waiting for a lock that readers do not need.
        self._changes = ThreadPoolExecutor(CHANGES_AT_ONCE, "sweeps-write")

    @property
    def max_settings(self) -> int:
        """Settings that a sweep may have, and objectives."""
        return self._limits.max_settings

    async def start(self) -> None:
        """Run what waits, from now on."""
        self._queue.start()

    async def drain(self) -> None:
        """Leave checkpoints and the queue to the next process; those who watch are told."""
        self._watching.drain()
        await self._queue.stop()

    async def close(self) -> None:
        """Release connections."""
        await asyncio.to_thread(self._changes.shutdown, cancel_futures=True)

    async def healthy(self) -> bool:
        """True while the database answers; keeps the number of unfinished sweeps current. Raises: StoreUnavailable."""
        self._metrics.unfinished_sweeps.set(await asyncio.to_thread(self._store.count))
        return True

    async def create(self, request_id: str, plan: SweepPlan) -> SweepRecord:
        """A new sweep, or the one that the same request made before.

        Raises: InvalidArgument; ModelNotFound; ReferenceUnusable; TooManySweeps; StoreUnavailable,
        InferenceUnavailable, ScorerUnavailable.
        """
        made = await asyncio.to_thread(self._store.find_request, request_id)
        if made is not None and (made.plan, made.resumed_from) == (plan, ""):
            return made
        check_plan(plan, self._limits)
        layout = Layout(plan, self._settings.sweep_rows)
        check_layout(layout, self._limits)
        bundle = await self._explainer.model(plan.model)
        layout.check_objectives(bundle)
        layout.check_ways(bundle)
        references = [each.reference for each in plan.objectives]
        field, how = "sweep.objectives[{}].reference", How.of(plan)
        found = await self._rankings.check(bundle.name, bundle.weights_sha256, layout, references, how, field, bundle)
        real = await self._rankings.real(layout, found, field) if layout.by_quantile else {}
        new = NewSweep(
            sweep_id=_new_id(),
            request_id=request_id,
            plan=plan,
            model=plan.model,
            weights_sha256=bundle.weights_sha256,
            block_rows=layout.block_rows,
            block_count=layout.block_count,
            row_step_count=layout.row_step_count,
            result_count=plan.result_count,
            traceparent=tracing.traceparent(),
            real={number: blobs.encode({"real": values}) for number, values in real.items()},
        )
        made = await self._change(lambda: self._store.create(new, self._settings.max_waiting_sweeps))
        self._queue.wake()
        return made

    async def resume(self, request_id: str, sweep_id: str) -> SweepRecord:
        """A new sweep that goes on from one that failed or was cancelled, or the one that the same request made before.

        Raises: InvalidArgument for a request id of another request; SweepNotFound, SweepNotResumable; ModelNotFound,
        ModelChanged; TooManySweeps; StoreUnavailable, InferenceUnavailable.
        """
        made = await asyncio.to_thread(self._store.find_request, request_id)
        if made is not None and made.resumed_from == sweep_id:
            return made
        source = await self.get(sweep_id)
        await model_of(source, self._explainer)
        new = NewSweep(
            sweep_id=_new_id(),
            request_id=request_id,
            plan=source.plan,
            resumed_from=sweep_id,
            model=source.model,
            weights_sha256=source.weights_sha256,
            block_rows=source.block_rows,
            block_count=layout_of(source).block_count,
            row_step_count=source.row_step_count,
            result_count=source.result_count,
            traceparent=tracing.traceparent(),
        )
        made = await self._change(lambda: self._store.create(new, self._settings.max_waiting_sweeps))
        self._queue.wake()
        return made

    async def get(self, sweep_id: str) -> SweepRecord:
        """Raises: SweepNotFound, StoreUnavailable."""
        return await asyncio.to_thread(self._store.get, sweep_id)

    async def page(self, before: int | None, limit: int) -> list[SweepRecord]:
        """At most `limit` sweeps, the newest first, that were stored before the one with the key `before`.

        Raises: StoreUnavailable.
        """
        return await asyncio.to_thread(self._store.page, before, limit)

    async def held(self, record: SweepRecord, view: View, limit: int | None = None) -> Held:
        """What is stored of a sweep.

        Raises: InvalidArgument for a result that there is not, and for what by far exceeds `limit` bytes;
        StoreUnavailable.
        """
        if view.numbers is not None:
            _require_indices(view.numbers, record.plan.result_count, "result_indices")

        def read() -> Held:
            key = record.key
            if view.rows and limit is not None:
                held = self._store.result_bytes(key, view.numbers, tensors=view.tensors)
                if sum(held) > READ_AHEAD * limit:
                    require_view(sum(held), limit, None, len(held))
            stored = self._store.results(key, view.numbers, tensors=view.tensors) if view.rows else {}
            return Held(self._store.results_done(key), self._store.rankings(key), stored)

        return await asyncio.to_thread(read)

    async def cancel(self, sweep_id: str) -> None:
        """Ask that a sweep stops; what is done is kept. Raises: SweepNotFound, StoreUnavailable."""
        if await self._change(lambda: self._store.cancel(sweep_id)):
            self._metrics.sweep_over(State.CANCELLED.value)
        self._queue.wake(sweep_id)
        self._watching.tell()

    async def delete(self, sweep_id: str) -> None:
        """Delete a sweep that is over. Raises: SweepNotFound, SweepNotOver, StoreUnavailable."""
        await self._change(lambda: self._store.delete(sweep_id))
        self._watching.tell()

    def watch(self, sweep_id: str, after: int) -> AsyncGenerator[SweepRecord]:
        """As `Watching.watch`."""
        return self._watching.watch(sweep_id, after)

    async def wait(self, sweep_id: str, timeout_s: float | None) -> SweepRecord:
        """As `Watching.wait`."""
        return await self._watching.wait(sweep_id, timeout_s)

    async def explanations(
        self, sweep_id: str, number: int, rows: Sequence[int], artefacts: frozenset[Artefact], room: Room
    ) -> AsyncGenerator[Explanation]:
        """The explanations of some rows of a result (all when `rows` is empty), from what is stored of them.

        Raises: SweepNotFound; InvalidArgument; ResultNotDone; ModelChanged; and as `Explainer.find_again`.
        """
        record = await self.get(sweep_id)
        layout = await asyncio.to_thread(layout_with_real, record, self._store)
        _require_index(number, layout.plan.result_count, "result_index")
        _require_indices(rows, layout.plan.seed_count, "row_indices")
        chosen = list(rows) or list(range(layout.plan.seed_count))
        if len(set(chosen)) < len(chosen):
            raise InvalidArgument("row_indices", "has a row twice; give each once")
        bundle = await model_of(record, self._explainer)
        stored = (await asyncio.to_thread(partial(self._store.results, record.key, [number], tensors=True))).get(number)
        if stored is None:
            raise ResultNotDone(
                f"result {number} of sweeps/{sweep_id} is not done, the sweep is {record.state.value}; GetSweep tells "
                "which are"
            )
        found, tensors = Rows.decode(stored.rows), Tensors.decode(stored.tensors)
        drawn = None if found.seeds is None else found.seeds.tolist()
        for start in range(0, len(chosen), DRAWN_AT_ONCE):
            part = chosen[start : start + DRAWN_AT_ONCE]
            paths: tuple[Trajectory, ...] = ()
            if Artefact.TRAJECTORY in artefacts and drawn is not None:
                paths = single_iterates(tensors.latents[part], found.activations[part])
            elif Artefact.TRAJECTORY in artefacts:
                paths = await asyncio.to_thread(self._trajectories, record.key, layout, number, part)
            searched = outcome(found, tensors, part, paths)
            plan = layout.plan_result(number, part, bundle, drawn)
            again = await self._explainer.find_again(plan, searched, artefacts, room)
            async for each in self._explainer.explanations(again):
                yield replace(each, row_index=part[each.row_index])

    async def rank(
        self,
        sweep_id: str,
        references: Sequence[str],
        limit: int,
        criterion: Criterion | None = None,
        keep_count: int = 0,
    ) -> list[SweepRanking]:
        """Rank the results of a sweep that is over, against `references` or, when there are none, its own; the
        rankings that it has then, in at most `limit` bytes. `criterion` and `keep_count` take the place of its own.

        Raises: SweepNotFound, SweepNotOver; InvalidArgument; NoScorer; StoreUnavailable; as `Rankings.check` and
        `Rankings.rank`, of which nothing is stored.
        """
        record = await self.get(sweep_id)
        layout = layout_of(record)
        objectives = layout.plan.objectives
        if references and len(references) != len(objectives):
            raise InvalidArgument("references", f"got {len(references)}; the sweep has {len(objectives)} objectives")
        named = [
            reference_value(name or "", f"references[{index}]")
            for index, name in enumerate(references or [each.reference for each in objectives])
        ]
        if not any(named):
            empty = "leaves every objective out" if references else f"got none, and sweeps/{sweep_id} has none"
            own = ", or give none at all for the sweep's own" if any(each.reference for each in objectives) else ""
            raise InvalidArgument("references", f"{empty}; name a reference for each objective to rank{own}")
        if layout.plan.seed_count < 2:
            raise InvalidArgument("references", "a sweep of one seed has no spread to compare")
        if not record.state.over:
            raise SweepNotOver(sweep_id, record.state.value)
        check_keep_count(keep_count, record.plan.seed_count, "keep_count")
        how = How.of(record.plan, criterion, keep_count)
        require_rankings(record.plan.result_count, how.keep_count, limit)
        self._rankings.require_scorer()
        bundle = await model_of(record, self._explainer) if how.needs_model else None
        await self._rankings.check(record.model, record.weights_sha256, layout, named, how, "references[{}]", bundle)
        await self._rankings.rank(record, layout, named, how)
        return await asyncio.to_thread(self._store.rankings, record.key)

    async def _activations(
        self, record: SweepRecord, latents: FloatArray, layers: Sequence[str]
    ) -> Mapping[str, FloatArray]:
        """See `rankings.Activations`; a few latents at a time, after those who wait for a search."""
        served = self._explainer.serve(await model_of(record, self._explainer))
        parts = []
        for start in range(0, len(latents), record.block_rows):
            await self._explainer.quiet(self._settings.sweep_yield_s)
            parts.append((await served.forward(latents[start : start + record.block_rows], layers, Budget()))[1])
        return {name: np.concatenate([part[name] for part in parts]) for name in layers}

    async def _change(self, work: Callable[[], Result]) -> Result:
        # The context carries the request id to the log lines of the thread.
        return await asyncio.get_running_loop().run_in_executor(self._changes, copy_context().run, work)

    def _trajectories(self, key: int, layout: Layout, number: int, rows: list[int]) -> tuple[Trajectory, ...]:
        places = [layout.places[number][row] for row in rows]
        curves = {block: join_curves(self._store.curves(key, block)) for block in {place.block for place in places}}
        steps = layout.steps_of(number)
        return tuple(trajectory(curves[place.block], place.row, steps) for place in places)


def _new_id() -> str:
    return f"s{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(3)}"


def _require_indices(values: Sequence[int], count: int, field: str) -> None:
    """Raises: InvalidArgument for more than there are, or the first that there is not."""
    if len(values) > count:  # before a message of millions holds up everyone else
        raise InvalidArgument(field, f"got {len(values)}; there are {count}")
    wrong = next((index for index, value in enumerate(values) if not 0 <= value < count), None)
    if wrong is not None:
        _require_index(values[wrong], count, f"{field}[{wrong}]")


def _require_index(value: int, count: int, field: str) -> None:
    if not 0 <= value < count:
        raise InvalidArgument(field, f"got {value}; it must be 0 to {count - 1}")
