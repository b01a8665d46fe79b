"""The scorer as a process: it starts light, stops clean, and loses nothing to SIGKILL."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from earwitness.client.partials import Partial
from earwitness.client.values import Selection
from earwitness.scorer.frechet import factor_rows, frechet_distance
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from tests.helpers.postgresql import PostgresServer
from tests.helpers.services import Service, service
from tests.integration.scorer.running import Running, creation, partial_parts, parts, rows_of, scoring

SHARDS = 40


@asynccontextmanager
async def process(**place: object) -> AsyncIterator[tuple[Service, Running]]:
    """The scorer as a process, and its stub; `place` is its `data_dir` or `database_url`."""
    async with service("scorer", **place) as started:
        yield started, Running(scorer_pb2_grpc.ScorerServiceStub(started.channel), started.channel, CollectorRegistry())


def shard(index: int) -> list[pb.AppendActivationsRequest]:
    return parts(rows_of(50, seed=index), shard_id=f"shard {index}")


async def test_killed_again_and_again(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    generator = np.random.default_rng(0)

    async def append_all(scorer: Running) -> None:
        for index in range(SHARDS):
            await scorer.append(shard(index))
            acknowledged.add(index)

    for attempt in range(2):
        async with process(data_dir=tmp_path) as (running, scorer):
            if attempt == 0:
                await scorer.stub.CreateReference(creation())
            elif acknowledged:
                row_count = (await scorer.append(shard(min(acknowledged)))).row_count
                assert 50 * len(acknowledged) <= row_count <= 50 * (len(acknowledged) + 1)
            appending = asyncio.create_task(append_all(scorer))
            await asyncio.sleep(float(generator.uniform(0.05, 0.3)))
            await running.kill()
            await asyncio.gather(appending, return_exceptions=True)
            error = appending.exception() if not appending.cancelled() else None
            assert error is None or (isinstance(error, grpc.aio.AioRpcError) and "UNAVAILABLE" in str(error.code()))
    async with process(data_dir=tmp_path) as (running, scorer):
        await append_all(scorer)
        version = (await scorer.stub.FreezeReference(pb.FreezeReferenceRequest(name="references/r"))).version
        assert version.row_count == 50 * SHARDS
        batch = rows_of(20, seed=999)
        score = (await scorer.stub.Score(scoring(batch))).score
        rows = np.concatenate([rows_of(50, seed=index) for index in range(SHARDS)])
        np.testing.assert_allclose(score.distance, frechet_distance(batch, factor_rows(rows)).distance, rtol=1e-9)
        running.process.terminate()
        assert await running.ended() == 0


def test_the_service_needs_no_heavy_library() -> None:
    heavy = {"torch", "scipy", "librosa", "sklearn", "matplotlib", "onnxruntime", "tritonclient", "sqlalchemy.orm"}
    code = f"import sys, earwitness.scorer.__main__; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_database_that_cannot_be_opened_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "scorer.db").mkdir()
    command = [sys.executable, "-m", "earwitness.scorer", "--port", "0", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot start: the database cannot be reached" in done.stderr
    assert "unable to open database file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--port", "0"], ["migrate"]], ids=["serve", "migrate"])
def test_a_file_that_is_no_database_stops_the_start_with_one_line(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "scorer.db").write_text("a letter, not a database " * 100)
    command = [sys.executable, "-m", "earwitness.scorer", *words, "--data-dir", str(tmp_path), "--log-format", "text"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the database cannot be used: file is not a database; restore a backup, or choose another" in line


async def test_replicas_on_one_postgresql_append_to_one_reference(postgresql: PostgresServer) -> None:
    """Each sends every shard, in an order of its own; one is killed on the way. Every shard counts once, whether it is
    of activations or, as every other one, of their statistics."""
    url = postgresql.create_database()
    migrate = [sys.executable, "-m", "earwitness.scorer", "migrate", f"--database-url={url}"]
    await asyncio.to_thread(subprocess.run, migrate, check=True, timeout=60)
    order = np.random.default_rng(1)

    async def append_all(scorer: Running) -> None:
        for index in order.permutation(SHARDS):
            if index % 2:
                partial = Partial.of(rows_of(50, seed=index), Selection())
                await scorer.merge(partial_parts(partial, shard_id=f"shard {index}"))
            else:
                await scorer.append(shard(index))

    async with (
        process(database_url=url) as (killed, first),
        process(database_url=url) as (_, second),
        process(database_url=url) as (_, third),
    ):
        await first.stub.CreateReference(creation())
        appending = [asyncio.create_task(append_all(scorer)) for scorer in (first, second, third)]
        await asyncio.sleep(0.2)
        await killed.kill()
        _, *others = await asyncio.gather(*appending, return_exceptions=True)
        assert others == [None, None]
        frozen = pb.FreezeReferenceRequest(name="references/r")
        versions = await asyncio.gather(second.stub.FreezeReference(frozen), third.stub.FreezeReference(frozen))
        assert versions[0].version == versions[1].version
        assert versions[0].version.row_count == 50 * SHARDS
        scores = [(await scorer.stub.Score(scoring(rows_of(20, seed=9)))).score for scorer in (second, third)]
        assert scores[0] == scores[1]
        rows = np.concatenate([rows_of(50, seed=index) for index in range(SHARDS)])
        expected = frechet_distance(rows_of(20, seed=9), factor_rows(rows)).distance
        assert scores[0].distance == pytest.approx(expected, rel=1e-9)


def test_an_empty_postgresql_stops_the_start_and_says_what_to_run(postgresql: PostgresServer) -> None:
    command = [sys.executable, "-m", "earwitness.scorer", "--port", "0", "--log-format", "text"]
    database = f"--database-url={postgresql.create_database()}"
    done = subprocess.run([*command, database], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "has schema none, this version needs 0002; run `python -m earwitness.scorer migrate`" in line
