"""The whole stack on one machine: Triton, scorer and explainer as child processes, started, watched and stopped."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from earwitness.cli.connection import STATE_FILE, Endpoints, hold
from earwitness.cli.restarts import Restarts
from earwitness.errors import EarwitnessError
from earwitness.processes import ManagedProcess, last_lines

if TYPE_CHECKING:
    from earwitness.client import Tls
    from earwitness.client.service import ServiceClient
    from earwitness.inference.metadata import BundleMetadata
    from earwitness.inference.tritonserver import TritonServer

Backend = Literal["triton", "local"]
Say = Callable[[str], None]
Fetching = Callable[[float], None]

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 15.0
"""Longer than the services' own drain."""
POLL_S = 0.05
LOG_TAIL_LINES = 5
SERVICE_PREFIXES = ("EARWITNESS_EXPLAINER_", "EARWITNESS_SCORER_")


class StackError(EarwitnessError):
    """The stack cannot start, or a part of it ended."""

    code = "FAILED_PRECONDITION"
    reason = "STACK_FAILED"


@dataclass(frozen=True)
class Ports:
    """Ports on the host; 0 takes a free one."""

    explainer: int = 50051
    scorer: int = 50052
    triton: int = 8001
    explainer_metrics: int = 9101
    scorer_metrics: int = 9102
    triton_metrics: int = 8002


