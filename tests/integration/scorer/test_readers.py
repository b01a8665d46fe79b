"""Many who read statistics, slowly: what the scorer holds for them does not grow with the statistics."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from tests.helpers.services import service
from tests.integration.scorer.running import Running, creation, parts, rows_of, running

UNITS, ROWS, FEWER = 4096, 1024, 400
"""Of the fewer there is still more than a connection takes without being read."""
READERS = 16
ASKED = pb.ReadStatisticsRequest(name="references/r")


async def begin_to_read(address: str) -> grpc.aio.Channel:
    channel = grpc.aio.insecure_channel(address)
    stream = scorer_pb2_grpc.ScorerServiceStub(channel).ReadStatistics(ASKED)
    assert (await anext(aiter(stream))).HasField("header")
    return channel


async def build(stub: Any, scorer: Running, row_count: int) -> None:
    extreme = pb.Selection(top=pb.Selection.Extreme(unit=0, k=row_count))
    await stub.CreateReference(creation(unit_count=UNITS, selection=extreme))
    await scorer.append(parts(rows_of(row_count, units=UNITS)))
    await scorer.freeze()


async def test_slow_readers_take_little_memory(tmp_path: Path) -> None:
    async with service("scorer", data_dir=tmp_path) as process:
        stub = scorer_pb2_grpc.ScorerServiceStub(process.channel)
        await build(stub, Running(stub, process.channel, None), ROWS)  # type: ignore[arg-type]
        await (await begin_to_read(process.address)).close()
        before = process.rss_bytes
        channels = await asyncio.gather(*(begin_to_read(process.address) for _ in range(READERS)))
        most = 0
        for _ in range(10):
            await asyncio.sleep(0.1)
            most = max(most, process.rss_bytes - before)
        await asyncio.gather(*(channel.close() for channel in channels))
    assert most < READERS * 4 * UNITS * ROWS / 3, f"{most / 2**20:.0f} MiB"


async def test_readers_are_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrent_reads=1) as scorer:
        await build(scorer.stub, scorer, FEWER)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{scorer.port}") as channel:
            stream = scorer_pb2_grpc.ScorerServiceStub(channel).ReadStatistics(ASKED)
            parts_read = aiter(stream)
            await anext(parts_read)
            failure = await scorer.refusal("ReadStatistics", ASKED)
            assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_READS")
            stream.cancel()
        async with asyncio.timeout(60):
            while True:  # until the server has heard of it
                with suppress(grpc.aio.AioRpcError):
                    _, data = await scorer.read("references/r")
                    break
        assert len(data) == 4 * UNITS * FEWER


async def test_a_reader_whose_reference_goes_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as scorer:
        await build(scorer.stub, scorer, ROWS)
        parts_read = aiter(scorer.stub.ReadStatistics(ASKED))
        await anext(parts_read)
        await scorer.stub.DeleteReference(pb.DeleteReferenceRequest(name="references/r"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in parts_read:
                pass
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
