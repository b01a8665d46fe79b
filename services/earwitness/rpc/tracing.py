"""A server's traces: spans of its calls, and how they get to a collector (OTLP over HTTP).

opentelemetry-instrumentation-grpc is not used: its interceptor makes new handlers of the four kinds, which ours are
not (see `interceptor`), and as the innermost one it would not see what the others refuse.
"""

import asyncio
from threading import Thread
from typing import Any

from earwitness import __version__, tracing
from earwitness.errors import FailedPrecondition
from earwitness.rpc.context import request_id
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext, final_code
from earwitness.rpc.proxies import past_proxy

FLUSH_S = 2.0
"""What the last spans get at the end to reach the collector, which may be away."""
FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""Statuses that OpenTelemetry takes for a server's failures; with the others it did what it should."""


class Exporter:
    """Sends spans to the collector at `endpoint`, in a thread of its own; what cannot be sent is dropped.

    The SDK's own variables, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS and so on, hold.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        """Opens no connection yet. Raises: FailedPrecondition without the packages of the extra `tracing`."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from requests import Session
        except ModuleNotFoundError as err:
            raise FailedPrecondition(
                f"trace_endpoint needs {err.name}, which is not installed; install earwitness[tracing], or unset it"
            ) from err
        named = {"service.name": service, "service.version": __version__}
        session = Session()
        session.trust_env = not past_proxy(endpoint)
        self._exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", session=session)
        self._provider = TracerProvider(
            resource=Resource.create({**named, **OTELResourceDetector().detect().attributes}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer = self._provider.get_tracer("earwitness", __version__)

    async def close(self) -> None:
        """Send what is left, for `FLUSH_S` seconds at most."""
        # Not one of asyncio's threads: the process would wait for it.
        flushing = Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        await asyncio.to_thread(flushing.join, FLUSH_S)
        if flushing.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


class TracingInterceptor(CallInterceptor):
    """A span around each call but health and reflection, within the trace that the caller's `traceparent` names."""

    def __init__(self, exporter: Exporter) -> None:
        self._tracer = exporter.tracer

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises what the call raises."""
        if method.is_plumbing:
            return await proceed()
        caller = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}
        name = f"{method.service}/{method.name}"
        with tracing.tracing_with(self._tracer), tracing.span(name, attributes, kind="SERVER", caller=caller) as span:
            error: BaseException | None = None
            try:
                return await proceed()
            except BaseException as err:
                error = err
                raise
            finally:
                code = final_code(context, error)
                span.tell({"rpc.grpc.status_code": code.value[0], "earwitness.request_id": request_id()})
                if code.name in FAULTS:
                    span.fail(code.name)
