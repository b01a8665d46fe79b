"""`CallInterceptor`: one coroutine around every call, the same for unary and streaming ones."""

import inspect
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import grpc
import grpc.aio

from earwitness.errors import EarwitnessError

ServicerContext = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, ServicerContext], Awaitable[Any]]
"""Takes the request (or the iterator of a request stream) and the context; returns the response, None for a stream."""
Proceed = Callable[[], Awaitable[Any]]
Codec = Callable[[Any], Any]

HEALTH_PREFIX = "/grpc.health.v1.Health/"
WAITING_METHODS = frozenset(
    {"/earwitness.explainer.v1.ExplainerService/WatchSweep", "/google.longrunning.Operations/WaitOperation"}
)
"""They wait for work that continues without them."""
REFLECTION_PREFIXES = ("/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")

# By request and response streaming: the name that metrics use, and grpc's attribute.
_KINDS = {
    (False, False): ("unary", "unary_unary"),
    (False, True): ("server_stream", "unary_stream"),
    (True, False): ("client_stream", "stream_unary"),
    (True, True): ("bidi_stream", "stream_stream"),
}


class UnknownMethod(EarwitnessError):
    """The server has no such method."""

    code = "UNIMPLEMENTED"
    reason = "UNKNOWN_METHOD"


@dataclass(frozen=True)
class Method:
    """What is called; `path` is "/package.Service/Method".

    The others are all "unknown" where no such method is served, so that labels made of them stay bounded.
    """

    path: str
    service: str
    name: str
    kind: str

    @property
    def is_served(self) -> bool:
        """False for one that the server has not."""
        return self.kind != "unknown"

    @property
    def streams_requests(self) -> bool:
        """True for a method that takes any number of messages, and one that is unknown: it may be called so."""
        return self.kind not in ("unary", "server_stream")

    @property
    def is_health(self) -> bool:
        """True for the standard health service."""
        return self.path.startswith(HEALTH_PREFIX)

    @property
    def is_plumbing(self) -> bool:
        """True for health and reflection, which cost next to nothing and must answer under load."""
        return self.is_health or self.path.startswith(REFLECTION_PREFIXES)

    @property
    def waits(self) -> bool:
        """True for what only waits for the work of others, and may do so for hours."""
        return self.path in WAITING_METHODS


@dataclass(frozen=True)
class InterceptedHandler:
    """A method handler whose four kinds are one coroutine: responses of a stream are written to the context."""

    method: Method
    request_streaming: bool
    response_streaming: bool
    request_deserializer: Codec | None
    response_serializer: Codec | None
    behaviour: Behaviour

    # grpc picks one of these by the two flags above.
    unary_unary = unary_stream = stream_unary = stream_stream = property(lambda self: self.behaviour)


class CallInterceptor(grpc.aio.ServerInterceptor, ABC):
    """Runs `around` around each call, once for each call whatever its kind, unknown methods included."""

    @abstractmethod
    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Await and return `proceed()`, or refuse the call by raising."""

    def adapt(self, handler: InterceptedHandler) -> InterceptedHandler:
        """A place to replace the handler's (de)serialisers."""
        return handler

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Part of grpc's interface."""
        handler = intercepted(handler_call_details.method, await continuation(handler_call_details))
        method, proceed = handler.method, handler.behaviour

        async def behaviour(request: Any, context: ServicerContext) -> Any:
            return await self.around(method, request, context, lambda: proceed(request, context))

        return replace(self.adapt(handler), behaviour=behaviour)


def peer_address(context: ServicerContext) -> str:
    """The address that a call comes from, without its port."""
    return str(context.peer()).rpartition(":")[0]


CALLER_AHEAD_S = 0.1
"""How much earlier than here a call's time may run out at its caller, who began to count before."""


def final_code(context: ServicerContext, error: BaseException | None) -> grpc.StatusCode:
    """The status a call ended with, seen from outside of the error interceptor; `error` is what it raised."""
    if isinstance(error, CancelledError):
        # Core cancels a call whose deadline passed just like one that the caller gave up; the caller, who knew of it
        # first, also cancels it then.
        left_s = context.time_remaining()
        out_of_time = left_s is not None and left_s < CALLER_AHEAD_S
        return grpc.StatusCode.DEADLINE_EXCEEDED if out_of_time else grpc.StatusCode.CANCELLED
    code: grpc.StatusCode | None = context.code()
    if code is not None:
        return code
    return grpc.StatusCode.OK if error is None else grpc.StatusCode.UNKNOWN


def intercepted(
    path: str, handler: "InterceptedHandler | grpc.RpcMethodHandler[Any, Any] | None"
) -> InterceptedHandler:
    """A handler as one coroutine, which that of another interceptor is; one that refuses where there is no method."""
    if isinstance(handler, InterceptedHandler):
        return handler
    if handler is None:
        unknown = Method(path, service="unknown", name="unknown", kind="unknown")
        # To the wire all kinds are streams, so this answers a call of any kind.
        return InterceptedHandler(unknown, True, True, None, None, _refuse_unknown(path))
    kind, attribute = _KINDS[handler.request_streaming, handler.response_streaming]
    function: Any = getattr(handler, attribute)
    _, service, name = path.split("/")
    return InterceptedHandler(
        Method(path, service, name, kind),
        handler.request_streaming,
        handler.response_streaming,
        handler.request_deserializer,
        handler.response_serializer,
        _writing(function) if inspect.isasyncgenfunction(function) else function,
    )


def _writing(generate: Callable[[Any, ServicerContext], Any]) -> Behaviour:
    """An async generator handler as a coroutine.

    Unlike grpc's own loop it closes the generator when a write is cancelled: its `finally` runs before the call ends.
    """

    async def behaviour(request: Any, context: ServicerContext) -> None:
        async with aclosing(generate(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return behaviour


def _refuse_unknown(path: str) -> Behaviour:
    async def behaviour(request: Any, context: ServicerContext) -> None:
        raise UnknownMethod(f"this server has no method {path}")

    return behaviour
