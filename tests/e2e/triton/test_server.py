"""Starting, crashing, restarting and stopping the real server."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from earwitness.inference.backend import InferenceUnavailable
from earwitness.inference.triton import TritonBackend
from earwitness.inference.triton_install import SHARED_MEMORY, TritonInstall, missing_requirements
from earwitness.inference.tritonserver import TritonServer, TritonStartError, _assemble_backends
from tests.helpers.probe_model import write_probe_model
from tests.helpers.tiny_bundle import write_tiny_bundle

Z = {"z": np.ones((2, 6), np.float32)}

OWNER = """
import asyncio, sys
from pathlib import Path
from earwitness.inference.triton_install import TritonInstall
from earwitness.inference.tritonserver import TritonServer

async def main():
    async with TritonServer(TritonInstall(Path(sys.argv[1])), Path(sys.argv[2])) as server:
        print(server.pid, flush=True)
        await server.wait()

asyncio.run(main())
"""


def group(pid: int) -> set[int]:
    """The living processes of a process group, zombies left out."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended since it was listed
            state, _, group_id = stat.read_text().rpartition(")")[2].split()[:3]
            if int(group_id) == pid and state != "Z":
                found.add(int(stat.parent.name))
    return found


def regions(server: TritonServer) -> set[Path]:
    """Shared memory of a server; those that other tests run have theirs."""
    return set(SHARED_MEMORY.glob(f"{server._region_prefix}*"))


async def gone(pid: int, within_s: float = 15.0) -> bool:
    """Whether the process group ends in time."""
    for _ in range(int(within_s / 0.1)):
        if not group(pid):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_stop_leaves_nothing_behind(triton_install: TritonInstall, tmp_path: Path):
    write_tiny_bundle(tmp_path / "models")
    async with TritonServer(triton_install, tmp_path / "models") as server:
        pid = server.pid
        assert pid is not None
        assert len(group(pid)) == 4  # the server and a stub for each model
        assert regions(server)
        scratch = server._scratch
    assert not group(pid)
    assert not regions(server)
    assert scratch is not None
    assert not scratch.exists()
    assert server.pid is None
    await server.stop()  # a second time does nothing


async def test_listens_on_ipv6(triton_install: TritonInstall, tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path)
    async with TritonServer(triton_install, tmp_path, host="::1") as server:
        assert server.grpc_url == f"[::1]:{server.grpc_port}"
        backend = TritonBackend(server.grpc_url)
        assert list(await backend.bundles()) == [bundle.metadata]
        await backend.close()
        with await asyncio.to_thread(urllib.request.urlopen, server.metrics_url) as page:
            assert page.status == 200


async def test_a_killed_server_is_unavailable_and_comes_back(triton_install: TritonInstall, tmp_path: Path, caplog):
    bundle = write_tiny_bundle(tmp_path)
    server = TritonServer(triton_install, tmp_path)
    await server.start()
    url, pid = server.grpc_url, server.pid
    assert pid is not None
    backend = TritonBackend(url)
    assert list(await backend.bundles()) == [bundle.metadata]

    os.kill(pid, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    assert "ended by itself" in caplog.text
    assert await gone(pid)
    with pytest.raises(InferenceUnavailable, match="cannot be used now"):
        await backend.infer("tiny_generator", Z, ["spectrogram"])
    with pytest.raises(InferenceUnavailable, match=url):
        await backend.bundles()
    assert not await backend.ready()

    second = write_tiny_bundle(tmp_path, "second", seed=1)
    await server.start()
    assert server.grpc_url == url
    for _ in range(50):
        if await backend.ready():
            break
        await asyncio.sleep(0.1)
    assert list(await backend.bundles()) == [second.metadata, bundle.metadata]
    found = await backend.infer("second_generator", Z, ["spectrogram"])
    np.testing.assert_allclose(found["spectrogram"], second.spectrogram(Z["z"]), atol=1e-5)
    await backend.close()
    await server.stop()


async def test_a_model_process_that_dies_ends_the_server(triton_install: TritonInstall, tmp_path: Path, caplog):
    write_tiny_bundle(tmp_path)
    async with TritonServer(triton_install, tmp_path) as server:
        assert server.pid is not None
        backend = TritonBackend(server.grpc_url)
        await backend.bundles()
        victim = max(group(server.pid) - {server.pid})
        os.kill(victim, signal.SIGKILL)
        assert await asyncio.wait_for(server.wait(), 60) == -signal.SIGKILL
        assert f"a model's process ({victim}) has ended" in caplog.text
        with pytest.raises(InferenceUnavailable):
            await backend.bundles()
        await backend.close()


async def test_a_restart_between_two_calls_does_not_go_unnoticed(triton_install: TritonInstall, tmp_path: Path):
    write_tiny_bundle(tmp_path)
    server = TritonServer(triton_install, tmp_path)
    await server.start()
    backend = TritonBackend(server.grpc_url)
    await backend.bundles()
    await server.stop()
    exchanged = write_tiny_bundle(tmp_path, seed=7)  # the same names and versions, other weights
    await server.start()
    assert [each.weights_sha256 for each in await backend.bundles()] == [exchanged.metadata.weights_sha256]
    await backend.close()
    await server.stop()


async def test_the_server_ends_with_its_owner(triton_install: TritonInstall, tmp_path: Path):
    write_tiny_bundle(tmp_path / "models")
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(triton_install.folder), str(tmp_path / "models")),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert owner.stdout is not None
    pid = int(await owner.stdout.readline())
    owner.kill()
    await owner.wait()
    assert await gone(pid)


