"""Replicas behind one name share the calls of one channel."""

import asyncio

from earwitness.client.channel import open_channel
from tests.integration.rpc.probe import PATIENCE_S, SERVICE, Running, running


async def test_both_replicas_get_calls() -> None:
    asked = set()
    async with running() as first, running() as second:
        for service in (first, second):

            async def answer(text: str, port: int = service.server.port) -> str:
                asked.add(port)
                return text

            service.probe.action = answer
        target = f"ipv4:127.0.0.1:{first.server.port},127.0.0.1:{second.server.port}"
        async with open_channel(target, tls=None, service=SERVICE, idempotent_methods=["Unary"]) as channel:
            client = Running(first.server, first.probe, channel)
            async with asyncio.timeout(PATIENCE_S):
                while len(asked) < 2:  # the second connection may come up after the first calls
                    await client.call("Unary", "x")
