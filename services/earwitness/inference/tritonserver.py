"""Runs the fetched Triton server as a child process: started, watched, stopped, nothing left behind."""

import asyncio
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earwitness.folders import shipped
from earwitness.inference.backend import InferenceUnavailable
from earwitness.inference.repository import ONNX_BACKEND, RepositoryError
from earwitness.inference.triton_install import SHARED_MEMORY, TritonInstall, library_path
from earwitness.inference.view import link_models
from earwitness.processes import ManagedProcess
from earwitness.rpc.proxies import LOOPBACK, proxy_options

logger = logging.getLogger(__name__)

POLL_S = 0.05
START_TIMEOUT_S = 120
STOP_GRACE_S = 10
"""Until Triton is killed; it gives up waiting for its own parts two seconds before."""
LOG_TAIL_LINES = 25
SHM_FIRST_BYTES = 2**20
SHM_GROWTH_BYTES = 2**22
STUB_MODULES = ("numpy", "onnxruntime", "earwitness")
"""What the python-based backend imports, from wherever this process has it."""


LOCK_GIVEN_UP = "boost::interprocess::lock_exception"
"""Triton's last words when its python backend waited ten seconds for a lock of a process that never got to run."""


class TritonStartError(InferenceUnavailable):
    """The server did not become ready; the message ends with the last lines of its log."""

    reason = "TRITON_START_FAILED"


def backend_source() -> Path:
    """The folder of the python-based Triton backends: in the installed package, or in the checkout."""
    folder = shipped("deploy/triton/backends")
    if (folder / ONNX_BACKEND / "model.py").is_file():
        return folder
    raise TritonStartError(f"the Triton backend {ONNX_BACKEND!r} is not in {folder}; install earwitness again")


def trace_options(endpoint: str) -> list[str]:
    """Options of a Triton that sends the collector at `endpoint` traces of calls with a `traceparent`, of no others."""
    return [
        "--trace-config=mode=opentelemetry",
        f"--trace-config=opentelemetry,url={endpoint.rstrip('/')}/v1/traces",
        "--trace-config=opentelemetry,resource=service.name=earwitness-triton",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=0",
    ]


