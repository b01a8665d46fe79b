"""A service as a process: start, log, drain on a signal, and one clear line when it cannot start."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from tests.integration.rpc.probe import PATIENCE_S, Probe, Running

ROOT = Path(__file__).resolve().parents[3]
SERVICE = '''
import asyncio
import gc
from prometheus_client import CollectorRegistry
from pydantic_settings import SettingsConfigDict
from earwitness.rpc.run import run
from earwitness.rpc.server import RpcServer
from earwitness.rpc.settings import ServerSettings
from tests.integration.rpc.probe import SERVICE, Probe

class Settings(ServerSettings):
    """A probe's settings."""
    model_config = SettingsConfigDict(env_prefix="PROBE_")

async def build(settings: Settings) -> RpcServer:
    probe, server = Probe(), RpcServer(settings, CollectorRegistry())

    async def slowly(text: str) -> str:
        if text == "collected":
            return str(gc.get_freeze_count())
        await asyncio.sleep(float(text))
        return text

    async def close() -> None:
        print("closed", flush=True)

    probe.action = slowly
    server.add(SERVICE, probe.register, probe.is_healthy)
    server.on_stop(close)
    return server

run(Settings, build)
'''


@asynccontextmanager
async def process(*options: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, *options, cwd=ROOT, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def log_until(child: asyncio.subprocess.Process, words: str) -> dict[str, str]:
    """The first JSON log line that has the words in its message."""
    assert child.stderr is not None
    while line := await asyncio.wait_for(child.stderr.readline(), PATIENCE_S):
        record: dict[str, str] = json.loads(line)
        if words in record["message"]:
            return record
    raise AssertionError(f"ended without {words!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(number: signal.Signals) -> None:
    async with process("--log-format=json", PROBE_DRAIN_NOTICE_S="0.2") as child:
        started = await log_until(child, "listening on")
        port = int(started["message"].split(":")[1].split(",")[0])
        assert started["level"] == "INFO"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            service = Running(None, Probe(), channel)  # type: ignore[arg-type]
            call = asyncio.create_task(service.call("Unary", "1.0", metadata=[("x-request-id", "slow-call")]))
            await asyncio.sleep(0.3)
            child.send_signal(number)
            assert number.name in (await log_until(child, "draining"))["message"]
            assert (await call)[0] == ["1.0"]
        record = await log_until(child, "/probe.v1.ProbeService/Unary OK by ipv4:127.0.0.1 in")
        assert record["request_id"] == "slow-call"
        out, _ = await asyncio.wait_for(child.communicate(), PATIENCE_S)
        assert out == b"closed\n"
        assert child.returncode == 0


async def test_what_there_is_at_start_is_not_collected_again() -> None:
    """A full collection of it would hold all calls up for as long as many of them take."""
    async with process("--log-format=json") as child:
        port = int((await log_until(child, "listening on"))["message"].split(":")[1].split(",")[0])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            service = Running(None, Probe(), channel)  # type: ignore[arg-type]
            (count,), _ = await service.call("Unary", "collected")
        assert int(count) > 10_000


async def test_a_second_signal_does_not_wait_for_calls() -> None:
    async with process("--log-format=json", "--drain-s=60", "--drain-notice-s=0") as child:
        port = int((await log_until(child, "listening on"))["message"].split(":")[1].split(",")[0])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = asyncio.create_task(Running(None, Probe(), channel).call("Unary", "60"))  # type: ignore[arg-type]
            await asyncio.sleep(0.3)
            child.terminate()
            await log_until(child, "draining")
            child.terminate()
            out, _ = await asyncio.wait_for(child.communicate(), PATIENCE_S)
            with pytest.raises(grpc.aio.AioRpcError):
                await call
        assert (out, child.returncode) == (b"closed\n", 0)


async def test_help_lists_every_setting() -> None:
    async with process("--help") as child:
        out, err = await asyncio.wait_for(child.communicate(), PATIENCE_S)
    assert child.returncode == 0, err.decode()
    assert "--max-concurrent-rpcs" in out.decode()
    assert "--reflection" in out.decode()
    assert "Port of the gRPC server" in out.decode()


async def test_wrong_settings_and_a_taken_port_are_one_line_each() -> None:
    async with process("--log-format=json", PROBE_PORT="many", PROBE_MAX_CONCURRENT_RPCS="0") as child:
        _, err = await asyncio.wait_for(child.communicate(), PATIENCE_S)
    assert child.returncode == 2
    lines = err.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == ["port", "max_concurrent_rpcs"]
    async with process("--log-format=json") as first:
        port = (await log_until(first, "listening on"))["message"].split(":")[1].split(",")[0]
        async with process("--port", port) as second:
            _, err = await asyncio.wait_for(second.communicate(), PATIENCE_S)
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in err.decode().splitlines()[-1]
        assert "Traceback" not in err.decode()
