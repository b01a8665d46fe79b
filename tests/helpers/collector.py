"""A real receiver of traces: OTLP over HTTP, in protobuf as from Python and in JSON as from Triton."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Span:
    """What a server said of a piece of work; ids in hexadecimal, `kind` and `status` by their OTLP numbers."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    status: int
    message: str


@dataclass
class Collector:
    """Listens at `endpoint` and keeps the spans it is sent."""

    endpoint: str
    spans: list[Span] = field(default_factory=list)

    def named(self, name: str, count: int = 1) -> list[Span]:
        """The spans of that name, once there are so many."""
        give_up = time.monotonic() + PATIENCE_S
        while len(found := [span for span in self.spans if span.name == name]) < count:
            assert time.monotonic() < give_up, f"{len(found)} of {count} spans {name!r} among {self.spans}"
            time.sleep(0.02)
        return found

    def children(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if (span.trace_id, span.parent_id) == (parent.trace_id, parent.span_id)]


@contextmanager
def collector() -> Iterator[Collector]:
    """Takes spans until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            kept.spans.extend(_spans(_decode(body, self.headers["Content-Type"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *words: Any) -> None:  # noqa: A002
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _decode(body: bytes, kind: str) -> ExportTraceServiceRequest:
    if kind == "application/x-protobuf":
        return ExportTraceServiceRequest.FromString(body)
    request: ExportTraceServiceRequest = json_format.ParseDict(
        _with_base64(json.loads(body)), ExportTraceServiceRequest()
    )
    return request


def _with_base64(value: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, where protobuf's has base64."""
    if isinstance(value, list):
        return [_with_base64(each) for each in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode() if key in ids else _with_base64(each)
        for key, each in value.items()
    }


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service,
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    tuple(link.span_id.hex() for link in span.links),
                    _attributes(span.attributes),
                    span.status.code,
                    span.status.message,
                )


def _attributes(pairs: "list[KeyValue]") -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}
