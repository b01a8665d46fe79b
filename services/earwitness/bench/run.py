"""Carries a plan out: loads the stack step by step, and reads every step back from Prometheus."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import numpy as np

from earwitness.bench.calls import Access, Work
from earwitness.bench.errors import BenchError
from earwitness.bench.figures import METRICS, figures
from earwitness.bench.generator import Order
from earwitness.bench.load import Generators
from earwitness.bench.machine import describe_machine
from earwitness.bench.prometheus import Prometheus
from earwitness.bench.values import BenchReport, Load, Plan, StepFigures, Target
from earwitness.bench.watch import Watch, watching
from earwitness.bench.window import Window
from earwitness.client import (
    ExplainerClient,
    Model,
    Objective,
    ReferenceIdentity,
    ScorerClient,
    Search,
    Selection,
    Settings,
)
from earwitness.client.channel import Tls

PATIENCE_S = 30.0
REFERENCE_ROWS = 200
TICK_S = 0.25
SETTLE_S = 3.0
"""What a step takes beside its own time, about: the last calls' answers, and the scrapes that see them."""
OnProgress = Callable[[float, float, str], None]


async def run_bench(
    plan: Plan,
    target: Target,
    watch: Watch,
    *,
    token: str | None = None,
    tls: Tls | None = None,
    on_progress: OnProgress = lambda done, total, words: None,
) -> BenchReport:
    """Load `target` according to `plan`, and return what Prometheus saw.

    A reference and, one after another, sweeps are made in the stack, and deleted. All that was started is ended,
    however this ends.

    Raises: BenchError; RpcFailure when the stack refuses what comes before the load.
    """
    started, machine = datetime.now(UTC).astimezone(), describe_machine()
    access = Access(target.explainer, target.scorer, target.triton, token, tls)
    watch.folder.mkdir(parents=True, exist_ok=True)
    async with (
        ExplainerClient(target.explainer, token=token, tls=tls) as explainer,
        ScorerClient(target.scorer, token=token, tls=tls) as scorer,
    ):
        model = await explainer.get_model(plan.model)
        output = model.output_layer.name
        warm = Search.of(
            model.name, Objective(output, unit=0), row_count=plan.rows, settings=Settings(steps=plan.steps)
        )
        backend = (await explainer.explain(warm)).summary.backend
        async with (
            _reference(scorer, model) as (reference, layer),
            Generators(
                access,
                Work(
                    model=model.name,
                    weights_sha256=model.weights_sha256,
                    objective_layer=output,
                    rows=plan.rows,
                    steps=plan.steps,
                    score_layer=layer,
                    score_units=model.layer(layer).unit_count,
                    reference=reference,
                ),
                plan.round,
                plan.processes,
                watch.folder,
            ) as generators,
            watching(plan, target, watch, generators) as (prometheus, jobs),
        ):
            runner = _Runner(plan, target, generators, prometheus, jobs, on_progress)
            closed, triton, opened = await runner.run()
    return BenchReport(
        plan=plan,
        machine=machine,
        weights_sha256=model.weights_sha256,
        backend=backend,
        target=target.described,
        started=started,
        finished=datetime.now(UTC).astimezone(),
        closed=closed,
        triton=triton,
        opened=opened,
    )


