"""What the clients share: one channel, the caller's token, deadlines, and failures as `RpcFailure`."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness import tracing
from earwitness.client.channel import Tls, open_channel
from earwitness.client.errors import failures
from earwitness.rpc.context import TIME_KEY, VERSION_KEY

DEFAULT_TIMEOUT_S = 30.0
"""Deadline of calls that answer at once."""


@dataclass(frozen=True)
class Server:
    """What a server says of itself; `clock_ahead_s` is its clock's lead over ours, exact to half the `round_trip_s`."""

    version: str
    clock_ahead_s: float
    round_trip_s: float


class ServiceClient:
    """A channel to one service; an async context manager. Subclasses say which service and what may be retried."""

    service: str
    idempotent_methods: tuple[str, ...]
    list_method: str
    """One that takes an empty request and does next to nothing."""

    def __init__(self, target: str, *, token: str | None = None, tls: Tls | None = None) -> None:
        """Opens no connection yet; `target` is `host:port`.

        Raises: InvalidArgument when the target has no port, or a certificate cannot be read.
        """
        self.target = target
        self._channel = open_channel(target, tls=tls, service=self.service, idempotent_methods=self.idempotent_methods)
        self._credentials = (("authorization", f"Bearer {token}"),) if token else ()

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Of each call: our token, and the trace that the caller is in where it traces with OpenTelemetry."""
        return (*self._credentials, *tracing.headers())

    async def serving(self, *, timeout_s: float = 5.0) -> bool:
        """True when the service says SERVING on the standard health service; never raises for one that is down."""
        request = health_pb2.HealthCheckRequest(service=self.service)
        try:
            answer = await health_pb2_grpc.HealthStub(self._channel).Check(request, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def server(self, *, timeout_s: float = 5.0) -> Server:
        """What is at the other end, by a call with our credentials that costs it next to nothing.

        Raises: RpcFailure.
        """
        with failures(self.target):
            begun = time.time()
            # An empty request asks for a list's first page.
            listing: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
                f"/{self.service}/{self.list_method}"
            )
            call = listing(b"", timeout=timeout_s, metadata=self._metadata)
            await call
            over = time.time()
            said = dict(await call.trailing_metadata() or ())
        now = float(said.get(TIME_KEY, (begun + over) / 2))
        return Server(str(said.get(VERSION_KEY, "")), now - (begun + over) / 2, over - begun)

    async def close(self) -> None:
        """Close the channel; calls in flight are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
