"""`python -m earwitness.explainer` as a process."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import grpc.aio

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import PATIENCE_S, search, seeds

PREFIX = "EARWITNESS_EXPLAINER_"


async def start(**settings: object) -> asyncio.subprocess.Process:
    """The service with these settings in its environment."""
    environment = {**os.environ, **{PREFIX + name.upper(): str(value) for name, value in settings.items()}}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "earwitness.explainer", env=environment, stderr=asyncio.subprocess.PIPE
    )


async def test_serves_the_repository_and_ends_its_searches_on_sigterm(tiny: TinyBundle, tmp_path: Path) -> None:
    where = {"model_repository": tiny.repository, "data_dir": tmp_path}
    child = await start(backend="local", port=0, metrics_port=0, drain_s=10, **where)
    try:
        assert child.stderr is not None
        port = None
        while port is None:
            line = await child.stderr.readline()
            assert line, "the service ended"
            port = re.search(rb"listening on 127\.0\.0\.1:(\d+)", line)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{int(port[1])}") as channel:
            stub = explainer_pb2_grpc.ExplainerServiceStub(channel)
            await stub.Explain(pb.ExplainRequest(search=search()), timeout=PATIENCE_S)
            call = stub.Explain(pb.ExplainRequest(search=search(*seeds(4), steps=300)), timeout=PATIENCE_S)
            await call.wait_for_connection()
            child.send_signal(signal.SIGTERM)
            assert len((await call).explanations) == 4
        await child.stderr.read()
        assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_says_in_one_line_why_it_cannot_start(tmp_path: Path) -> None:
    where = {"model_repository": tmp_path / "nowhere", "data_dir": tmp_path}
    child = await start(backend="local", port=0, metrics_port=0, **where)
    _, said = await child.communicate()
    assert child.returncode == 1
    assert "nowhere" in said.decode()
    assert "Traceback" not in said.decode()