class TritonServer:
    """A Triton server on this machine, serving one model repository; an asynchronous context manager.

    At each start it is shown the models that can be used, as links; those that it cannot load all the same it does
    without, and a warning names them.

    A port of 0 is replaced by a free one at the start. There is no HTTP: nothing here needs it. `options` are more of
    Triton's own; where they turn TLS on, it is asked with `credentials` whether it is ready.
    """

    def __init__(
        self,
        install: TritonInstall,
        model_repository: Path,
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        metrics_port: int = 0,
        options: Sequence[str] = (),
        credentials: grpc.ChannelCredentials | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.host = host
        self.grpc_port = grpc_port
        self.metrics_port = metrics_port
        self._install = install
        self._repository = self._shown = model_repository.resolve()
        self._options = tuple(options)
        self._credentials = credentials
        self._log_file = log_file
        self._region_prefix = f"earwitness_{uuid.uuid4().hex[:12]}_"
        self._scratch: Path | None = None
        self._managed: ManagedProcess | None = None
        self._watcher: asyncio.Task[int] | None = None
        self._stubs: dict[int, int] = {}
        """Process id of each stub by its pidfd."""
        self._stopping = False

    @property
    def grpc_url(self) -> str:
        """host:port for `TritonBackend`."""
        return f"{_bracketed(self.host)}:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes the server."""
        return f"http://{_bracketed(self.host)}:{self.metrics_port}/metrics"

    @property
    def pid(self) -> int | None:
        """Process id of the server, which leads a process group of its own; None when it does not run."""
        return None if self._managed is None or not self._managed.is_running else self._managed.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server and wait until its models are ready, those that can be loaded.

        After a stop or a crash it may be started again, on the same ports.

        Raises: TritonStartError.
        """
        if self.pid is not None:
            raise TritonStartError(f"this Triton server runs already, process {self.pid}")
        try:
            await self._start()
        except TritonStartError as err:
            if LOCK_GIVEN_UP not in err.message:
                raise
            logger.warning("Triton gave up a lock while it started, as on a machine that has far too much to do; again")
            await self._start()

    async def _start(self) -> None:
        await self.stop()  # clears away what a crash left
        self._stopping = False
        self._choose_ports()
        self._scratch = Path(tempfile.mkdtemp(prefix="earwitness-triton-"))
        log_file = self._log_file or self._scratch / "triton.log"
        try:
            self._shown = self._scratch / "models"
            link_models(self._repository, self._shown)
            command = self._command(_assemble_backends(self._install, self._scratch))
            self._managed = await ManagedProcess.start(command, log_file, env=self._environment())
            self._watcher = asyncio.create_task(self._watch(self._managed))
            await self._wait_ready(self._watcher)
            self._watch_stubs(self._managed.pid)
        except BaseException as err:
            complaints = _complaints(log_file).replace(str(self._shown), str(self._repository))
            await self.stop()
            if isinstance(err, RepositoryError):
                raise TritonStartError(err.message) from err
            if isinstance(err, TritonStartError):
                raise TritonStartError(f"{err.message}\n{complaints}") from err
            raise

    async def wait(self) -> int:
        """Wait until the server has ended, by `stop` or by itself; its exit status, negative for a signal.

        A server whose model process dies is ended, for it would fail every request: start it again.
        """
        if self._watcher is None:
            raise TritonStartError("the Triton server was not started")
        return await asyncio.shield(self._watcher)

    async def stop(self) -> None:
        """End the server and everything it started: SIGTERM, and SIGKILL after the grace time."""
        self._stopping = True
        if self._managed is not None and self._watcher is not None:
            if await self._managed.stop(STOP_GRACE_S):
                logger.warning("Triton did not stop within %g s and was killed", STOP_GRACE_S)
            await self._watcher
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    async def _watch(self, process: ManagedProcess) -> int:
        status = await process.ended
        for handle in self._stubs:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)
        self._stubs.clear()
        with suppress(ProcessLookupError):  # a crashed server leaves its stubs behind
            os.killpg(process.pid, signal.SIGKILL)
        for region in SHARED_MEMORY.glob(f"{self._region_prefix}*"):
            region.unlink(missing_ok=True)
        if not self._stopping:
            logger.error("Triton ended by itself with status %d", status)
        return status

    def _watch_stubs(self, server: int) -> None:
        """Triton calls a model ready whose stub has died, and never starts the stub again."""
        for stub in process_group(server) - {server}:
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(stub)
                self._stubs[handle] = stub
                asyncio.get_running_loop().add_reader(handle, self._stub_ended, handle, server)

    def _stub_ended(self, ended: int, server: int) -> None:
        """Ends the server, whose end ends the other stubs: only the first is worth reporting."""
        for handle in self._stubs:
            asyncio.get_running_loop().remove_reader(handle)
        if not self._stopping and self.pid is not None:
            logger.error("a model's process (%d) has ended, so Triton is ended too", self._stubs[ended])
            # Process.kill() would first look whether it has ended, and so take its status away from who waits for it.
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)

    async def _wait_ready(self, ended: "asyncio.Task[int]") -> None:
        url, credentials, options = self.grpc_url, self._credentials, proxy_options(self.grpc_url)
        async with (
            grpc.aio.secure_channel(url, credentials, options)
            if credentials
            else grpc.aio.insecure_channel(url, options) as channel
        ):
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    while not ended.done():
                        with suppress(grpc.aio.AioRpcError):
                            answer = await stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=1.0)
                            if answer.ready:
                                await self._require_models(stub)
                                return
                        await asyncio.wait([ended], timeout=POLL_S)
            except TimeoutError as err:
                raise TritonStartError(f"Triton was not ready within {START_TIMEOUT_S:g} s") from err
        raise TritonStartError(f"Triton ended with status {ended.result()} before it was ready")

    async def _require_models(self, stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
        """Raises: TritonStartError when none was loaded."""
        index = await stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=1.0)
        failed = {model.name: model.reason.partition("\n")[0] for model in index.models if model.state != "READY"}
        if len(failed) == len(index.models):
            raise TritonStartError("Triton could load none of the models")
        for name, reason in failed.items():
            logger.warning("Triton continues without model %s, which it could not load: %s", name, reason)

    def _choose_ports(self) -> None:
        with ExitStack() as probes:  # all held at once, so that no port is chosen twice
            self.grpc_port = _bindable(self.host, self.grpc_port, probes)
            self.metrics_port = _bindable(self.host, self.metrics_port, probes)

    def _command(self, backends: Path) -> list[str]:
        return [
            str(self._install.server),
            f"--model-repository={self._shown}",
            f"--backend-directory={backends}",
            "--model-control-mode=none",
            "--disable-auto-complete-config",
            "--strict-readiness=false",
            "--exit-on-error=false",
            f"--exit-timeout-secs={STOP_GRACE_S - 2}",
            f"--grpc-address={_bracketed(self.host)}",
            f"--grpc-port={self.grpc_port}",
            "--allow-http=false",
            f"--metrics-address={_for_http(self.host)}",
            f"--metrics-port={self.metrics_port}",
            f"--backend-config=python,shm-region-prefix-name={self._region_prefix}",
            f"--backend-config=python,shm-default-byte-size={SHM_FIRST_BYTES}",
            f"--backend-config=python,shm-growth-byte-size={SHM_GROWTH_BYTES}",
            *self._options,
        ]

    def _environment(self) -> dict[str, str]:
        """What the stubs need to find this interpreter and its library; no proxy for traces that stay here."""
        no_proxy = os.environ.get("no_proxy", os.environ.get("NO_PROXY"))
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "LD_LIBRARY_PATH": library_path(),
            "OPENBLAS_NUM_THREADS": "1",  # numpy only copies there
            "no_proxy": f"{no_proxy},{LOOPBACK}" if no_proxy else LOOPBACK,
        }


def _assemble_backends(install: TritonInstall, scratch: Path) -> Path:
    """A backend folder: the wheel's python backend beside our own.

    Ours is copied, so that no bytecode lands in its source, and given links to the packages that it imports: the stub's
    interpreter knows its own site-packages and the backend's folder, and passes over PYTHONPATH.
    """
    backends = scratch / "backends"
    shutil.copytree(backend_source(), backends, ignore=shutil.ignore_patterns("__pycache__"))
    (backends / "python").symlink_to(install.python_backend)
    for module in STUB_MODULES:
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise TritonStartError(f"Triton's python backend needs the package {module!r}; install it in {sys.prefix}")
        (backends / ONNX_BACKEND / module).symlink_to(next(iter(spec.submodule_search_locations)))
    return backends


def _bracketed(host: str) -> str:
    """The host as URLs and gRPC addresses have it."""
    return f"[{host}]" if ":" in host else host


def _for_http(host: str) -> str:
    """The host as the HTTP library in Triton wants it."""
    return f"ipv6:{host}" if ":" in host else host


def _bindable(host: str, port: int, probes: ExitStack) -> int:
    """`port`, or a free one where it is 0; bound until `probes` are closed."""
    probe = probes.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
    except OSError as err:
        raise TritonStartError(
            f"{_bracketed(host)}:{port} cannot be used ({err.strerror}); choose another port"
        ) from err
    return int(probe.getsockname()[1])


def process_group(leader: int) -> set[int]:
    """Process ids of the group."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended since it was listed
            group = stat.read_text().rpartition(")")[2].split()[2]
            if int(group) == leader:
                found.add(int(stat.parent.name))
    return found


def _complaints(log_file: Path) -> str:
    """The last lines of the log that are neither tables nor of level I(nformation)."""
    lines = log_file.read_text(errors="replace").splitlines() if log_file.exists() else []
    telling = [line for line in lines if line and not re.match(r"[+|]|I\d{4} ", line)]
    return "\n".join(telling[-LOG_TAIL_LINES:])