class _Runner:
    """The steps of a plan, one after another."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        generators: Generators,
        prometheus: Prometheus,
        jobs: dict[str, int],
        on_progress: OnProgress,
    ) -> None:
        self._plan = plan
        self._triton_alone = plan.triton_alone and target.triton is not None
        self._generators = generators
        self._prometheus = prometheus
        self._jobs = jobs
        self._on_progress = on_progress
        self._step_s = plan.warm_up_s + plan.seconds + SETTLE_S
        self._steps = len(plan.clients) * (1 + self._triton_alone) + len(plan.rate_shares)
        self._done = 0
        self._ahead_s = 0.0
        """Of our clock, Prometheus' one."""

    async def run(self) -> tuple[tuple[StepFigures, ...], tuple[StepFigures, ...], tuple[StepFigures, ...]]:
        """Closed loops, Triton alone, open loops."""
        plan = self._plan
        self._ahead_s = await self._prometheus.now() - time.time()
        closed = [await self._step("mixed", clients) for clients in plan.clients]
        triton = [await self._step("triton", clients) for clients in plan.clients if self._triton_alone]
        best = max(each.calls_per_s for each in closed)
        if plan.rate_shares and not best:
            raise BenchError(
                "no call succeeded, so there is no rate to take shares of; see the errors, or longer steps"
            )
        opened = [await self._step("mixed", 0, share * best) for share in plan.rate_shares]
        return tuple(closed), tuple(triton), tuple(opened)

    async def _step(self, load: Load, clients: int, rate_per_s: float | None = None) -> StepFigures:
        """From quiet to quiet; measured after the warm-up."""
        plan = self._plan
        words = "Triton alone, " if load == "triton" else ""
        words += f"{clients} client{'s' * (clients > 1)}" if rate_per_s is None else f"{rate_per_s:.3g} calls/s"
        quiet = self._now()
        await self._scraped(quiet)
        order = Order(
            load=load,
            clients=clients,
            first=0,
            rate_per_s=rate_per_s or 0.0,
            seconds=plan.warm_up_s + plan.seconds + 2 * PATIENCE_S,
            sweeping=plan.sweeping and load == "mixed",
        )

        def seen(window: Window, whole: Window) -> StepFigures:
            return figures(
                load,
                clients,
                rate_per_s,
                window=window,
                whole=whole,
                model=plan.model,
                processors=os.cpu_count() or 1,
            )

        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell(words))
            self._generators.begin(order)
            await asyncio.sleep(plan.warm_up_s)
            begin = self._now()
            await asyncio.sleep(plan.seconds)
            while True:  # a machine that is too busy for one answer, or one scrape, is measured longer
                await self._scraped(begin, times=2)
                end = self._now()
                window = await self._read(begin, end)
                if seen(window, window).calls_per_s or end > begin + plan.seconds + PATIENCE_S:
                    break
                await asyncio.sleep(TICK_S)
            await self._generators.end()
            telling.cancel()
        await self._scraped(self._now())
        self._done += 1
        return seen(window, await self._read(quiet, self._now()))

    async def _read(self, begin: float, end: float) -> Window:
        return await self._prometheus.window(METRICS, begin, end, self._jobs)

    async def _scraped(self, since: float, *, times: int = 1) -> None:
        await self._prometheus.scraped(since, self._jobs, PATIENCE_S + self._plan.seconds, times=times)

    async def _tell(self, words: str) -> None:
        begun = time.monotonic()
        while True:
            share = min(1.0, (time.monotonic() - begun) / self._step_s)
            self._on_progress(self._done + share, self._steps, words)
            await asyncio.sleep(TICK_S)

    def _now(self) -> float:
        """Prometheus' clock."""
        return time.time() + self._ahead_s


@asynccontextmanager
async def _reference(scorer: ScorerClient, model: Model) -> AsyncIterator[tuple[str, str]]:
    """A frozen reference of random activations, and its layer: the last hidden one, where there is one."""
    layer = model.layers[-2:][0]
    name = f"bench-{uuid.uuid4().hex[:8]}"
    rows = np.random.default_rng(0).standard_normal((REFERENCE_ROWS, layer.unit_count)).astype(np.float32)
    await scorer.create_reference(
        name,
        identity=ReferenceIdentity.of_model(model, layer.name),
        selection=Selection(),
        description="random numbers for a benchmark, which deletes it",
    )
    try:
        await scorer.append_activations(name, "all", rows)
        await scorer.freeze_reference(name)
        yield name, layer.name
    finally:
        await scorer.delete_reference(name)
