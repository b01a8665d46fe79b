"""A service with a method of every kind, whose behaviour each test chooses, behind a real server and channel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from earwitness.rpc.server import RpcServer
from earwitness.rpc.settings import ServerSettings

SERVICE = "probe.v1.ProbeService"
PATIENCE_S = 60.0
"""What an answer may take on a machine that has much else to do; milliseconds on one that has not."""
KINDS = ("Unary", "ServerStream", "ClientStream", "BidiStream")
Action = Callable[[str], Awaitable[str]]
Trailers = Sequence[tuple[str, Any]]


async def echo(text: str) -> str:
    return text


class Probe:
    """Answers with what `action` makes of the request's text; streaming methods answer "first" before they call it."""

    def __init__(self) -> None:
        self.action: Action = echo
        self.context: Any = None
        self.healthy = True

    async def is_healthy(self) -> bool:
        return self.healthy

    async def unary(self, request: StringValue, context: Any) -> StringValue:
        self.context = context
        return StringValue(value=await self.action(request.value))

    async def server_stream(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        yield StringValue(value="first")
        yield StringValue(value=await self.action(request.value))

    async def client_stream(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        return StringValue(value=await self.action(",".join([each.value async for each in requests])))

    async def bidi_stream(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        yield StringValue(value="first")
        async for each in requests:
            yield StringValue(value=await self.action(each.value))

    async def written_stream(self, request: StringValue, context: Any) -> None:
        """A server stream by grpc's other interface: messages are written to the context."""
        await context.write(StringValue(value="first"))
        await context.write(StringValue(value=await self.action(request.value)))

    def register(self, server: grpc.aio.Server) -> None:
        codec = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary, **codec),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self.server_stream, **codec),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self.client_stream, **codec),
            "BidiStream": grpc.stream_stream_rpc_method_handler(self.bidi_stream, **codec),
            "WrittenStream": grpc.unary_stream_rpc_method_handler(self.written_stream, **codec),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))


@dataclass(frozen=True)
class Running:
    """A started server and a channel to it."""

    server: RpcServer
    probe: Probe
    channel: grpc.aio.Channel

    async def call(
        self, kind: str, *texts: str, metadata: Trailers = (), timeout_s: float | None = PATIENCE_S
    ) -> tuple[list[str], Trailers]:
        """The texts answered and the trailing metadata. Raises: grpc.aio.AioRpcError."""
        answers: list[str] = []
        written = texts if kind == "BidiStream" else ()
        call = self.open(kind, *(() if written else texts), metadata=metadata, timeout_s=timeout_s)
        # grpc's own loop over requests makes INTERNAL of a refusal that arrives while it writes.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for text in written:
                await call.write(StringValue(value=text))
            if written:
                await call.done_writing()
        if kind in ("Unary", "ClientStream"):
            answers.append((await call).value)
        else:
            async for answer in call:
                answers.append(answer.value)
        return answers, tuple(await call.trailing_metadata())

    def open(self, kind: str, *texts: str, metadata: Trailers = (), timeout_s: float | None = PATIENCE_S) -> Any:
        """The call, begun."""
        channel = self.channel
        make = {
            "Unary": channel.unary_unary, "ServerStream": channel.unary_stream, "WrittenStream": channel.unary_stream,
            "ClientStream": channel.stream_unary, "BidiStream": channel.stream_stream,
        }.get(kind, channel.unary_stream)  # fmt: skip
        method = make(f"/{SERVICE}/{kind}", StringValue.SerializeToString, StringValue.FromString)
        requests = [StringValue(value=text) for text in texts]
        streamed = iter(requests) if requests else None
        request: Any = streamed if kind in ("ClientStream", "BidiStream") else requests[0]
        return method(request, metadata=tuple(metadata), timeout=timeout_s)

    async def health(self, service: str = SERVICE) -> str:
        """Name of the status that the health service gives."""
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=PATIENCE_S)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def statuses(self, service: str = SERVICE) -> AsyncIterator[str]:
        """What the health service tells a watcher: the status now, and every change."""
        call = health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(service=service))
        async for answer in call:
            yield str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@asynccontextmanager
async def running(
    *, credentials: grpc.ChannelCredentials | None = None, authority: str | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """A server with the settings given on a free port."""
    probe = Probe()
    server = RpcServer(ServerSettings(**{"drain_s": 2.0, **settings}), CollectorRegistry())
    server.add(SERVICE, probe.register, probe.is_healthy)
    async with server:
        target = f"127.0.0.1:{server.port}"
        options = [("grpc.ssl_target_name_override", authority)] if authority else []
        channel = (
            grpc.aio.secure_channel(target, credentials, options=options)
            if credentials
            else grpc.aio.insecure_channel(target)
        )
        async with channel:
            yield Running(server, probe, channel)
