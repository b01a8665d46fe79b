"""A scorer that has too much to do, or whose store is away or damaged: what callers are told, and that it goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.scorer.server import SERVICE_NAME
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.refusing import INVALID, ROWS, assert_works, moments, state
from tests.integration.scorer.running import (
    Running,
    creation,
    parts,
    running,
)


async def test_too_many_appends_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrent_appends=1) as scorer:
        await scorer.stub.CreateReference(creation())
        message = parts(ROWS)
        open_call = scorer.stub.AppendActivations()
        await open_call.write(message[0])
        for _ in range(100):
            failure = await scorer.refusal("AppendActivations", parts(ROWS, shard_id=str(uuid4()))[:1])
            if failure.code != INVALID:
                break
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_APPENDS")
        assert failure.retry_after_s is not None
        await open_call.write(message[1])
        await open_call.done_writing()
        assert (await open_call).row_count == 10
        assert (await scorer.append(parts(ROWS, shard_id="next"))).row_count == 20


async def test_an_append_that_stands_still_gives_its_place_back(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrent_appends=1, append_idle_s=0.2) as scorer:
        await scorer.stub.CreateReference(creation())
        for begun in (0, 1):  # without a header, and after it
            silent = scorer.stub.AppendActivations()
            for message in parts(ROWS)[:begun]:
                await silent.write(message)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await silent
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        header = parts(ROWS)[:1]
        failure = await scorer.refusal("AppendActivations", [*header, pb.AppendActivationsRequest(chunk=b"")])
        assert (failure.code, failure.violations[0].field) == (INVALID, "chunk")
        assert (await scorer.append(parts(ROWS))).row_count == 10


async def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.storage.database.BUSY_TIMEOUT_S", 0.2)
    async with running(tmp_path) as scorer:
        await scorer.frozen_reference(ROWS)
        before = await state(scorer)
        with closing(sqlite3.connect(tmp_path / "scorer.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for method, request in (
                ("CreateReference", creation("new")),
                ("AppendActivations", parts(ROWS, shard_id="new")),
                ("MergeStatistics", moments(shard_id="new")),
                ("DeleteReference", pb.DeleteReferenceRequest(name="references/r")),
            ):
                failure = await scorer.refusal(method, request)
                assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
                assert failure.retry_after_s is not None
                assert "sqlite" not in failure.message.lower()
            assert await state(scorer) == before, "reading goes on"
        await assert_works(scorer)


async def test_health_tells_when_the_store_cannot_be_read(scorer: Running, tmp_path: Path) -> None:
    health = health_pb2_grpc.HealthStub(scorer.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
    statuses = aiter(watch)
    assert (await anext(statuses)).status == health_pb2.HealthCheckResponse.SERVING
    with closing(sqlite3.connect(tmp_path / "scorer.db", isolation_level=None)) as other:
        other.execute("ALTER TABLE reference RENAME TO away")
        failure = await scorer.refusal("GetReference", pb.GetReferenceRequest(name="references/r"))
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert (await anext(statuses)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        other.execute("ALTER TABLE away RENAME TO reference")
    assert (await anext(statuses)).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    await assert_works(scorer)
