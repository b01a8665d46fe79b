"""Spans of OpenTelemetry for every room: made where a server traces (see `rpc.tracing`), next to nothing elsewhere.

opentelemetry is an extra, so nothing here imports it before somebody traces.

What a span repeats, such as a search its steps, is kept when it happens the 1st, 2nd, 4th, 8th time and so on: a trace
shows how each begins and whether it changes, and a search of 10 000 steps has 14 such spans, not 10 000.
"""

import sys
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

import grpc.aio

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as TracedSpan
    from opentelemetry.trace import Tracer

Value = str | int | float | bool
Headers = tuple[tuple[str, str], ...]
TRACEPARENT = "traceparent"

_tracer: ContextVar["Tracer | None"] = ContextVar("tracer", default=None)
_repeats: ContextVar[dict[str, int] | None] = ContextVar("repeats", default=None)
"""How often each thing has happened in the span that is current; None where that is not kept."""


class Span:
    """What can be said of a piece of work while it is done; nobody listens where it is not traced."""

    def __init__(self, traced: "TracedSpan | None" = None) -> None:
        self._traced = traced

    def tell(self, attributes: Mapping[str, Value]) -> None:
        """Add to what is known of it."""
        if self._traced is not None:
            self._traced.set_attributes(attributes)

    def fail(self, why: str) -> None:
        """Say that it went wrong."""
        if self._traced is not None:
            from opentelemetry.trace import Status, StatusCode

            self._traced.set_status(Status(StatusCode.ERROR, why))

    @property
    def headers(self) -> Headers:
        """Metadata of a call to another server that make its spans part of this one, while this one is current."""
        return () if self._traced is None else headers()


@contextmanager
def tracing_with(tracer: "Tracer | None") -> Iterator[None]:
    """What is begun inside of the block, tasks included, is traced with `tracer`."""
    token = _tracer.set(tracer)
    try:
        yield
    finally:
        _tracer.reset(token)


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, Value],
    *,
    kind: Literal["INTERNAL", "CLIENT", "SERVER"] = "INTERNAL",
    caller: Mapping[str, str] | None = None,
    cause: str = "",
) -> Iterator[Span]:
    """A span around a block, part of the one that is current or, where `caller` is given, of what those headers say.

    `cause` is the `traceparent` of a span of long ago to link to.
    """
    tracer = _tracer.get()
    if tracer is None:
        yield Span()
        return
    from opentelemetry.trace import Link, SpanKind, get_current_span

    caused_by = get_current_span(_context({TRACEPARENT: cause})).get_span_context()
    with tracer.start_as_current_span(
        name,
        context=None if caller is None else _context(caller),
        kind=SpanKind[kind],
        attributes=attributes,
        links=[Link(caused_by)] if caused_by.is_valid else [],
        record_exception=False,
        set_status_on_exception=kind == "INTERNAL",  # the others say it by their status
    ) as traced:
        token = _repeats.set({} if traced.is_recording() else None)
        try:
            yield Span(traced)
        finally:
            _repeats.reset(token)


@contextmanager
def repeated(name: str, attributes: Mapping[str, Value]) -> Iterator[Span]:
    """A span around one of many blocks of that name within the span that is current."""
    count = _kept(name)
    if count is None:
        yield Span()
        return
    with span(name, {**attributes, "earwitness.repeat": count}) as found:
        yield found


@contextmanager
def call(service: str, method: str, attributes: Mapping[str, Value], *, repeats: str = "") -> Iterator[Span]:
    """A client's span around a call to another server.

    With `repeats` it is one of many calls of that name within the span that is current. Only those that are kept have
    headers: for a server that traces whatever has them, sampled or not.
    """
    count = _kept(repeats) if repeats else 0
    if count is None:
        yield Span()
        return
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, **attributes}
    if count:
        attributes["earwitness.repeat"] = count
    with span(f"{service}/{method}", attributes, kind="CLIENT") as found:
        code, failure = grpc.StatusCode.OK, ""
        try:
            yield found
        except grpc.aio.AioRpcError as err:
            code, failure = err.code(), err.details() or ""
            found.fail(failure)
            raise
        except CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            found.tell({"rpc.grpc.status_code": code.value[0]})


def headers() -> Headers:
    """The span that is current as metadata of a call, W3C's `traceparent`; empty where nobody traces."""
    if "opentelemetry.trace" not in sys.modules:
        return ()  # nobody can have begun a span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())


def traceparent() -> str:
    """The span that is current, for a `cause` of later; "" where nobody traces."""
    return dict(headers()).get(TRACEPARENT, "")


def ids() -> tuple[str, str] | None:
    """The current trace and span in hexadecimal; None where there is none."""
    if _tracer.get() is None:
        return None
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    found = get_current_span().get_span_context()
    return (format_trace_id(found.trace_id), format_span_id(found.span_id)) if found.is_valid else None


def _kept(name: str) -> int | None:
    """Count one more; how many there are, where that one is kept."""
    counts = _repeats.get()
    if counts is None:
        return None
    count = counts[name] = counts.get(name, 0) + 1
    return count if count.bit_count() == 1 else None


def _context(carrier: Mapping[str, str]) -> "Context":
    """What headers say of a trace; an empty context where they say nothing, or nonsense."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(carrier, Context())
