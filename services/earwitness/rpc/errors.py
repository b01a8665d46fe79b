"""Exceptions to google.rpc statuses on the server, and back to an `RpcFailure` in the client."""

import logging
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry, Counter

from earwitness.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    EarwitnessError,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from earwitness.rpc.auth import NOBODY, Unauthenticated, caller_name
from earwitness.rpc.context import REQUEST_ID_KEY, request_id
from earwitness.rpc.interceptor import (
    CallInterceptor,
    InterceptedHandler,
    Method,
    Proceed,
    ServicerContext,
    UnknownMethod,
)

DOMAIN = "earwitness"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
# The whole status travels in the trailers, twice: gRPC peers refuse more than 8 KiB of them.
MAX_MESSAGE_BYTES = 1024
MAX_VALUE_BYTES = 256
MAX_METADATA_ENTRIES = 4

_NUISANCES = (Unauthenticated, ResourceExhausted, DeadlineExceeded)
"""Failures that indicate an unknown caller who takes more resources than allowed."""
_logger = logging.getLogger(__name__)


def status_of(err: EarwitnessError, request_id: str) -> status_pb2.Status:
    """The status that a caller sees: code, message, details.

    Details are one ErrorInfo and one RequestInfo, and BadRequest, ResourceInfo or RetryInfo where the exception knows
    what they say. A defect of ours (`Internal`) is not described to the caller.
    """
    hidden = isinstance(err, Internal)
    message = f"internal error; see the server's log under request id {request_id}" if hidden else err.message
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=err.reason, domain=DOMAIN, metadata={} if hidden else _clip_metadata(err.metadata)
        ),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    match err:
        case InvalidArgument():
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=_clip(err.field, MAX_VALUE_BYTES), description=_clip(err.description, MAX_MESSAGE_BYTES)
            )
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        case NotFound() | AlreadyExists():
            details.append(
                error_details_pb2.ResourceInfo(
                    resource_type=err.resource_type, resource_name=_clip(err.resource_name, MAX_VALUE_BYTES)
                )
            )
        case ResourceExhausted() | Unavailable():
            delay = Duration()
            delay.FromMilliseconds(_milliseconds(err.retry_after_s))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    code: int = grpc.StatusCode[err.code].value[0]
    return status_pb2.Status(code=code, message=_clip(message, MAX_MESSAGE_BYTES), details=packed)


class ErrorInterceptor(CallInterceptor):
    """Sends whatever a call raises as a status with details, counted by reason; cancellation passes."""

    def __init__(self, registry: CollectorRegistry, refusing: Callable[[str], Awaitable[None]]) -> None:
        """`refusing` is awaited before a call of nobody known is refused; it takes the peer as gRPC writes it."""
        self._refusing = refusing
        # Reasons are words of exceptions' classes, so they stay bounded.
        self._failures = Counter(
            "earwitness_failed_calls",
            "Calls refused or failed, by the reason given to the caller.",
            ["grpc_service", "reason"],
            registry=registry,
        )

    def adapt(self, handler: InterceptedHandler) -> InterceptedHandler:
        """Bytes that are no message become INVALID_ARGUMENT; grpc itself would answer UNKNOWN with a Python error."""
        deserialize = handler.request_deserializer
        if deserialize is None:
            return handler

        def checked(data: bytes) -> Any:
            try:
                return deserialize(data)
            except DecodeError as err:
                raise InvalidArgument(
                    "request", "the bytes sent are no message of this method; compare the protos"
                ) from err

        return replace(handler, request_deserializer=checked)

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: grpc.aio.AbortError when a status was sent; CancelledError, also where none could be."""
        answer: Any = None
        failure: EarwitnessError | None = None
        try:
            answer = await proceed()
        except (CancelledError, grpc.aio.AbortError):
            raise
        except grpc.aio.InternalError as late:  # of a write: the call had ended just then
            raise CancelledError from late
        except EarwitnessError as err:
            failure = err
            if isinstance(err, Internal | DataLoss):
                _logger.exception("%s failed: %s", method.path, err.message)
            else:
                # Strangers could fill the log; where their connection is closed for it, that is said once.
                level = logging.DEBUG if caller_name() == NOBODY and isinstance(err, _NUISANCES) else logging.INFO
                _logger.log(level, "%s refused: %s: %s", method.path, err.code, _clip(err.message, MAX_MESSAGE_BYTES))
        except TimeoutError:
            failure = DeadlineExceeded(
                "the time allowed ran out before there was an answer; allow more or ask for less"
            )
        except NotImplementedError:
            failure = UnknownMethod(f"this server does not implement {method.path}")
        except Exception:
            failure = Internal("unexpected")
            _logger.exception("%s failed", method.path)
        if method.streams_requests:
            await request.read_out()
        if failure is None:
            return answer
        self._failures.labels(method.service, failure.reason).inc()
        if caller_name() == NOBODY and isinstance(failure, _NUISANCES):
            await self._refusing(str(context.peer()))
        await _abort(context, failure)


async def _abort(context: ServicerContext, err: EarwitnessError) -> None:
    status = status_of(err, request_id())
    trailers: list[tuple[str, str | bytes]] = [*context.trailing_metadata(), (DETAILS_KEY, status.SerializeToString())]
    if isinstance(err, ResourceExhausted | Unavailable):
        trailers.append((PUSHBACK_KEY, str(_milliseconds(err.retry_after_s))))
    try:
        await context.abort(grpc.StatusCode[err.code], status.message, tuple(trailers))
    except grpc.aio.InternalError as late:  # the call has just ended: there is no one to answer
        raise CancelledError from late


@dataclass(frozen=True)
class FieldViolation:
    """A field of the request that was wrong, and what was wrong with it."""

    field: str
    description: str


@dataclass(eq=False)
class RpcFailure(Exception):
    """A call that failed, in the client; `client.refusals` has a class for each reason. Treat as read-only."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    """UPPER_SNAKE reason of earwitness's own errors, e.g. "ETAG_MISMATCH"; empty for those of gRPC itself."""
    metadata: Mapping[str, str] | None = None
    violations: tuple[FieldViolation, ...] = ()
    resource_type: str = ""
    resource_name: str = ""
    retry_after_s: float | None = None
    """Seconds to wait before another try; None when another try is not asked for."""
    request_id: str = ""

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


