"""Runs one sweep: its blocks go forward side by side, leave checkpoints, and results as soon as they are complete."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from earwitness import tracing
from earwitness.errors import EarwitnessError
from earwitness.explainer.draws import Drawn, draw
from earwitness.explainer.errors import LeaseLost
from earwitness.explainer.search import Budget, Classify, Evaluate, Progress, require_searchable, search
from earwitness.explainer.served import ServedBundle
from earwitness.explainer.sweep import record, results
from earwitness.explainer.sweep.checkpoints import BlockState, to_the_end
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.leases import Lease
from earwitness.explainer.sweep.patience import PASSING, Patience
from earwitness.explainer.sweep.pool import PoolBlock
from earwitness.explainer.sweep.speed import Speed
from earwitness.explainer.sweep.store import Checkpoint, SweepStore
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata

Answer = TypeVar("Answer")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """Seconds between checkpoints of a block and between words of progress, and blocks that go forward at once."""

    checkpoint_s: float
    heartbeat_s: float
    blocks_in_flight: int


class SweepRunner:
    """One sweep, of which this process holds the lease."""

    def __init__(
        self,
        store: SweepStore,
        lease: Lease,
        found: record.SweepRecord,
        layout: Layout,
        bundle: BundleMetadata,
        served: ServedBundle,
        *,
        evaluate: Evaluate,
        classify: Classify,
        pace: Pace,
        prepare: Callable[[], Awaitable[None]],
        conclude: Callable[[], Awaitable[None]],
        on_step: Callable[[Progress], None],
        on_draws: Callable[[int], None],
        on_change: Callable[[], None],
    ) -> None:
        """`evaluate` and `classify` are the bundle's, in their turn; `prepare` is awaited before the first step and
        `conclude` when all results are there; `on_step` is told each step, `on_draws` how many were classified,
        `on_change` that something was written."""
        self._store = store
        self._lease = lease
        self._record = found
        self._layout = layout
        self._bundle = bundle
        self._served = served
        self._evaluate = evaluate
        self._classify = classify
        self._pace = pace
        self._prepare = prepare
        self._conclude = conclude
        self._on_step = on_step
        self._on_draws = on_draws
        self._on_change = on_change
        self._checkpoints: list[Checkpoint] = []
        self._active: dict[int, BlockState | PoolBlock] = {}
        self._row_steps: dict[int, int] = {}
        """Those of each block at its checkpoint; empty until what an earlier run left is read."""
        self._findings: dict[int, results.BlockFindings] = {}
        self._pool: PoolBlock | None = None
        """The draws, as far as they are."""
        self._results_left: set[int] = set()
        self._speed = Speed(found.progress.row_steps_done)
        self._begun_s = time.monotonic()
        self._waiting_for = ""
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Look into the store now: somebody asked for something."""
        self._awake.set()

    @property
    def progress(self) -> record.Progress:
        """How far it is."""
        live = {number: block.row_step_count for number, block in self._active.items()}
        done = sum((self._row_steps | live).values()) if self._row_steps else self._record.progress.row_steps_done
        search_s = self._record.progress.search_s + time.monotonic() - self._begun_s
        return record.Progress(done, self._speed.tell(done), search_s, self._waiting_for)

    async def run(self) -> bool:
        """Search to the end; False when it was cancelled, its results kept. A cancelled task leaves checkpoints.

        Raises: ZeroGradient, NonFiniteModel, InferenceFailed, ModelNotServed: it cannot go on; LeaseLost,
        StoreUnavailable, ModelExchanged: not now.
        """
        searching = asyncio.create_task(self._search())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({searching, watching}, return_when=asyncio.FIRST_COMPLETED)
            if searching.done():
                searching.result()
                return True
            watching.result()
        except BaseException as err:
            await _stop(searching, watching)
            if not isinstance(err, LeaseLost):
                with _logged(self._record.sweep_id):
                    await self._save_all()
            raise
        finally:
            await _stop(searching, watching)
        await self._save_all()
        with suppress(*PASSING):  # complete in this very moment, and nobody there to finish them
            await self._finish_results(patient=False)
        return False

    async def _watch(self) -> None:
        """Write progress and hold the lease, until the sweep is to be cancelled. Raises: as `SweepStore.renew`."""
        while True:
            self._awake.clear()
            if await asyncio.to_thread(self._store.renew, self._lease, self.progress):
                return
            self._on_change()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.heartbeat_s):
                    await self._awake.wait()

    async def _search(self) -> None:
        await self._open()
        waiting = [number for number in range(self._layout.block_count) if not self._is_over(number)]
        if not any(checkpoint.state for checkpoint in self._checkpoints):
            await self._patiently(self._prepare)
            for objective in self._layout.moving:
                plan = self._layout.plan_first(objective, self._bundle)
                await self._patiently(partial(require_searchable, plan, self._evaluate, self._classify))

        async def work() -> None:
            while waiting:
                await self._search_block(waiting.pop(0))

        workers = [asyncio.create_task(work()) for _ in range(self._pace.blocks_in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:
            await _stop(*workers)
        await self._finish_results()
        await self._conclude()

    async def _open(self) -> None:
        """Read what an earlier run left."""
        key = self._record.key
        self._checkpoints = await asyncio.to_thread(self._store.checkpoints, key)
        self._row_steps = {number: each.row_steps_done for number, each in enumerate(self._checkpoints)}
        done = await asyncio.to_thread(self._store.results_done, key)
        self._results_left = set(range(self._layout.plan.result_count)) - done
        self._speed = Speed(sum(self._row_steps.values()))
        if self._layout.drawn:
            checkpoint = self._checkpoints[self._layout.pool_block]
            self._pool = PoolBlock(self._layout, self._bundle.latent_size, checkpoint)
        for number, checkpoint in enumerate(self._checkpoints[: len(self._layout.blocks)]):
            if checkpoint.state is not None:
                self._findings[number] = results.BlockFindings.of((await self._block(number)).state)

    async def _block(self, number: int) -> BlockState:
        plan = self._layout.plan_block(number, self._bundle)
        return await BlockState.open(number, plan, self._checkpoints[number], self._store, self._record.key)

    def _is_over(self, number: int) -> bool:
        if self._pool is not None and number == self._pool.number:
            return self._pool.pool.done
        findings = self._findings.get(number)
        return findings is not None and bool(findings.reached.all())

    async def _draw(self, block: PoolBlock) -> None:
        self._active[block.number] = block
        patience = Patience()
        with tracing.span("sweep draws", {"earwitness.draws": block.pool.size}):
            while not block.pool.done:
                try:
                    await self._advance_draws(block, patience)
                except PASSING as err:
                    await self._pause(err, patience)
            await block.save(self._store, self._lease)
            await self._finish_results()
        self._row_steps[block.number] = block.row_step_count
        del self._active[block.number]

    async def _advance_draws(self, block: PoolBlock, patience: Patience) -> None:
        """Draw to the end, with checkpoints on the way."""
        saved_s, forever = time.monotonic(), Budget()
        async with aclosing(draw(block.pool, self._classify, self._record.block_rows, forever, forever)) as events:
            async for event in events:
                if not isinstance(event, Drawn):
                    break
                self._goes_on(patience)
                self._on_draws(event.count)
                if time.monotonic() - saved_s >= self._pace.checkpoint_s:
                    await block.save(self._store, self._lease)
                    saved_s = time.monotonic()

    async def _search_block(self, number: int) -> None:
        if self._pool is not None and number == self._pool.number:
            await self._draw(self._pool)
            return
        block = self._active[number] = await self._block(number)
        patience = Patience()
        about = {"earwitness.block": number, "earwitness.rows": len(block.state.plan.rows)}
        with tracing.span("sweep block", about) as span:
            while not block.state.done:
                try:
                    await self._advance(block, patience)
                except PASSING as err:
                    await self._pause(err, patience)
            await self._keep(block)
            span.tell({"earwitness.row_steps": block.state.row_step_count})
        self._row_steps[number] = block.state.row_step_count
        del self._active[number]

    async def _advance(self, block: BlockState, patience: Patience) -> None:
        """Search to the end of the block, with checkpoints on the way."""
        plan, state = block.state.plan, block.state
        saved_s, over = time.monotonic(), state.stops_over()
        async with aclosing(search(plan, self._evaluate, self._classify, Budget(), state)) as events:
            async for event in events:
                if not isinstance(event, Progress):
                    break
                self._goes_on(patience)
                self._on_step(event)
                due = time.monotonic() - saved_s >= self._pace.checkpoint_s
                if not state.done and (due or state.stops_over() > over):
                    await self._keep(block)
                    saved_s, over = time.monotonic(), state.stops_over()

    async def _keep(self, block: BlockState) -> None:
        """Save a block, and the results that it completes."""
        await block.save(self._store, self._lease)
        self._findings[block.number] = results.BlockFindings.of(block.state)
        await self._finish_results()

    async def _save_all(self) -> None:
        """The checkpoints of a search that was stopped."""
        for block in self._active.values():
            await block.save(self._store, self._lease)
            if isinstance(block, BlockState):
                self._findings[block.number] = results.BlockFindings.of(block.state)

    async def _finish_results(self, *, patient: bool = True) -> None:
        """Store the results whose rows are complete."""
        settings_count = self._layout.plan.setting_count
        for number in sorted(self._results_left):
            found = self._found(number)
            if found is None or number not in self._results_left:
                continue
            self._results_left.discard(number)  # before the first await: it is this call's to store
            rows, latents = found
            try:
                layer = self._layout.plan.objectives[number // settings_count].objective.layer
                ask = partial(self._layer_activations, latents, layer)
                activations = await (self._patiently(ask) if patient else ask())
                kept = results.stored(rows, latents, activations)
                await to_the_end(partial(self._store.add_result, self._lease, number, kept))
            except BaseException:
                self._results_left.add(number)
                raise
            self._on_change()

    def _found(self, number: int) -> tuple[results.Rows, FloatArray] | None:
        """The rows of a result and their latents [S, Z]; None while they are not complete."""
        if number not in self._layout.drawn:
            return results.gather(self._layout.places[number], self._layout.steps_of(number), self._findings)
        if self._pool is None or not self._pool.pool.done:
            return None
        return self._pool.rows(self._layout.drawn.index(number))

    async def _layer_activations(self, latents: FloatArray, layer: str) -> FloatArray:
        """Activations [n, units] of a layer for latents [n, Z], a few at a time."""
        parts = []
        for start in range(0, len(latents), self._record.block_rows):
            few = latents[start : start + self._record.block_rows]
            _, activations = await self._served.forward(few, [layer], Budget())
            parts.append(activations[layer])
        return np.concatenate(parts)

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer, however long the models cannot be reached."""
        patience = Patience()
        while True:
            try:
                answer = await ask()
            except PASSING as err:
                await self._pause(err, patience)
            else:
                self._goes_on(patience)
                return answer

    def _goes_on(self, patience: Patience) -> None:
        self._waiting_for = ""
        patience.renew()

    async def _pause(self, err: EarwitnessError, patience: Patience) -> None:
        """Wait, twice as long as the time before. Raises: `err` when the models are taken for broken."""
        if not self._waiting_for:
            _logger.warning("sweeps/%s waits: %s", self._record.sweep_id, err.message)
        self._waiting_for = err.message
        await patience.bear(err)


@contextmanager
def _logged(sweep_id: str) -> Iterator[None]:
    """What fails in here must not hide why a search was stopped."""
    try:
        yield
    except Exception:
        _logger.exception("sweeps/%s could not be saved when it was stopped; its last checkpoint holds", sweep_id)


async def _stop(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
