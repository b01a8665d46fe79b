"""The server's life: limits, reflection, metrics, ports, drain."""

import asyncio
import logging
import time
import urllib.request

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from earwitness.errors import Aborted, InvalidArgument
from earwitness.rpc.context import request_id, time_remaining_s
from earwitness.rpc.errors import error_from_rpc
from earwitness.rpc.server import CannotListen, RpcServer
from earwitness.rpc.settings import MIB, ServerSettings
from earwitness.scorer.v1 import scorer_pb2, scorer_pb2_grpc
from tests.integration.rpc.probe import KINDS, PATIENCE_S, SERVICE, Probe, Running, echo, running


class Gate:
    """An action that waits to be let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = False

    async def __call__(self, text: str) -> str:
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return text


async def code_of(service: Running, kind: str, *texts: str, timeout_s: float = PATIENCE_S) -> grpc.StatusCode:
    try:
        await service.call(kind, *texts, timeout_s=timeout_s)
    except grpc.aio.AioRpcError as err:
        return err.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_over_the_limit_is_refused_and_the_server_lives(kind: str) -> None:
    async with running(max_message_bytes=MIB, max_response_bytes=MIB) as service:
        assert await code_of(service, kind, "x" * (MIB - 100)) is grpc.StatusCode.OK
        assert await code_of(service, kind, "x" * (MIB + 1)) is grpc.StatusCode.RESOURCE_EXHAUSTED

        async def much(text: str) -> str:
            return "y" * (MIB + 1)

        service.probe.action = much
        assert await code_of(service, kind, "x") is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await service.health() == "SERVING"


async def test_calls_over_the_limit_are_refused_at_once() -> None:
    async with running(max_concurrent_rpcs=2, reflection=True) as service:
        gate = service.probe.action = Gate()
        held = [service.open("Unary", "a", timeout_s=60)]
        await gate.entered.wait()
        held.append(service.open("BidiStream", "b", timeout_s=60))
        assert (await held[1].read()).value == "first"
        for kind in KINDS:  # while the gate is shut, so a call that waited for a place would run out of time
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.call(kind, "c")
            failure = error_from_rpc(caught.value)
            assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
            assert failure.retry_after_s == 1.0
        assert await service.health() == "SERVING"
        assert SERVICE in await reflected(service)
        gate.open.set()
        assert (await held[0]).value == "a"
        assert (await held[1].read()).value == "b"
        assert await held[1].read() is grpc.aio.EOF
        assert await code_of(service, "Unary", "d") is grpc.StatusCode.OK


async def reflected(service: Running, version: str = "v1alpha", **asked: str) -> list[str]:
    """The names of services, or those of the files that describe what was asked for."""
    request = reflection_pb2.ServerReflectionRequest(**(asked or {"list_services": ""}))
    ask = service.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = [answer async for answer in ask(iter([request]))]
    files = answer.file_descriptor_response.file_descriptor_proto
    names = [each.name for each in answer.list_services_response.service]
    return names or [descriptor_pb2.FileDescriptorProto.FromString(file).package for file in files]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_and_describes_itself(version: str) -> None:
    async with running(reflection=True) as service:
        standard = {f"grpc.reflection.{each}.ServerReflection" for each in ("v1", "v1alpha")}
        assert set(await reflected(service, version)) == {SERVICE, "grpc.health.v1.Health", *standard}
        for described in ("v1", "v1alpha"):
            symbol = f"grpc.reflection.{described}.ServerReflection"
            packages = await reflected(service, version, file_containing_symbol=symbol)
            assert packages == [f"grpc.reflection.{described}"]
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reflected(service, version)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_generated_service_is_described_and_its_missing_methods_are_unimplemented() -> None:
    server = RpcServer(ServerSettings(reflection=True), CollectorRegistry())
    name = scorer_pb2.DESCRIPTOR.services_by_name["ScorerService"].full_name

    def register(target: grpc.aio.Server) -> None:
        scorer_pb2_grpc.add_ScorerServiceServicer_to_server(scorer_pb2_grpc.ScorerServiceServicer(), target)

    server.add(name, register, Probe().is_healthy)
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        answers = [answer async for answer in call]
        assert len(answers[0].file_descriptor_response.file_descriptor_proto) >= 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await scorer_pb2_grpc.ScorerServiceStub(channel).Score(scorer_pb2.ScoreRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


Samples = dict[tuple[str, str | None, str | None], float]


async def scraped(service: Running) -> tuple[str, Samples]:
    """The metrics page, and its RPC samples by name, method and code."""
    url = f"http://127.0.0.1:{service.server.metrics_port}/metrics"
    text = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    return text, {
        (sample.name, sample.labels.get("grpc_method"), sample.labels.get("grpc_code")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("grpc_service") in (SERVICE, "unknown") and "le" not in sample.labels
    }


def handled(samples: Samples) -> dict[tuple[str | None, str | None], float]:
    return {key[1:]: n for key, n in samples.items() if key[0] == "grpc_server_handled_total"}


async def test_metrics_count_every_kind_code_and_message() -> None:
    async with running(metrics_port=0) as service:
        for kind in KINDS:
            await service.call(kind, "a")
        await service.call("ClientStream", "a", "b", "c")

        async def fail(text: str) -> str:
            raise Aborted("no")

        service.probe.action = fail
        for kind in KINDS:
            assert await code_of(service, kind, "a") is grpc.StatusCode.ABORTED
        gate = service.probe.action = Gate()
        assert await code_of(service, "Unary", "a", timeout_s=1) is grpc.StatusCode.DEADLINE_EXCEEDED
        call = service.open("ServerStream", "a")
        gate.entered.clear()
        await gate.entered.wait()
        call.cancel()
        for nonsense in ("Nonsense", "Nonsense2"):
            assert await code_of(service, nonsense, "a") is grpc.StatusCode.UNIMPLEMENTED

        expected = {
            ("Unary", "OK"): 1, ("ServerStream", "OK"): 1, ("ClientStream", "OK"): 2, ("BidiStream", "OK"): 1,
            **{(kind, "ABORTED"): 1 for kind in KINDS},
            ("Unary", "DEADLINE_EXCEEDED"): 1, ("ServerStream", "CANCELLED"): 1, ("unknown", "UNIMPLEMENTED"): 2,
        }  # fmt: skip
        text, samples = await scraped(service)
        for _ in range(100):  # the last calls are counted after their callers have heard of them
            if sum(handled(samples).values()) >= sum(expected.values()):
                break
            await asyncio.sleep(0.1)
            text, samples = await scraped(service)
        assert handled(samples) == expected
        assert samples["grpc_server_started_total", "Unary", None] == 3
        assert samples["grpc_server_handling_seconds_count", "ClientStream", None] == 3
        assert samples["grpc_server_msg_received_total", "ClientStream", None] == 5
        assert samples["grpc_server_msg_sent_total", "ServerStream", None] == 4  # "first" three times and one answer
        assert samples["grpc_server_msg_sent_total", "Unary", None] == 1
        assert 'grpc_type="bidi_stream"' in text
        assert "earwitness_build_info{" in text
        assert "process_cpu_seconds_total" in text
        assert "Nonsense" not in text


async def test_two_servers_keep_their_metrics_apart() -> None:
    async with running() as one, running() as two:
        await one.call("Unary", "a")
        labels = {"grpc_type": "unary", "grpc_service": SERVICE, "grpc_method": "Unary"}
        assert one.server.registry.get_sample_value("grpc_server_started_total", labels) == 1
        assert not two.server.registry.get_sample_value("grpc_server_started_total", labels)


async def test_a_port_that_is_taken_is_said_so() -> None:
    async with running(metrics_port=0) as service:
        for settings in (
            ServerSettings(port=service.server.port),
            ServerSettings(metrics_port=service.server.metrics_port),
        ):
            server = RpcServer(settings, CollectorRegistry())
            with pytest.raises(CannotListen, match=r"cannot listen on 127\.0\.0\.1:\d+"):
                async with server:
                    pass


@pytest.mark.parametrize("kind", KINDS)
async def test_drain_lets_a_call_finish_and_refuses_new_ones(kind: str) -> None:
    async with running(drain_s=60) as service:
        gate = service.probe.action = Gate()
        closed: list[str] = []

        async def close(name: str) -> None:
            assert gate.open.is_set(), "closed while a call was in flight"
            closed.append(name)

        service.server.on_stop(lambda: close("store"))
        service.server.on_stop(lambda: close("backend"))
        call = asyncio.create_task(service.call(kind, "kept", timeout_s=60))
        await gate.entered.wait()
        watchers = [service.statuses(name) for name in (SERVICE, "")]
        assert [await anext(each) for each in watchers] == ["SERVING"] * 2
        stopping = asyncio.create_task(service.server.stop(notice_s=0.3))
        assert [await anext(each) for each in watchers] == ["NOT_SERVING"] * 2
        async with asyncio.timeout(60):
            while await code_of(service, kind, "new", timeout_s=1) is not grpc.StatusCode.UNAVAILABLE:
                pass  # still within the notice, waiting at the gate
        assert not stopping.done()
        gate.open.set()
        answers, _ = await call
        assert answers[-1] == "kept"
        await asyncio.wait_for(stopping, 30)
        assert closed == ["backend", "store"]
        await service.server.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_after_the_drain_calls_are_cancelled(kind: str) -> None:
    async with running() as service:
        gate = service.probe.action = Gate()
        call = asyncio.create_task(service.call(kind, "lost"))
        await gate.entered.wait()
        await asyncio.wait_for(service.server.stop(drain_s=0.1), 30)
        assert gate.cancelled
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_background_work_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.rpc.server.DRAINERS_S", 0.1)
    async with running() as service:
        closed = asyncio.Event()

        async def close() -> None:
            closed.set()

        service.server.on_drain(Gate().open.wait)
        service.server.on_stop(close)
        await asyncio.wait({asyncio.create_task(service.server.stop())}, timeout=30)
        assert closed.is_set()


async def test_a_call_knows_its_time_and_its_id() -> None:
    async with running() as service:

        async def tell(text: str) -> str:
            return f"{request_id()} {time_remaining_s(service.probe.context)}"

        service.probe.action = tell
        answers, _ = await service.call("Unary", "x", metadata=[("x-request-id", "mine")], timeout_s=None)
        assert answers == ["mine None"]
        answers, _ = await service.call("Unary", "x", timeout_s=60)
        assert 30 < float(answers[0].split()[1]) < 60.5
        assert request_id() == ""


@pytest.mark.parametrize("kind", ["Unary", "ServerStream"])
async def test_answers_that_come_with_the_deadline_are_no_errors(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Some of them reach gRPC's core when it has ended the call and their handler does not know of it yet."""
    async with running(max_concurrent_rpcs=1000) as service:

        async def answer(end: str) -> str:
            await asyncio.sleep(float(end) - time.monotonic())
            if hash(end) % 2:
                raise InvalidArgument("text", "is wrong")
            return end

        service.probe.action = answer
        for _ in range(10):
            shifts = [(number - 20) * 1e-4 for number in range(40)]
            ends = [f"{time.monotonic() + 0.1 + shift:.6f}" for shift in shifts]
            await asyncio.gather(*(code_of(service, kind, end, timeout_s=0.1) for end in ends))
        service.probe.action = echo
        assert await code_of(service, kind, "x") is grpc.StatusCode.OK
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