_PLAIN: Mapping[str, type[RpcFailure]] = MappingProxyType({})


def error_from_rpc(error: grpc.RpcError, kinds: Mapping[str, type[RpcFailure]] = _PLAIN) -> RpcFailure:
    """All that the status of a failed call says; works for errors without details, too (no connection, a proxy).

    It is of the class that `kinds` has for its reason.
    """
    trailers: Iterable[tuple[str, str | bytes]] = cast(Any, error.trailing_metadata()) or ()
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):  # details of somebody else, that contradict the status
        status = None
    code, message = error.code(), error.details() or ""
    if code is grpc.StatusCode.CANCELLED:
        # Not by us, whose cancelled calls raise no RpcError: gRPC's answer to a call that arrives as its server stops.
        code, message = grpc.StatusCode.UNAVAILABLE, "the server ended the call, as it does when it stops; try again"
    details = tuple(status.details) if status else ()
    failure = kinds.get(_reason(details), RpcFailure)(
        code, message, request_id=str(dict(trailers).get(REQUEST_ID_KEY, ""))
    )
    for packed in details:
        _unpack(packed, failure)
    return failure


def _reason(details: Iterable[AnyMessage]) -> str:
    """The reason among the details, if it is one of ours."""
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for packed in details if packed.Unpack(info) and info.domain == DOMAIN), "")


def _unpack(packed: AnyMessage, failure: RpcFailure) -> None:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    resource, retry = error_details_pb2.ResourceInfo(), error_details_pb2.RetryInfo()
    if packed.Unpack(info):
        failure.reason, failure.metadata = info.reason, dict(info.metadata)
    elif packed.Unpack(bad):
        failure.violations = tuple(FieldViolation(each.field, each.description) for each in bad.field_violations)
    elif packed.Unpack(resource):
        failure.resource_type, failure.resource_name = resource.resource_type, resource.resource_name
    elif packed.Unpack(retry):
        failure.retry_after_s = retry.retry_delay.ToMilliseconds() / 1e3


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e3))


def _clip_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    kept = list(metadata.items())[:MAX_METADATA_ENTRIES]
    return {key: _clip(value, MAX_VALUE_BYTES) for key, value in kept}


def _clip(text: str, max_bytes: int) -> str:
    """`text` cut to at most `max_bytes` of UTF-8."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= max_bytes else data[: max_bytes - 3].decode(errors="ignore") + "…"
