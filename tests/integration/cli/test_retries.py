"""What the clients send again by themselves, and what they do not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from earwitness.client import RpcFailure, ScorerClient
from earwitness.scorer.v1 import scorer_pb2_grpc as rpc


class Losing(rpc.ScorerServiceServicer):
    """A scorer whose answers are lost."""

    def __init__(self) -> None:
        self.asked = 0

    async def FreezeReference(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")


@asynccontextmanager
async def losing() -> AsyncIterator[tuple[Losing, ScorerClient]]:
    servicer, server = Losing(), grpc.aio.server()
    rpc.add_ScorerServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with ScorerClient(f"127.0.0.1:{port}") as scorer:
        yield servicer, scorer
    await server.stop(None)


@pytest.mark.parametrize(("etag", "tries"), [("", 4), ("abc", 1)])
async def test_freezing_is_tried_again_unless_its_etag_may_be_used_up(etag: str, tries: int) -> None:
    async with losing() as (servicer, scorer):
        with pytest.raises(RpcFailure, match="lost"):
            await scorer.freeze_reference("r", etag=etag)
    assert servicer.asked == tries
