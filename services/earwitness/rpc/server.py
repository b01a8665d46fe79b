"""`RpcServer`: a grpc.aio server with health, reflection, metrics, tokens, TLS, limits and a drained end."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from earwitness import tracing
from earwitness.rpc.admission import AdmissionInterceptor, WatchLimitInterceptor
from earwitness.rpc.auth import AuthInterceptor, Credentials, StaticTokens
from earwitness.rpc.caller_limits import CallerLimitInterceptor
from earwitness.rpc.connections import Connections
from earwitness.rpc.context import RequestInterceptor
from earwitness.rpc.errors import ErrorInterceptor
from earwitness.rpc.health import Health, Healthy
from earwitness.rpc.inbox import Inbox
from earwitness.rpc.logs import leave_out_late_answers
from earwitness.rpc.messages import MessagesInterceptor, ReceivingInterceptor
from earwitness.rpc.metrics import MetricsInterceptor
from earwitness.rpc.reflection import enable_reflection
from earwitness.rpc.roles import ROLES
from earwitness.rpc.scrape import MetricsServer
from earwitness.rpc.settings import ServerSettings
from earwitness.rpc.tracing import Exporter, TracingInterceptor
from earwitness.rpc.transport import CannotListen, listen, options, transport

Register = Callable[[grpc.aio.Server], None]
Hook = Callable[[], Awaitable[None]]

DRAINERS_S = 10.0
"""What work that would last for ever gets to end: a database that hangs must not keep a server from its own end."""
UNWIND_S = 1.0
"""What cancelled calls get for their clean-up before the resources they use are closed."""
_logger = logging.getLogger(__name__)


class RpcServer:
    """Serves what was added between `start` and `stop`; also an async context manager. Starts once."""

    def __init__(self, settings: ServerSettings, registry: CollectorRegistry) -> None:
        """Nothing is opened before `start`; `registry` is this server's own, the services may add their metrics."""
        self.settings = settings
        self.registry = registry
        self.port = 0
        """Port of the gRPC server, once started."""
        self.metrics_port: int | None = None
        """Port of the metrics, once started; None when they are off."""
        self.health_port: int | None = None
        """Port of health alone, once started; None when it is off."""
        self._services: dict[str, tuple[Register, Healthy]] = {}
        self._starters: list[Hook] = []
        self._drainers: list[Hook] = []
        self._closers: list[Hook] = []
        self._admission = AdmissionInterceptor(settings.max_concurrent_rpcs)
        self._connections = Connections(settings.max_connections, settings.peer_connections, registry)
        self._errors = ErrorInterceptor(registry, self._connections.refuse)
        self._inbox = Inbox(settings.first_message_s, settings.caller_slow_messages, settings.max_slow_messages)
        self._server: grpc.aio.Server | None = None
        self._health_server: grpc.aio.Server | None = None
        self._health: Health | None = None
        self._metrics: MetricsServer | None = None
        self._exporter: Exporter | None = None

    def add(self, service_name: str, register: Register, healthy: Healthy) -> None:
        """Serve a service, given by its full name; before `start`. `healthy` is asked every second and may raise."""
        self._services[service_name] = (register, healthy)

    def on_start(self, begin: Hook) -> None:
        """Await `begin` once the server listens."""
        self._starters.append(begin)

    def on_drain(self, end: Hook) -> None:
        """Await `end` when the server begins to stop: the place to end work and streams that would last for ever.

        All of them together have `DRAINERS_S`.
        """
        self._drainers.append(end)

    def on_stop(self, close: Hook) -> None:
        """Await `close` after the last call is over; the last one added is closed first."""
        self._closers.append(close)

    async def start(self) -> int:
        """Listen; returns the port. Every health status is true by then.

        Raises: CannotListen; FailedPrecondition for a token file without tokens, or traces without their packages;
        OSError for a file not readable.
        """
        settings = self.settings
        leave_out_late_answers()
        if settings.trace_endpoint:
            self._exporter = Exporter(settings.trace_endpoint, settings.trace_service)
        self._health = Health({name: healthy for name, (_, healthy) in self._services.items()})
        self._server = grpc.aio.server(interceptors=self._interceptors(), options=options(settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for register, _ in self._services.values():
            register(self._server)
        if settings.reflection:
            names = [*self._services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
            enable_reflection(names, self._server)
        self.port = listen(self._server, settings.host, settings.port, transport(settings))
        if settings.metrics_port is not None:
            try:
                self._metrics = MetricsServer(settings.host, settings.metrics_port, self.registry)
            except OSError as err:
                where = f"{settings.host}:{settings.metrics_port}"
                raise CannotListen(f"metrics cannot listen on {where} ({err}); choose another metrics_port") from err
            self.metrics_port = self._metrics.port
        if settings.health_port is not None:
            self._health_server = grpc.aio.server(interceptors=self._health_interceptors(), options=options(settings))
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._health_server)
            self.health_port = listen(self._health_server, settings.host, settings.health_port, None)
        await self._health.start()
        await self._server.start()
        if self._health_server is not None:
            await self._health_server.start()
        self._connections.start([port for port in (self.port, self.health_port) if port is not None])
        with tracing.tracing_with(self._exporter.tracer if self._exporter else None):
            for begin in self._starters:
                await begin()
        _logger.info("listening on %s:%d, metrics port %s", settings.host, self.port, self.metrics_port)
        return self.port

    async def run_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and stop; a second signal ends the calls in flight at once."""
        loop = asyncio.get_running_loop()
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.put_nowait, number)
        try:
            _logger.info("%s: draining", (await signals.get()).name)
            stopping = asyncio.create_task(self.stop(notice_s=self.settings.drain_notice_s))
            again = asyncio.create_task(signals.get())
            await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
            if not again.cancel() and self._server is not None:
                await self._server.stop(None)
            await stopping
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def stop(self, *, notice_s: float = 0.0, drain_s: float | None = None) -> None:
        """Say NOT_SERVING, take no new calls after `notice_s`, give those in flight `drain_s`, close.

        `drain_s` is the setting's unless given. May be called at any time and again.
        """
        if self._health is not None:
            await self._health.drain()
        await self._run_drainers()
        if self._server is not None:
            await asyncio.sleep(notice_s)
            await self._server.stop(self.settings.drain_s if drain_s is None else drain_s)
            await self._unwind()
        await self._run_all(self._closers)
        if self._health_server is not None:
            await self._health_server.stop(None)
        await self._connections.stop()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
            self._metrics = None
        if self._exporter is not None:
            await self._exporter.close()
            self._exporter = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _run_drainers(self) -> None:
        draining = asyncio.create_task(self._run_all(self._drainers))
        await asyncio.wait({draining}, timeout=DRAINERS_S)
        if draining.cancel():
            _logger.warning("background work did not end within %g s", DRAINERS_S)

    async def _run_all(self, hooks: list[Hook]) -> None:
        while hooks:
            try:
                await hooks.pop()()
            except Exception:
                _logger.exception("a resource could not be closed")

    async def _unwind(self) -> None:
        try:
            async with asyncio.timeout(UNWIND_S):
                await self._admission.idle()
        except TimeoutError:
            _logger.warning("cancelled calls did not end within %g s", UNWIND_S)

    def _interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """Outermost first. What refuses calls is inside of errors, which sends what it raises; all of it comes before
        the call's message is read."""
        settings = self.settings
        return [
            MessagesInterceptor(self._inbox, self._connections.is_gone),
            *([TracingInterceptor(self._exporter)] if self._exporter else []),
            RequestInterceptor(),
            MetricsInterceptor(self.registry),
            self._errors,
            AuthInterceptor(_credentials(settings), ROLES, self._connections.meet),
            CallerLimitInterceptor(settings.caller_rpcs_per_s, settings.caller_burst_rpcs, settings.caller_share_rpcs),
            self._admission,
            WatchLimitInterceptor(settings.max_watches, settings.peer_watches, self._connections.is_known),
            ReceivingInterceptor(),
        ]

    def _health_interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """Those of the port for health alone, outermost first."""
        settings = self.settings
        return [
            MessagesInterceptor(self._inbox, self._connections.is_gone),
            RequestInterceptor(),
            self._errors,
            WatchLimitInterceptor(settings.max_watches, settings.peer_watches, self._connections.is_known),
            ReceivingInterceptor(),
        ]


def _credentials(settings: ServerSettings) -> list[Credentials]:
    """The kinds of bearer tokens that are accepted; none if every caller is admitted."""
    found: list[Credentials] = []
    if settings.token_file is not None:
        found.append(StaticTokens(settings.token_file))
    if settings.jwt_jwks_file is not None:
        from earwitness.rpc.jwt import JsonWebTokens  # cryptography takes 10 MB that most servers do not need

        found.append(
            JsonWebTokens(
                settings.jwt_jwks_file,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                role_claim=settings.jwt_role_claim,
            )
        )
    return found
