"""Sweeps whose models fail, through a real server: what passes costs nothing, what stays ends the sweep."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from earwitness.explainer.sweep.patience import MAX_FAILURES
from earwitness.explainer.sweep.record import State
from earwitness.explainer.sweep.store import Lease, SweepStore
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.storage.database import Database
from earwitness.storage.errors import StoreUnavailable
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import PATIENCE_S, Slowed, running
from tests.integration.explainer.sweeping import SLOW, Sweeping, array, sweep


async def test_a_sweep_waits_for_models_that_are_away(tiny: TinyBundle) -> None:
    async with running(tiny, sweep_heartbeat_s=0.05) as started:
        started.backend.step_s = 0.005
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep(grid=pb.SweepGrid(learning_rates=[0.1], prior_weights=[0], steps=[100])))
        await sweeping.until(sweep_id, 60)
        started.backend.reachable = False
        async for event in sweeping.explainer.WatchSweep(pb.WatchSweepRequest(name=f"sweeps/{sweep_id}")):
            if event.progress.waiting_for:
                break
        started.backend.reachable = True
        assert (await sweeping.wait(sweep_id)).HasField("response")
        assert (await sweeping.get(sweep_id)).row_step_count == 600


async def test_failures_of_the_models_that_pass_cost_nothing(tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.explainer.sweep.patience.FIRST_PAUSE_S", 0.01)
    async with running(tiny, sweep_rows=4) as started:
        sweeping = Sweeping.of(started.channel)
        calm = await sweeping.create(sweep(grid=SLOW))
        assert (await sweeping.wait(calm)).HasField("response")
        disturbed = await sweeping.create(sweep(grid=SLOW))
        await sweeping.until(disturbed, 30)
        # Each of two blocks bears that many; together it is more than one bears without a step between them.
        for failing in (2 * (MAX_FAILURES - 3), MAX_FAILURES - 2):
            started.backend.failing = failing
            before = (await sweeping.metadata(disturbed)).row_steps_done
            await sweeping.until(disturbed, before + 100)
            assert started.backend.failing == 0
        assert (await sweeping.wait(disturbed)).HasField("response")
        expected, found = await sweeping.get(calm), await sweeping.get(disturbed)
        for mine, theirs in zip(found.results, expected.results, strict=True):
            np.testing.assert_array_equal(array(mine.latents), array(theirs.latents))


async def test_a_sweep_waits_for_models_whose_queues_are_full(
    tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.explainer.sweep.patience.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("earwitness.explainer.sweep.patience.MAX_PAUSE_S", 0.01)
    async with running(tiny, sweep_heartbeat_s=0.05) as started:
        backend, sweeping = started.backend, Sweeping.of(started.channel)
        backend.overloaded = ("_search",)
        served = await sweeping.create(sweep())
        await refused(backend, 3 * MAX_FAILURES)
        backend.overloaded = ()
        assert (await sweeping.wait(served)).HasField("response")
        backend.overloaded = ("_generator",)  # so results are found, and none is complete
        cancelled = await sweeping.create(sweep(grid=SLOW))
        await refused(backend, 3 * MAX_FAILURES)
        await sweeping.cancel(cancelled)
        assert (await sweeping.wait(cancelled)).error.code == grpc.StatusCode.CANCELLED.value[0]


async def refused(backend: Slowed, times: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(times):
            await backend.refused.acquire()


async def test_models_that_only_fail_fail_the_sweep(tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.explainer.sweep.patience.FIRST_PAUSE_S", 0.01)
    async with running(tiny) as started:
        started.backend.step_s = 0.005  # it must not end before its models begin to fail
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep(grid=SLOW))
        await sweeping.until(sweep_id, 30)
        started.backend.failing = 1000
        operation = await sweeping.wait(sweep_id)
        assert operation.error.code == grpc.StatusCode.INTERNAL.value[0]
        assert 1000 - started.backend.failing <= MAX_FAILURES * 2  # two blocks go forward at once


async def test_a_gradient_that_is_zero_fails_the_sweep(tiny: TinyBundle) -> None:
    from tests.helpers.tiny_bundle import write_tiny_bundle

    broken = write_tiny_bundle(tiny.repository.parent / "broken-models", defect="zero_gradient")
    async with running(broken) as started:
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep())
        operation = await sweeping.wait(sweep_id)
        assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert "exactly zero" in operation.error.message
        assert (await sweeping.get(sweep_id)).state == pb.SWEEP_STATE_FAILED


async def test_each_time_that_sweeps_have_to_wait_is_logged_once(
    tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim, away = SweepStore.claim, iter([True, True, False, True, False])

    def now_and_then(store: SweepStore, *of: Any) -> Any:
        if next(away, False):
            raise StoreUnavailable()
        return claim(store, *of)

    monkeypatch.setattr(SweepStore, "claim", now_and_then)
    async with running(tiny) as started:
        started.backend.step_s = 0.02
        sweeping = Sweeping.of(started.channel)
        made = [await sweeping.create(sweep()) for _ in range(2)]
        for each in made:
            assert (await sweeping.wait(each)).HasField("response")
    assert caplog.text.count("sweeps wait:") == 2


async def test_a_database_that_is_away_does_not_keep_the_explainer_from_its_end(
    tiny: TinyBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(store: SweepStore, lease: Lease) -> None:
        raise StoreUnavailable()

    monkeypatch.setattr(SweepStore, "release", away)
    monkeypatch.setattr("earwitness.rpc.server.DRAINERS_S", 600)
    async with running(tiny, data_dir=tmp_path) as started:
        started.backend.step_s = 0.002
        sweeping = Sweeping.of(started.channel)
        first, next_one = [await sweeping.create(sweep(grid=SLOW)) for _ in range(2)]
        await sweeping.until(first, 30)
        stopping = asyncio.create_task(started.server.stop())
        await asyncio.wait({stopping}, timeout=60)
        assert stopping.done()
    database = Database(f"sqlite:///{tmp_path / 'explainer.db'}")
    assert SweepStore(database).get(next_one).state is State.QUEUED
    database.close()
