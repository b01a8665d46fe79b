"""The queue of sweeps: runs those that wait, one after another, in this process or the next."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import uuid4

from earwitness import tracing
from earwitness.errors import EarwitnessError, Internal, Unavailable
from earwitness.explainer.errors import LeaseLost, ModelChanged
from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.search import Budget
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.leases import Lease
from earwitness.explainer.sweep.rankings import How, Rankings
from earwitness.explainer.sweep.record import State, SweepRecord
from earwitness.explainer.sweep.runner import Pace, SweepRunner
from earwitness.explainer.sweep.store import SweepStore
from earwitness.explainer.sweep.stored import failure_value
from earwitness.explainer.sweep.watching import POLL_S, either
from earwitness.inference.backend import FloatArray, ModelExchanged
from earwitness.inference.metadata import BundleMetadata
from earwitness.rpc.errors import status_of
from earwitness.storage import blobs
from earwitness.storage.errors import StoreDamaged, StoreUnavailable

UNSERVED = "its model is not served"
_logger = logging.getLogger(__name__)


class SweepQueue:
    """Sweeps that wait in the database, run on the models of one explainer."""

    def __init__(
        self,
        explainer: Explainer,
        store: SweepStore,
        settings: ExplainerSettings,
        rankings: Rankings,
        metrics: ExplainerMetrics,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is told that something about a sweep was written."""
        self._explainer = explainer
        self._store = store
        self._settings = settings
        self._rankings = rankings
        self._metrics = metrics
        self._on_change = on_change
        self._pace = Pace(settings.sweep_checkpoint_s, settings.sweep_heartbeat_s, settings.sweep_blocks_in_flight)
        self._holder = str(uuid4())
        self._work = asyncio.Event()
        self._running: tuple[str, SweepRunner] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Run what waits, from now on."""
        self._workers = [asyncio.create_task(each) for each in (self._run_all(), self._end_cancelled())]

    async def stop(self) -> None:
        """Leave checkpoints and what waits to the next process."""
        self._stopping = True
        for each in self._workers:
            each.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def wake(self, sweep_id: str | None = None) -> None:
        """Look into the database now: there is a new sweep, or somebody asked for something of that one."""
        if sweep_id is None:
            self._work.set()
        elif self._running is not None and self._running[0] == sweep_id:
            self._running[1].wake()

    async def _run_all(self) -> None:
        """Run sweeps, one after another, until told to stop."""
        failing = False
        while not self._stopping:  # an error on the way out may have taken the place of the cancellation
            self._work.clear()
            try:
                claimed = await self._claim()
                if claimed is not None:
                    record, lease = claimed
                    about = {"earwitness.sweep": record.sweep_id, "earwitness.model": record.model}
                    with tracing.span("sweep", about, cause=record.traceparent) as span:
                        state = await self._run(record, lease)
                        span.tell({"earwitness.state": state.value})
                    failing = False
                    continue
                failing = False
            except (Unavailable, LeaseLost, ModelExchanged, StoreDamaged) as err:  # whatever it was, it is tried again
                if not failing:
                    _logger.warning("sweeps wait: %s", err.message)
                failing = True
            except Exception:  # a defect of ours must not stop the sweeps that come after
                _logger.exception("the queue of sweeps failed")
            await either(self._work, POLL_S)

    async def _end_cancelled(self) -> None:
        """End the sweeps that were to be cancelled and whose holders are gone, whatever runs meanwhile."""
        failing = False
        while not self._stopping:
            try:
                for _ in range(await asyncio.to_thread(self._store.end_cancelled)):
                    self._metrics.sweep_over(State.CANCELLED.value)
                    self._on_change()
                failing = False
            except StoreUnavailable:  # told by what runs sweeps
                pass
            except Exception:
                if not failing:
                    _logger.exception("sweeps that were cancelled could not be ended")
                failing = True
            await asyncio.sleep(POLL_S)

    async def _claim(self) -> tuple[SweepRecord, Lease] | None:
        if not await asyncio.to_thread(self._store.count):
            return None
        try:
            models = [bundle.name for bundle in await self._explainer.models()]
        except Unavailable as err:
            await asyncio.to_thread(self._store.tell_waiting, (), err.message)
            raise
        await asyncio.to_thread(self._store.tell_waiting, models, UNSERVED)
        return await asyncio.to_thread(self._store.claim, self._holder, self._settings.sweep_lease_s, models)

    async def _run(self, record: SweepRecord, lease: Lease) -> State:
        """One sweep to its end; how it ended.

        Raises: StoreUnavailable, InferenceUnavailable, LeaseLost, ModelExchanged; CancelledError when the process ends,
        its checkpoints left.
        """
        runner: SweepRunner | None = None
        state, failure = State.FAILED, None
        try:
            bundle = await model_of(record, self._explainer)
            layout = await asyncio.to_thread(layout_with_real, record, self._store)
            runner = self._runner(record, lease, layout, bundle)
            self._running = (record.sweep_id, runner)
            self._on_change()
            _logger.info("sweeps/%s runs: %d row-steps", record.sweep_id, record.row_step_count)
            state = State.SUCCEEDED if await runner.run() else State.CANCELLED
        except asyncio.CancelledError:
            try:
                await asyncio.to_thread(self._store.release, lease)
                _logger.info("sweeps/%s is left at its checkpoint", record.sweep_id)
            except Exception:
                _logger.exception("sweeps/%s could not be given back; it goes on when its lease ends", record.sweep_id)
            raise
        except (StoreUnavailable, LeaseLost):
            raise
        except (Unavailable, ModelExchanged):  # of an exchanged model the next try tells what it is
            await asyncio.to_thread(self._store.release, lease)
            raise
        except EarwitnessError as err:
            _logger.warning("sweeps/%s failed: %s", record.sweep_id, err.message)
            failure = failure_value(status_of(err, record.sweep_id))
        except Exception:
            _logger.exception("sweeps/%s failed", record.sweep_id)
            failure = failure_value(status_of(Internal("unexpected"), record.sweep_id))
        finally:
            self._running = None
        progress = record.progress if runner is None else runner.progress
        await asyncio.to_thread(self._store.finish, lease, state, failure, progress)
        self._metrics.sweep_over(state.value)
        _logger.info("sweeps/%s %s in %.1f s", record.sweep_id, state.value, progress.search_s)
        self._on_change()
        return state

    def _runner(self, record: SweepRecord, lease: Lease, layout: Layout, bundle: BundleMetadata) -> SweepRunner:
        served = self._explainer.serve(bundle)

        async def evaluate(
            latents: FloatArray, unit_weights: FloatArray, prior_weights: FloatArray, *, timeout_s: float | None = None
        ) -> tuple[FloatArray, FloatArray]:
            await self._explainer.quiet(self._settings.sweep_yield_s)
            return await served.evaluate(latents, unit_weights, prior_weights, timeout_s=timeout_s)

        async def classify(latents: FloatArray, layers: Sequence[str], budget: Budget) -> Mapping[str, FloatArray]:
            await self._explainer.quiet(self._settings.sweep_yield_s)
            return await served.activate(latents, layers, budget)

        async def prepare() -> None:
            for objective in layout.moving:
                await self._explainer.check_gradients(layout.plan_first(objective, bundle), served)

        async def rank() -> None:
            names = [each.reference for each in layout.plan.objectives]
            if any(names):
                await self._rankings.rank_at_the_end(record, layout, names, How.of(record.plan))

        return SweepRunner(
            self._store,
            lease,
            record,
            layout,
            bundle,
            served,
            evaluate=evaluate,
            classify=classify,
            pace=self._pace,
            prepare=prepare,
            conclude=rank,
            on_step=partial(self._metrics.step, bundle.name),
            on_draws=partial(self._metrics.drawn, bundle.name),
            on_change=self._on_change,
        )


def layout_of(record: SweepRecord) -> Layout:
    """A sweep's rows in blocks, without what is needed to search them to targets in quantiles."""
    return Layout(record.plan, record.block_rows)


def layout_with_real(record: SweepRecord, store: SweepStore) -> Layout:
    """A sweep's rows in blocks, with what its references kept when it was made.

    Raises: StoreDamaged, StoreUnavailable.
    """
    real = {number: blobs.decode(body)["real"] for number, body in store.real(record.key).items()}
    return replace(layout_of(record), real=real)


async def model_of(record: SweepRecord, explainer: Explainer) -> BundleMetadata:
    """The model of a sweep. Raises: ModelNotFound, ModelChanged, InferenceUnavailable."""
    bundle = await explainer.model(record.model)
    if bundle.weights_sha256 != record.weights_sha256:
        raise ModelChanged(record.model, record.weights_sha256, bundle.weights_sha256)
    return bundle