async def test_a_server_that_others_started_and_killed_leaves_nothing_behind(
    triton_install: TritonInstall, tmp_path: Path
):
    """Nobody has waited for it either, as in a container whose first process does not: it stays a zombie."""
    write_tiny_bundle(tmp_path / "models")
    server = TritonServer(triton_install, tmp_path / "models")
    server._choose_ports()
    command = server._command(_assemble_backends(triton_install, tmp_path))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 -- asyncio would wait for it
            command, env=server._environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        backend = TritonBackend(server.grpc_url)
        async with asyncio.timeout(120):
            while not await backend.ready():  # noqa: ASYNC110 -- it tells nobody
                await asyncio.sleep(0.1)
        await backend.close()
        assert len(group(process.pid)) == 4
        assert regions(server)
        process.kill()
        assert await gone(process.pid)
        assert not regions(server)
    finally:
        process.kill()
        process.wait()


async def test_a_start_with_nothing_to_serve_says_what_is_wrong(triton_install: TritonInstall, tmp_path: Path):
    write_tiny_bundle(tmp_path)
    (tmp_path / "tiny_search" / "1" / "model.onnx").write_bytes(b"no model")
    server = TritonServer(triton_install, tmp_path, log_file=tmp_path / "logs" / "triton.log")
    with pytest.raises(TritonStartError, match=r"models/tiny: .*tiny_search/1/model\.onnx is not the file that was"):
        await server.start()
    assert server.pid is None


async def test_a_start_that_loads_no_model_fails_with_the_log(triton_install: TritonInstall, tmp_path: Path):
    folder = write_probe_model(tmp_path)  # of no bundle, so that only Triton can tell
    (folder / "1" / "model.onnx").write_bytes(b"no model")
    server = TritonServer(triton_install, tmp_path, log_file=tmp_path / "logs" / "triton.log")
    with pytest.raises(TritonStartError, match=rf"(?s)could load none of the models.*{tmp_path}/probe/1/model\.onnx"):
        await server.start()
    assert server.pid is None
    assert "probe" in (tmp_path / "logs" / "triton.log").read_text()


class Starved(TritonInstall):
    """Its server gives up a lock, as on a starved machine, as often as there are files in `folder`/again."""

    @property
    def server(self) -> Path:
        return self.folder / "tritonserver"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_start_that_gives_up_a_lock_is_tried_once_more(
    triton_install: TritonInstall, tmp_path: Path, times: int, caplog
):
    write_tiny_bundle(tmp_path / "models")
    starved = Starved(tmp_path / "install")
    (starved.folder / "again").mkdir(parents=True)
    (starved.folder / triton_install.python_backend.relative_to(triton_install.folder)).parent.mkdir(parents=True)
    starved.python_backend.symlink_to(triton_install.python_backend)
    for number in range(times):
        (starved.folder / "again" / str(number)).touch()
    starved.server.write_text(
        f"#!/bin/sh\nfor file in {starved.folder}/again/*; do\n  [ -e $file ] || break\n  rm $file\n"
        "  echo what: boost::interprocess::lock_exception\n  kill -ABRT $$\ndone\n"
        f'exec {triton_install.server} "$@"\n'
    )
    starved.server.chmod(0o755)
    server = TritonServer(starved, tmp_path / "models")
    if times == 1:
        async with server:
            assert server.pid is not None
        assert "gave up a lock" in caplog.text
    else:
        with pytest.raises(TritonStartError, match="lock_exception"):
            await server.start()
    assert not list((starved.folder / "again").iterdir())


async def test_a_port_in_use_is_named(triton_install: TritonInstall, tmp_path: Path):
    write_tiny_bundle(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TritonStartError, match=f"127.0.0.1:{port} cannot be used .*choose another port"):
            await TritonServer(triton_install, tmp_path, grpc_port=port).start()


@pytest.mark.parametrize(
    ("library", "other", "message"),
    [(b"libpython3", b"libpythonX", "--enable-shared"), (b"libcudart", b"libcudaXX", "stub needs libcudaXX")],
)
def test_a_missing_library_is_named(
    triton_install: TritonInstall, tmp_path: Path, library: bytes, other: bytes, message: str
):
    broken = TritonInstall(tmp_path)
    for program, original in ((broken.server, triton_install.server), (broken.stub, triton_install.stub)):
        program.parent.mkdir(parents=True)
        program.write_bytes(original.read_bytes())
        program.chmod(0o755)
    (tmp_path / "nvidia_pytriton.libs").symlink_to(triton_install.folder / "nvidia_pytriton.libs")
    assert missing_requirements(broken) == []
    broken.stub.write_bytes(broken.stub.read_bytes().replace(library, other))
    (problem,) = missing_requirements(broken)
    assert message in problem
