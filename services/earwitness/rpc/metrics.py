"""Prometheus metrics of calls under their common `grpc_server_*` names."""

import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from earwitness.rpc.interceptor import (
    CallInterceptor,
    Codec,
    InterceptedHandler,
    Method,
    Proceed,
    ServicerContext,
    final_code,
)

LABELS = ("grpc_type", "grpc_service", "grpc_method")
# From a health check to a long search.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)


class MetricsInterceptor(CallInterceptor):
    """Counts calls, messages and times in the registry given, and says there what process this is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter("grpc_server_started", "Calls begun.", LABELS, registry=registry)
        self._handled = Counter("grpc_server_handled", "Calls over.", (*LABELS, "grpc_code"), registry=registry)
        self._seconds = Histogram(
            "grpc_server_handling_seconds", "Time of a call.", LABELS, buckets=BUCKETS_S, registry=registry
        )
        self._received = Counter("grpc_server_msg_received", "Request messages.", LABELS, registry=registry)
        self._sent = Counter("grpc_server_msg_sent", "Response messages.", LABELS, registry=registry)
        ProcessCollector(registry=registry)
        build = Info("earwitness_build", "What runs here.", registry=registry)
        build.info({"version": version("earwitness"), "python": platform.python_version()})

    def adapt(self, handler: InterceptedHandler) -> InterceptedHandler:
        """Messages are counted where they are (de)serialised: the one place that all kinds of calls share."""
        labels = _labels(handler.method)
        return replace(
            handler,
            request_deserializer=_counting(self._received.labels(*labels), handler.request_deserializer),
            response_serializer=_counting(self._sent.labels(*labels), handler.response_serializer),
        )

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises what the call raises."""
        labels = _labels(method)
        self._started.labels(*labels).inc()
        start = perf_counter()
        error: BaseException | None = None
        try:
            return await proceed()
        except BaseException as err:
            error = err
            raise
        finally:
            self._seconds.labels(*labels).observe(perf_counter() - start)
            self._handled.labels(*labels, final_code(context, error).name).inc()


def _labels(method: Method) -> tuple[str, str, str]:
    return (method.kind, method.service, method.name)


def _counting(counter: Counter, convert: Codec | None) -> Callable[[Any], Any]:
    def counted(message: Any) -> Any:
        counter.inc()
        return message if convert is None else convert(message)

    return counted