FREE_PORTS = Ports(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class StackSettings:
    """What to run. `backend` None is Triton if it can run here, else in process; Triton is fetched into `cache`.
    Nothing of that is started where a Triton runs at `triton_url` already.

    `trace_endpoint` is the address of a collector that all of it sends traces to.

    The services read every other setting from their environment variables; with `inherit` false they get the defaults.
    A part that ends by itself is started again, up to `restarts` times in ten minutes.
    """

    model_repository: Path
    data: Path
    backend: Backend | None = None
    cache: Path | None = None
    host: str = "127.0.0.1"
    ports: Ports = Ports()
    tls: "Tls | None" = None
    trace_endpoint: str = ""
    inherit: bool = True
    restarts: int = 0
    triton_url: str | None = None


class Stack:
    """An asynchronous context manager: inside of it every service is healthy.

    `say` receives messages, `fetching` the fraction (0 to 1) of Triton's download. Logs are in `data/logs`.

    Raises: StackError when a port is taken, there is nothing to serve, or a service does not become healthy.
    """

    def __init__(
        self, settings: StackSettings, *, say: Say = lambda words: None, fetching: Fetching = lambda share: None
    ) -> None:
        self.settings = settings
        self._say = say
        self._fetching = fetching
        self._exit = AsyncExitStack()
        self._ended: dict[str, asyncio.Task[int]] = {}
        self._start_again: dict[str, Callable[[], Awaitable[int]]] = {}
        """What starts each part once more, and gives its process id."""
        self._restarts = Restarts(settings.restarts)
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is, once started."""
        assert self._endpoints is not None, "the stack has not started"
        return self._endpoints

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            starting.push_async_exit(self._exit)
            await self._start()
            starting.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def watch(self) -> None:
        """Return never; start what ends by itself again, on the same ports, and raise when that is no help.

        Raises: StackError naming it, with the end of its log.
        """
        while True:
            done, _ = await asyncio.wait(self._ended.values(), return_when=asyncio.FIRST_COMPLETED)
            name = next(name for name, task in self._ended.items() if task in done)
            await self._revive(name)

    async def _revive(self, name: str) -> None:
        """Raises: StackError when the part has ended too often."""
        again = self._restarts.next(name, asyncio.get_running_loop().time())
        if again is None:
            most = self.settings.restarts
            tried = f"; new starts ({most} in ten minutes) were no help" if most else ""
            raise StackError(self._obituary(name) + tried)
        number, pause_s = again
        how = f"new start {number} of {self.settings.restarts} in {pause_s:g} s"
        self._note(f"{self._obituary(name)}; {how}")
        await asyncio.sleep(pause_s)
        log_file = self._log_file(name)
        if log_file.is_file():
            log_file.replace(log_file.with_suffix(".log.1"))
        try:
            process_id = await self._start_again[name]()
        except EarwitnessError as err:  # Triton, that was not ready: counted as one more end
            self._note(f"the {name} does not start: {err.message}")
            return
        self._endpoints = replace(self.endpoints, process_ids={**self.endpoints.process_ids, name: process_id})
        self._endpoints.write(self.settings.data)
        self._note(f"the {name} runs again, as process {process_id}")

    def _note(self, words: str) -> None:
        """Say it, and keep it in a log: whoever comes later finds other processes than were started."""
        self._say(words)
        with self._log_file("up").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {words}\n")

    async def _start(self) -> None:
        settings = self.settings
        if settings.triton_url is None:
            check_repository(settings.model_repository)
        else:
            await _require_bundle(settings.triton_url)
        settings.data.mkdir(parents=True, exist_ok=True)
        try:
            self._exit.enter_context(hold(settings.data))
        except BlockingIOError:
            raise StackError(f"a stack runs already with {settings.data}; stop it, or choose another --data") from None
        (settings.data / STATE_FILE).unlink(missing_ok=True)
        elsewhere = settings.backend == "local" or settings.triton_url is not None
        ports = choose_ports(settings.host, settings.ports, "local" if elsewhere else settings.backend)
        for log_file in self._log_file("*").parent.glob("*.log"):  # what ended an earlier run is asked for after it
            log_file.replace(log_file.with_suffix(".log.1"))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        triton = None if elsewhere else await self._start_triton(ports)
        triton_url = settings.triton_url if triton is None else triton.grpc_url
        metrics = {
            name: f"http://{host}:{getattr(ports, f'{name}_metrics')}/metrics" for name in ("explainer", "scorer")
        }
        if triton is not None:
            metrics["triton"] = triton.metrics_url
        environment = {"HOST": settings.host, "LOG_FORMAT": "text"}
        if settings.trace_endpoint:
            environment["TRACE_ENDPOINT"] = settings.trace_endpoint
        scorer_id = await self._spawn(
            "scorer",
            {**environment, "PORT": ports.scorer, "METRICS_PORT": ports.scorer_metrics, "DATA_DIR": settings.data},
        )
        explainer_id = await self._spawn(
            "explainer",
            {
                **environment,
                "PORT": ports.explainer,
                "METRICS_PORT": ports.explainer_metrics,
                "MODEL_REPOSITORY": settings.model_repository,
                "BACKEND": "local" if triton_url is None else "triton",
                "DATA_DIR": settings.data,
                "SCORER_ADDRESS": f"{host}:{ports.scorer}",
                **self._scorer_authority(),
                **({} if triton_url is None else {"TRITON_URL": triton_url}),
            },
        )
        process_ids = {"earwitness": os.getpid(), "scorer": scorer_id, "explainer": explainer_id}
        if triton is not None and triton.pid is not None:
            process_ids["triton"] = triton.pid
        self._endpoints = Endpoints(
            backend="local" if triton_url is None else "triton",
            model_repository=str(settings.model_repository) if settings.triton_url is None else "",
            explainer=f"{host}:{ports.explainer}",
            scorer=f"{host}:{ports.scorer}",
            triton=triton_url,
            metrics=metrics,
            process_ids=process_ids,
        )
        await self._wait_healthy()
        self._endpoints.write(settings.data)
        self._exit.callback((settings.data / STATE_FILE).unlink, missing_ok=True)

    async def _start_triton(self, ports: Ports) -> "TritonServer | None":
        """The running server, or None where it cannot run and `backend` leaves the choice."""
        from earwitness.inference.triton_install import TritonInstallError, fetch_tritonserver, missing_requirements
        from earwitness.inference.tritonserver import TritonServer, TritonStartError, trace_options

        settings = self.settings
        try:
            install = await asyncio.to_thread(fetch_tritonserver, settings.cache, self._fetching)
            problems = await asyncio.to_thread(missing_requirements, install)
            if problems:
                raise TritonInstallError("; ".join(problems))
        except TritonInstallError as err:
            if settings.backend == "triton":
                raise
            self._say(f"Triton cannot run here, models run in process instead: {err.message}")
            return None
        self._say("starting Triton")
        server = TritonServer(
            install,
            settings.model_repository,
            host=settings.host,
            grpc_port=ports.triton,
            metrics_port=ports.triton_metrics,
            options=trace_options(settings.trace_endpoint) if settings.trace_endpoint else (),
            log_file=self._log_file("triton"),
        )
        try:
            await self._exit.enter_async_context(server)
            await _require_bundle(server.grpc_url)
        except TritonStartError as err:
            await server.stop()
            if settings.backend == "triton":
                raise
            self._say(f"Triton does not start here, models run in process instead: {err.message}")
            return None
        self._ended["triton"] = asyncio.create_task(server.wait())
        self._start_again["triton"] = partial(self._restart_triton, server)
        return server

    async def _restart_triton(self, server: "TritonServer") -> int:
        """Its process id. Raises: TritonStartError."""
        self._say("starting Triton")
        await server.start()
        assert server.pid is not None, "it is ready"
        self._ended["triton"] = asyncio.create_task(server.wait())
        return server.pid

    async def _spawn(self, service: str, settings: dict[str, object]) -> int:
        """Start `python -m earwitness.<service>`; its process id. Its end is in `_ended`, its stop in `_exit`."""
        self._say(f"starting the {service}")
        prefix = f"EARWITNESS_{service.upper()}_"
        managed = await ManagedProcess.start(
            (sys.executable, "-m", f"earwitness.{service}"),
            self._log_file(service),
            env={**self._environment(), **{f"{prefix}{key}": str(value) for key, value in settings.items()}},
        )
        self._ended[service] = managed.ended
        self._start_again[service] = partial(self._spawn, service, settings)
        self._exit.push_async_callback(managed.stop, STOP_GRACE_S)
        return managed.pid

    def _scorer_authority(self) -> dict[str, object]:
        """Whom the explainer trusts when it asks the scorer: as our own clients do."""
        tls = self.settings.tls
        return {"SCORER_TLS_CA": tls.certificate_authority} if tls and tls.certificate_authority else {}

    def _environment(self) -> dict[str, str]:
        if self.settings.inherit:
            return dict(os.environ)
        return {key: value for key, value in os.environ.items() if not key.startswith(SERVICE_PREFIXES)}

    async def _wait_healthy(self) -> None:
        from earwitness.client import ExplainerClient, ScorerClient

        endpoints, tls = self.endpoints, self.settings.tls
        clients: dict[str, ServiceClient] = {
            "scorer": ScorerClient(endpoints.scorer, tls=tls),
            "explainer": ExplainerClient(endpoints.explainer, tls=tls),
        }
        async with AsyncExitStack() as closing:
            for client in clients.values():
                await closing.enter_async_context(client)
            waiting = dict(clients)
            deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
            while waiting:
                for name, client in list(waiting.items()):
                    if await client.serving(timeout_s=1.0):
                        del waiting[name]
                for name, task in self._ended.items():
                    if task.done():
                        raise StackError(self._obituary(name))
                if waiting and asyncio.get_running_loop().time() > deadline:
                    raise StackError(
                        f"{' and '.join(waiting)} did not become healthy within {START_TIMEOUT_S:g} s; "
                        f"see the logs in {self._log_file('*').parent}"
                    )
                await asyncio.sleep(POLL_S)

    def _obituary(self, name: str) -> str:
        log_file = self._log_file(name)
        tail = last_lines(log_file, LOG_TAIL_LINES)
        end = f"; its log ends: {tail}" if tail else ""
        return f"the {name} ended with status {self._ended[name].result()} (log: {log_file}){end}"

    def _log_file(self, name: str) -> Path:
        return self.settings.data / "logs" / f"{name}.log"


def check_repository(folder: Path) -> "Sequence[BundleMetadata]":
    """The models that can be explained, sorted by name; there is one at least. What cannot be served is warned of.

    Raises: RepositoryError for a folder that cannot be read; StackError when it holds no complete, undamaged model.
    """
    from earwitness.inference.integrity import take_inventory

    inventory = take_inventory(folder)
    if not inventory.bundles:
        raise StackError(
            f"{folder} holds no model that can be explained (generator, classifier and search); "
            f"`earwitness export` writes one, --model-repository chooses another folder{_reasons(inventory.left_out)}"
        )
    return inventory.bundles


async def _require_bundle(url: str) -> None:
    """Raises: TritonStartError when the Triton has all models of no bundle; InferenceUnavailable."""
    from earwitness.inference.triton import TritonBackend
    from earwitness.inference.tritonserver import TritonStartError

    backend = TritonBackend(url)
    try:
        if not await backend.bundles():
            raise TritonStartError(f"Triton can run no model{_reasons(await backend.left_out())}")
    finally:
        await backend.close()


def _reasons(left_out: Mapping[str, str]) -> str:
    return "".join(f"; models/{name} cannot be used: {why}" for name, why in left_out.items())


def choose_ports(host: str, ports: Ports, backend: Backend | None) -> Ports:
    """`ports` with free ones in place of 0.

    Raises: StackError naming the first port that is taken.
    """
    names = [name for name in vars(ports) if backend != "local" or not name.startswith("triton")]
    chosen = {}
    with ExitStack() as probes:  # all held at once, so that none is chosen twice
        for name in names:
            port: int = getattr(ports, name)
            probe = probes.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen()  # or two of ours could have the same one
            except OSError as err:
                option = f"--{name.replace('_', '-')}-port"
                raise StackError(
                    f"port {port} ({name.replace('_', ' ')}) on {host} cannot be used: {err.strerror}; "
                    f"stop what holds it, or choose another with {option}"
                ) from err
            chosen[name] = int(probe.getsockname()[1])
    return replace(ports, **chosen)
