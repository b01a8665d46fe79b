"""How long a client watches a sweep whose server comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from earwitness.client import RpcFailure, SweepClient
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc as rpc

ONCE = (("grpc-retry-pushback-ms", "-1"),)
"""Tells gRPC not to try again by itself."""


class Watched(rpc.ExplainerServiceServicer):
    """Watches that say nothing and break off after so many seconds each; the last one tells of a sweep that is over."""

    def __init__(self, silences_s: Iterator[float]) -> None:
        self.silences_s = silences_s

    async def WatchSweep(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        for silence_s in self.silences_s:
            await asyncio.sleep(silence_s)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops", ONCE)
        yield pb.WatchSweepResponse(progress=pb.SweepMetadata(sweep="sweeps/s1", state=pb.SWEEP_STATE_SUCCEEDED))


@asynccontextmanager
async def watching(*silences_s: float) -> AsyncIterator[SweepClient]:
    server = grpc.aio.server()
    rpc.add_ExplainerServiceServicer_to_server(Watched(iter(silences_s)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with SweepClient(f"127.0.0.1:{port}") as sweeps:
        yield sweeps
    await server.stop(None)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.client.sweeps.REOPEN_S", 0.01)


async def test_the_watch_of_a_sweep_that_waits_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.client.sweeps.STOOD_S", 0.8)
    async with watching(1.0, 0.0, 1.0) as sweeps:
        assert [each.state async for each in sweeps.watch("s1", patience_s=0.7)] == ["succeeded"]


async def test_a_watch_that_only_fails_is_given_up() -> None:
    async with watching(*[0.1] * 1000) as sweeps:
        with pytest.raises(RpcFailure, match="the server stops") as caught:
            async for _ in sweeps.watch("s1", patience_s=0.5):
                pass
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
