"""Databases that are locked, gone, full or killed below scorer and explainer."""

import asyncio
import resource
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from google.longrunning.operations_pb2 import ListOperationsRequest

from earwitness.explainer.sweep.migration import SCHEMA as EXPLAINER_SCHEMA
from earwitness.explainer.v1.explainer_pb2 import CreateSweepRequest, GetSweepRequest
from earwitness.rpc.errors import RpcFailure
from earwitness.scorer.migration import SCHEMA as SCORER_SCHEMA
from earwitness.storage.database import Database
from tests.faults.appending import BY_NAME, CALLERS, SHARDS, Appending, scorer_process
from tests.faults.searches import close, explain, latents, like, search, sweep, until_steps
from tests.faults.tally import Tally
from tests.helpers.postgresql import postgres_server
from tests.helpers.services import Service, service
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.sweeping import Sweeping, array
from tests.integration.scorer.running import creation

BEFORE, DURING = range(CALLERS), range(CALLERS, SHARDS)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
Undo = Callable[[], object]


def lock(process: Service, folder: Path) -> Undo:
    """Another program writes and does not come to its end."""
    (file,) = folder.glob("*.db")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other.close


def move(process: Service, folder: Path) -> Undo:
    """The folder, a volume that was unmounted."""
    away = folder.rename(folder.with_name("away"))
    return lambda: away.rename(folder)


def fill(process: Service, folder: Path) -> Undo:
    """No file of the scorer may grow any more, as on a disk that is full."""
    pid = process.process.pid
    largest = max(each.stat().st_size for each in folder.iterdir())
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)


@pytest.mark.parametrize("disturb", [lock, move, fill])
async def test_sqlite(tally: Tally, tmp_path: Path, disturb: Callable[[Service, Path], Undo]) -> None:
    """UNAVAILABLE, or DEADLINE_EXCEEDED at a lock; nothing acknowledged is lost, and all is well once it is undone."""
    folder, appending = tmp_path / "data", Appending(tally)
    async with scorer_process(data_dir=folder) as (process, scorer):
        await scorer.stub.CreateReference(creation())
        await appending.run(scorer, BEFORE)
        assert len(appending.acknowledged) == len(BEFORE)
        undo = disturb(process, folder)
        tally.injections += 1
        await appending.run(scorer, DURING, timeout_s=0.4)
        assert sum(tally.retryable.values()) > 0
        # Long before the writers that wait for a lock give up, after 30 s.
        reading = await tally.call(scorer.stub.GetReference(BY_NAME, timeout=15))
        assert isinstance(reading, RpcFailure) == (disturb is move)
        undo()
        await appending.judge_kept(scorer)
        await appending.judge_whole(scorer)


async def test_sweeps_locked(tiny: TinyBundle, tally: Tally, tmp_path: Path) -> None:
    """A lock on the explainer's SQLite: searches and readers go on; what is asked for again is made once."""
    asked = [CreateSweepRequest(request_id=str(uuid4()), sweep=sweep(2, 5)) for _ in range(12)]
    models = {"backend": "local", "model_repository": tiny.repository, "local_threads": 1}
    async with service("explainer", data_dir=tmp_path, **models) as explainer:
        sweeping = Sweeping.of(explainer.channel)
        sweep_id = await sweeping.create(sweep(2, 5))
        await sweeping.wait(sweep_id)
        expected = latents(await explain(explainer.channel, search([0], 20)))
        undo = lock(explainer, tmp_path)
        tally.injections += 1
        await asyncio.gather(*(tally.call(sweeping.explainer.CreateSweep(each, timeout=3)) for each in asked))
        assert tally.retryable["DEADLINE_EXCEEDED"] == len(asked)
        request = GetSweepRequest(name=f"sweeps/{sweep_id}")
        assert not isinstance(await tally.call(sweeping.explainer.GetSweep(request, timeout=15)), RpcFailure)
        await tally.call(explain(explainer.channel, search([0], 20)), like(expected))
        undo()
        made = {(await tally.persist(partial(sweeping.explainer.CreateSweep, each))).name for each in asked}
        listed = await sweeping.operations.ListOperations(ListOperationsRequest(name="operations", page_size=100))
        tally.judge({each.name for each in listed.operations} == made | {f"operations/{sweep_id}"})


async def test_postgresql_killed(tiny: TinyBundle, tally: Tally, tmp_path: Path) -> None:
    """Searches need no database; sweeps go on from their last checkpoint, references lose nothing, once it is back."""
    models = {"backend": "local", "model_repository": tiny.repository, "local_threads": 1, "sweep_yield_s": 0}
    pace = {"sweep_checkpoint_s": 0.1, "sweep_heartbeat_s": 0.1, "sweep_lease_s": 1.5}
    steps, appending = 3000, Appending(tally)
    with postgres_server() as server:
        url = server.create_database()
        database = Database(url)
        for schema in (EXPLAINER_SCHEMA, SCORER_SCHEMA):
            schema.migrate(database)
        database.close()
        async with (
            scorer_process(database_url=url) as (_, scorer),
            service("explainer", database_url=url, **models, **pace) as explainer,
        ):
            expected = latents(await explain(explainer.channel, search(range(4), steps)))
            await scorer.stub.CreateReference(creation())
            await appending.run(scorer, BEFORE)
            sweeping = Sweeping.of(explainer.channel)
            sweep_id = await sweeping.create(sweep(4, steps))
            await until_steps(explainer, 100)
            sending = asyncio.create_task(appending.run(scorer, DURING))
            await asyncio.to_thread(server.stop)
            tally.injections += 1
            assert not await explainer.metric("explainer_sweeps_total", state="succeeded"), "too late"
            await sending
            found = await tally.call(explain(explainer.channel, search([0], steps)), like(expected))
            assert not isinstance(found, RpcFailure)
            refused = await tally.call(sweeping.create(sweep(2, 5)))
            assert isinstance(refused, RpcFailure)
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            await asyncio.to_thread(server.start)
            await appending.judge_kept(scorer)
            await appending.judge_whole(scorer)
            assert (await sweeping.wait(sweep_id)).HasField("response")
            (result,) = (await sweeping.get(sweep_id)).results
            tally.judge(all(close(row, expected[seed]) for seed, row in enumerate(array(result.latents))))
    assert tally.retryable["UNAVAILABLE"] > 1
