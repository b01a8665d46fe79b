"""A sweep in an explainer that is killed again and again: nothing saved is lost, nothing is counted twice."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import numpy as np
import pytest
import pytest_asyncio

from earwitness.explainer.sweep.store import Lease, SweepStore
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.storage.database import Database
from tests.helpers.postgresql import PostgresServer
from tests.helpers.services import Service, service
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import PATIENCE_S
from tests.integration.explainer.running import running as running_in_process
from tests.integration.explainer.sweeping import Sweeping, array, sweep

ROWS = 12
STEPS = 2500
MESSAGE = sweep(grid=pb.SweepGrid(learning_rates=[0.05, 0.01], prior_weights=[0.01], steps=[20, STEPS]))
SETTINGS = {
    "sweep_rows": 4, "sweep_checkpoint_s": 0.1, "sweep_heartbeat_s": 0.05, "sweep_lease_s": 4,
    "drain_notice_s": 0, "drain_s": 5,
}  # fmt: skip


@asynccontextmanager
async def process(tiny: TinyBundle, **place: object) -> AsyncIterator[tuple[Service, Sweeping]]:
    """The explainer as a process, and its stubs; `place` is its `data_dir` or `database_url`."""
    models = {"backend": "local", "model_repository": tiny.repository, "local_threads": 1}
    async with service("explainer", **models, **SETTINGS, **place) as started:
        yield started, Sweeping.of(started.channel)


def saved_row_steps(url: str, sweep_id: str) -> int:
    """Row-steps in the checkpoints of the database at `url`."""
    database = Database(url)
    store = SweepStore(database)
    saved = sum(each.row_steps_done for each in store.checkpoints(store.get(sweep_id).key))
    database.close()
    return saved


async def evaluations(explainer: Service) -> int:
    """Row-steps that a process has evaluated, iterate 0 of each row among them."""
    return int(await explainer.metric("explainer_row_steps_total", model="tiny"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(tiny: TinyBundle) -> pb.Sweep:
    """What a sweep finds that nothing happens to."""
    async with running_in_process(tiny, sweep_rows=SETTINGS["sweep_rows"]) as started:
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(MESSAGE)
        await sweeping.wait(sweep_id)
        return await sweeping.get(sweep_id)


async def test_stopped_killed_and_started_again(tiny: TinyBundle, undisturbed: pb.Sweep, tmp_path: Path) -> None:
    sweep_id, saved = "", 0
    for part, number in ((0.2, signal.SIGTERM), (0.5, signal.SIGKILL)):
        async with process(tiny, data_dir=tmp_path) as (running, sweeping):
            sweep_id = sweep_id or await sweeping.create(MESSAGE)
            seen = await sweeping.until(sweep_id, int(part * ROWS * STEPS))
            running.process.send_signal(number)
            assert await running.ended() == (0 if number is signal.SIGTERM else -number)
        before, saved = saved, saved_row_steps(f"sqlite:///{tmp_path / 'explainer.db'}", sweep_id)
        assert before < saved < ROWS * STEPS
        if number is signal.SIGTERM:
            assert saved >= seen.row_steps_done

    async with process(tiny, data_dir=tmp_path) as (running, sweeping):
        resumed = await sweeping.until(sweep_id, saved)
        assert resumed.row_steps_done >= saved
        assert (await sweeping.wait(sweep_id)).HasField("response")
        # What was saved is not done again; each row may evaluate one iterate that is no step.
        assert await evaluations(running) <= ROWS * STEPS - saved + ROWS
        found = await sweeping.get(sweep_id)
        paths = await sweeping.explanations(sweep_id, 3, pb.ARTEFACT_TRAJECTORY)
    assert found.row_step_count == ROWS * STEPS

    assert_as_undisturbed(found, undisturbed)
    assert_whole(paths)


async def test_stopped_while_a_block_is_saved(
    tiny: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All blocks are left as they were reached, the one too whose checkpoint takes a while."""
    checkpoint, saving = SweepStore.checkpoint, threading.Event()

    def take_a_while(store: SweepStore, lease: Lease, number: int, *rest: Any) -> None:
        if number == 0:
            saving.set()
            time.sleep(0.3)
        checkpoint(store, lease, number, *rest)

    monkeypatch.setattr(SweepStore, "checkpoint", take_a_while)
    async with running_in_process(tiny, data_dir=tmp_path, **SETTINGS) as started:
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(MESSAGE)
        await sweeping.until(sweep_id, ROWS * STEPS // 10)
        saving.clear()
        assert await asyncio.to_thread(saving.wait, PATIENCE_S)
        seen = await sweeping.metadata(sweep_id)
    assert "could not be saved" not in caplog.text
    assert seen.row_steps_done <= saved_row_steps(f"sqlite:///{tmp_path / 'explainer.db'}", sweep_id) < ROWS * STEPS


async def test_failed_resumed_killed_and_started_again(
    tiny: TinyBundle, undisturbed: pb.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.explainer.sweep.patience.FIRST_PAUSE_S", 0.01)
    url = f"sqlite:///{tmp_path / 'explainer.db'}"
    async with running_in_process(tiny, data_dir=tmp_path, **SETTINGS) as started:
        sweeping = Sweeping.of(started.channel)
        failed = await sweeping.create(MESSAGE)
        await sweeping.until(failed, ROWS * STEPS // 2)  # with results done, and blocks begun
        started.backend.failing = 10**6
        assert (await sweeping.wait(failed)).error.code == grpc.StatusCode.INTERNAL.value[0]
        left = await sweeping.get(failed)
    saved = saved_row_steps(url, failed)
    assert left.row_step_count == saved >= ROWS * STEPS // 2
    done = [result.done for result in left.results]
    assert any(done)
    assert not all(done)

    request_id = str(uuid4())
    async with process(tiny, data_dir=tmp_path) as (running, sweeping):
        resumed = await sweeping.resume(failed, request_id)
        seen = await sweeping.until(resumed, saved + (ROWS * STEPS - saved) // 3)
        assert seen.row_steps_done < ROWS * STEPS
        await running.kill()
    rest = ROWS * STEPS - saved_row_steps(url, resumed)
    assert 0 < rest < ROWS * STEPS - saved
    async with process(tiny, data_dir=tmp_path) as (running, sweeping):
        assert (await sweeping.wait(resumed)).HasField("response")
        assert await evaluations(running) <= rest + ROWS
        found = await sweeping.get(resumed)
        paths = await sweeping.explanations(resumed, 3, pb.ARTEFACT_TRAJECTORY)
        assert (await sweeping.get(failed)).SerializeToString() == left.SerializeToString()
        await sweeping.delete(failed)
        assert await sweeping.resume(failed, request_id) == resumed  # the same request, though its source is gone
    assert (found.resumed_from, found.row_step_count) == (f"sweeps/{failed}", ROWS * STEPS)
    assert_as_undisturbed(found, undisturbed)
    assert_whole(paths)


def assert_as_undisturbed(found: pb.Sweep, undisturbed: pb.Sweep) -> None:
    for mine, theirs in zip(found.results, undisturbed.results, strict=True):
        assert list(mine.activations) == list(theirs.activations)
        assert list(mine.best_steps) == list(theirs.best_steps)
        np.testing.assert_array_equal(array(mine.latents), array(theirs.latents))
        np.testing.assert_array_equal(array(mine.layer_activations), array(theirs.layer_activations))


def assert_whole(paths: list[pb.Explanation]) -> None:
    for each in paths:
        assert len(each.trajectory.activations) == STEPS + 1
        assert max(each.trajectory.activations) == each.activation


async def test_another_explainer_takes_over_what_a_killed_one_ran(tiny: TinyBundle, postgresql: PostgresServer) -> None:
    """Two on one PostgreSQL: the second goes on from the first's last checkpoint once its lease is over."""
    url = postgresql.create_database()
    migrate = [sys.executable, "-m", "earwitness.explainer", "migrate", f"--database-url={url}"]
    await asyncio.to_thread(subprocess.run, migrate, check=True, timeout=PATIENCE_S)
    async with process(tiny, database_url=url) as (first, asked):
        sweep_id = await asked.create(MESSAGE)
        await asked.until(sweep_id, ROWS * STEPS // 5)
        first.process.send_signal(signal.SIGSTOP)  # or it might be done before the second has started
        saved = saved_row_steps(url, sweep_id)
        assert 0 < saved < ROWS * STEPS
        async with process(tiny, database_url=url) as (second, other):
            await first.kill()
            assert (await other.wait(sweep_id)).HasField("response")
            assert ROWS * STEPS - saved <= await evaluations(second) <= ROWS * STEPS - saved + ROWS
            assert len((await other.get(sweep_id)).results) == 4
