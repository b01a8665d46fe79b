"""One real Triton for the whole test session, on free ports, with the tiny bundle and the probe model."""

import asyncio
import os
import re
import sys
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tritonclient.grpc import model_config_pb2 as mc

from earwitness.inference.triton_install import TritonInstall, fetch_tritonserver, missing_requirements
from earwitness.inference.tritonserver import TritonServer
from tests.helpers.probe_model import write_probe_model
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle


@dataclass(frozen=True)
class RunningTriton:
    """A Triton that serves `repository`: `bundle` (named `tiny`), the probe model, and `narrow`, the same with room for
    one request in its queue, for a second at most."""

    grpc_url: str
    metrics_url: str
    pid: int
    repository: Path
    bundle: TinyBundle
    log_file: Path

    async def pending(self, model: str) -> int:
        """Requests that wait in the model's queue."""
        with await asyncio.to_thread(urllib.request.urlopen, self.metrics_url) as page:
            text = page.read().decode()
        found = re.search(rf'^nv_inference_pending_request_count{{model="{model}".*}} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else 0


@pytest.fixture(scope="session")
def triton_install() -> TritonInstall:
    """The fetched server; a machine that cannot run it fails the tests and says why."""
    install = fetch_tritonserver()
    problems = missing_requirements(install)
    if problems:
        pytest.fail("Triton cannot run here: " + "; ".join(problems), pytrace=False)
    return install


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def triton(
    triton_install: TritonInstall, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningTriton]:
    """The session's server. Tests that stop or kill a server start their own."""
    repository = tmp_path_factory.mktemp("model_repository")
    bundle = write_tiny_bundle(repository)
    write_probe_model(repository)
    write_probe_model(
        repository, "narrow", queue=mc.ModelQueuePolicy(max_queue_size=1, default_timeout_microseconds=1_000_000)
    )
    log_file = tmp_path_factory.mktemp("triton") / "triton.log"
    async with TritonServer(triton_install, repository, log_file=log_file) as server:
        assert server.pid is not None
        yield RunningTriton(server.grpc_url, server.metrics_url, server.pid, repository, bundle, log_file)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The commands first on PATH, state of its own, and none of the caller's settings but where Triton is kept."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("EARWITNESS_") or key.endswith("_CACHE")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "XDG_DATA_HOME": str(tmp_path_factory.mktemp("data"))}
