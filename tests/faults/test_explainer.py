"""An explainer that is asked to stop, asked for too much, or read by clients that are slow or gone."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
import pytest_asyncio

from earwitness.rpc.errors import RpcFailure
from tests.faults.searches import Latents, explain, latents, like, search, steps_of, stream, until
from tests.faults.tally import Tally
from tests.helpers.services import PATIENCE_S, Service, service
from tests.helpers.tiny_bundle import TinyBundle

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS = range(10)
STEPS = 600
RUNNING, WAITING = 2, 4
GROWTH_BYTES = 256 * 2**20
"""More than an explainer may grow by what these tests ask of it; what its callers send or leave unread is more."""


@asynccontextmanager
async def explaining(tiny: TinyBundle, folder: Path, **more: object) -> AsyncIterator[Service]:
    """An explainer in whose slots RUNNING searches run and WAITING wait."""
    models = {"backend": "local", "model_repository": tiny.repository, "local_threads": 1, "data_dir": folder}
    limits = {"max_concurrent_searches": RUNNING, "max_waiting_searches": WAITING}
    async with service("explainer", **models, **limits, **more) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def explainer(tiny: TinyBundle, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("explainer")
    async with explaining(tiny, folder, progress_interval_s=0.001) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def expected(explainer: Service) -> Latents:
    """What searches find that nothing disturbs."""
    return latents(await explain(explainer.channel, search(SEEDS, STEPS)))


@asynccontextmanager
async def clients(explainer: Service, count: int, rows: int, steps: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that reads so many streams, once it has begun to."""
    words = ("-m", "tests.faults.clients", explainer.address, *map(str, (count, rows, steps)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"begun\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def idle(explainer: Service) -> bool:
    """Whether nothing runs and nothing waits."""
    names = ("explainer_searches_in_flight", "explainer_queue_depth", "explainer_rows_in_flight")
    return not any([await explainer.metric(name) for name in names])


@pytest.mark.parametrize("drain_s", [PATIENCE_S, 0.2], ids=["in_time", "too_late"])
async def test_explainer_stopped(
    tiny: TinyBundle, expected: Latents, tally: Tally, tmp_path: Path, drain_s: float
) -> None:
    """SIGTERM under load: what was admitted ends well within `drain_s`, or with UNAVAILABLE after it."""
    async with explaining(tiny, tmp_path, drain_s=drain_s, drain_notice_s=0) as stopped:
        channel, kinds = stopped.channel, (explain, stream)
        await tally.call(explain(channel, search([0], STEPS)), like(expected))
        steps = STEPS if drain_s > 1 else 10_000
        calls = [
            asyncio.create_task(tally.call(kinds[seed % 2](channel, search([seed], steps)), like(expected)))
            for seed in SEEDS
        ]
        while not tally.retryable:  # noqa: ASYNC110 -- all places are taken; a call that is over has no event
            await asyncio.sleep(0.01)
        stopped.process.send_signal(signal.SIGTERM)
        tally.injections += 1
        outcomes = await asyncio.gather(*calls)
        assert await stopped.ended() == 0
    refused = [each for each in outcomes if isinstance(each, RpcFailure) and each.reason == "TOO_MANY_SEARCHES"]
    admitted = len(SEEDS) - len(refused)
    assert tally.ok - 1 == (admitted if drain_s > 1 else 0)
    assert tally.retryable["UNAVAILABLE"] == (0 if drain_s > 1 else admitted)


async def test_client_gone(explainer: Service, expected: Latents, tally: Tally) -> None:
    """A client that is killed: its searches end within a step, and their slots are free."""
    asked = 10_000
    async with clients(explainer, RUNNING + WAITING, rows=4, steps=asked) as process:
        before = await steps_of(explainer)
        process.kill()
        killed_s = time.monotonic()
        tally.injections += 1
        await until(lambda: idle(explainer))
        tally.figures["freed_s"] = time.monotonic() - killed_s
    after = await steps_of(explainer)
    tally.figures["steps_after"] = after - before
    assert after - before < asked
    found = await asyncio.gather(
        *(tally.call(explain(explainer.channel, search([seed], STEPS)), like(expected)) for seed in SEEDS[:RUNNING])
    )
    assert not any(isinstance(each, RpcFailure) for each in found)
    await until(lambda: idle(explainer))


async def test_slow_readers(explainer: Service, expected: Latents, tally: Tally) -> None:
    """A client that stops reading: its searches end, no more is kept for it than their results, others go on."""
    rows, steps = 96, 1500
    at_rest = explainer.rss_bytes
    async with clients(explainer, RUNNING, rows, steps) as process:
        process.send_signal(signal.SIGSTOP)
        tally.injections += 1
        others = [
            asyncio.create_task(tally.call(explain(explainer.channel, search([seed], STEPS)), like(expected)))
            for seed in SEEDS[:WAITING]
        ]
        found = await asyncio.gather(*others)
        assert not any(isinstance(each, RpcFailure) for each in found)
        await until(lambda: idle(explainer))
        growth = explainer.rss_bytes - at_rest
        process.send_signal(signal.SIGCONT)
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    counts = json.loads(said)
    tally.ok += RUNNING
    tally.judge(counts["explanations"] == RUNNING * rows)
    tally.judge(counts["row_steps"] == RUNNING * rows * steps)
    tally.figures |= {"growth_mib": growth / 2**20, "progress_dropped": RUNNING * (steps + 1) - counts["progress"]}
    assert growth < GROWTH_BYTES
    assert counts["progress"] < RUNNING * steps


async def test_overload(explainer: Service, expected: Latents, tally: Tally) -> None:
    """Ten times the calls that can be served: the others are refused at once and told when to come again."""
    channel, at_rest = explainer.channel, explainer.rss_bytes
    alone_s = [await timed(explain(channel, search([seed], STEPS))) for seed in SEEDS]
    between_s = float(np.median(alone_s)) / RUNNING / 10
    served_s: list[float] = []
    refused_s: list[float] = []

    async def call(seed: int) -> None:
        begun = time.monotonic()
        outcome = await tally.call(explain(channel, search([seed], STEPS)), like(expected))
        taken_s = time.monotonic() - begun
        if isinstance(outcome, RpcFailure):
            assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert outcome.retry_after_s
            refused_s.append(taken_s)
        else:
            served_s.append(taken_s)

    tally.injections += 1
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(call(SEEDS[number % len(SEEDS)]))
            await asyncio.sleep(between_s)
    growth = explainer.rss_bytes - at_rest
    tally.figures |= {
        "alone_p99_s": percentile(alone_s, 99), "admitted_p99_s": percentile(served_s, 99),
        "refusal_p50_s": percentile(refused_s, 50), "refusal_p99_s": percentile(refused_s, 99),
        "growth_mib": growth / 2**20,
    }  # fmt: skip
    assert len(served_s) >= RUNNING + WAITING
    assert percentile(refused_s, 50) < 10 * max(alone_s)
    assert growth < GROWTH_BYTES


async def timed(call: object) -> float:
    begun = time.monotonic()
    await call  # type: ignore[misc]
    return time.monotonic() - begun


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share))
