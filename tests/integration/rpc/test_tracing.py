"""Traces of a server: a span for each call, the caller's trace gone on with, and a collector that is away."""

import asyncio
import json
import socket
import sys
import time

import grpc
import grpc.aio
import pytest

from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.rpc.tracing import FLUSH_S
from tests.helpers.collector import Span, collector
from tests.integration.rpc.probe import KINDS, PATIENCE_S, SERVICE, Probe, Running, running
from tests.integration.rpc.test_run import log_until, process

TRACE, CALLER = "a" * 32, "b" * 16
SERVER, ERROR = 2, 2


def traceparent(flags: str = "01") -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{TRACE}-{CALLER}-{flags}"),)


async def test_each_call_has_a_span_in_its_callers_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # gRPC does not read it, what exports spans does
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with collector() as collected:
        async with running(trace_endpoint=collected.endpoint + "/") as service:
            assert await service.health() == "SERVING"
            for kind in KINDS:
                await service.call(kind, "x", metadata=(*traceparent(), ("x-request-id", "mine")))
        assert [span.name for span in collected.spans] == [f"{SERVICE}/{kind}" for kind in KINDS], "health has none"
        for span, kind in zip(collected.spans, KINDS, strict=True):
            assert (span.service, span.kind, span.status) == ("earwitness", SERVER, 0)
            assert (span.trace_id, span.parent_id) == (TRACE, CALLER)
            assert span.attributes == {
                "rpc.system": "grpc",
                "rpc.service": SERVICE,
                "rpc.method": kind,
                "rpc.grpc.status_code": 0,
                "earwitness.request_id": "mine",
            }


async def spans_of_failures() -> dict[str, Span]:
    """By request id, of calls that end each in its own way."""

    async def fail(words: str) -> str:
        raise InvalidArgument("field", words) if words == "refused" else KeyError(words)

    with collector() as collected:
        async with running(trace_endpoint=collected.endpoint) as service:
            service.probe.action = fail
            for kind, words in (("Unary", "refused"), ("Unary", "broken"), ("Nothing", "unknown")):
                with pytest.raises(grpc.aio.AioRpcError):
                    await service.call(kind, words, metadata=(("x-request-id", words),))
    return {span.attributes["earwitness.request_id"]: span for span in collected.spans}


async def test_only_what_the_server_did_wrong_is_an_error() -> None:
    found = await spans_of_failures()
    codes = {words: (span.attributes["rpc.grpc.status_code"], span.status) for words, span in found.items()}
    assert codes == {"refused": (3, 0), "broken": (13, ERROR), "unknown": (12, ERROR)}
    assert found["unknown"].name == "unknown/unknown", "names are those of methods"
    assert found["broken"].message == "INTERNAL", "and not what the log alone may say"


@pytest.mark.parametrize(
    "header", ["rubbish", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}", "0" * 5000]
)
async def test_a_traceparent_that_is_none_is_ignored(header: str) -> None:
    with collector() as collected:
        async with running(trace_endpoint=collected.endpoint) as service:
            assert (await service.call("Unary", "x", metadata=(("traceparent", header),)))[0] == ["x"]
        (span,) = collected.spans
        assert span.parent_id == ""
        assert span.trace_id != TRACE


@pytest.mark.parametrize(("sampler", "kept"), [("", 0), ("always_on", 1), ("always_off", 0)])
async def test_opentelemetrys_variables_hold(monkeypatch: pytest.MonkeyPatch, sampler: str, kept: int) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler or "parentbased_always_on")
    with collector() as collected:
        async with running(trace_endpoint=collected.endpoint) as service:
            await service.call("Unary", "x", metadata=traceparent(flags="00"))
        assert [span.service for span in collected.spans] == ["mine"] * kept


async def test_log_lines_name_the_trace() -> None:
    with collector() as collected:
        async with process("--log-format=json", PROBE_TRACE_ENDPOINT=collected.endpoint) as child:
            port = int((await log_until(child, "listening on"))["message"].split(":")[1].split(",")[0])
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                service = Running(None, Probe(), channel)  # type: ignore[arg-type]
                await service.call("Unary", "0", metadata=traceparent())
            record = await log_until(child, "/probe.v1.ProbeService/Unary OK")
            child.terminate()
            line = await log_until(child, "draining")
            await asyncio.wait_for(child.wait(), PATIENCE_S)
        (span,) = collected.spans
    assert (record["trace_id"], record["span_id"]) == (TRACE, span.span_id)
    assert "trace_id" not in line


async def stopped_in_s(endpoint: str) -> float:
    """How long the end of a server takes whose traces get nowhere, and which would try for minutes."""
    told = {"PROBE_TRACE_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
    async with process("--log-format=json", "--drain-notice-s=0", **told) as child:
        port = int((await log_until(child, "listening on"))["message"].split(":")[1].split(",")[0])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            service = Running(None, Probe(), channel)  # type: ignore[arg-type]
            for _ in range(600):  # more than goes into one batch
                assert (await service.call("Unary", "0"))[0] == ["0"]
        begun = time.monotonic()
        child.terminate()
        await asyncio.wait_for(child.communicate(), PATIENCE_S)
        assert child.returncode == 0
        return time.monotonic() - begun


async def test_a_collector_that_is_away_or_hangs_does_no_harm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # takes connections, and never answers
        hangs, away = (f"http://127.0.0.1:{port}" for port in (hanging.getsockname()[1], 1))
        for taken_s in await asyncio.gather(stopped_in_s(hangs), stopped_in_s(away)):
            assert taken_s < 12 * FLUSH_S, "not the SDK's 30 s"


async def test_traces_without_the_extra_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(FailedPrecondition, match=r"install earwitness\[tracing\]"):
        async with running(trace_endpoint="http://127.0.0.1:4318"):
            pass


async def test_nothing_is_imported_while_traces_are_off() -> None:
    asked = "import json, sys; import earwitness.client, earwitness.explainer.server, earwitness.scorer.server; "
    asked += "from earwitness import tracing; assert tracing.headers() == () and tracing.ids() is None; "
    asked += "print(json.dumps([name for name in sys.modules if name.startswith('opentelemetry')]))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", asked, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    assert json.loads(out) == []
