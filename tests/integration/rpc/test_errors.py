"""Every exception of the house through a real channel, in calls of every kind."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from earwitness import errors
from earwitness.rpc.errors import FieldViolation, RpcFailure, error_from_rpc
from earwitness.rpc.server import RpcServer
from earwitness.rpc.settings import ServerSettings
from tests.integration.rpc.probe import KINDS, PATIENCE_S, Probe, Running, running

RAISED: dict[type[errors.EarwitnessError], errors.EarwitnessError] = {
    type(each): each
    for each in (
        errors.EarwitnessError("base", metadata={"k": "v"}),
        errors.InvalidArgument("search.rows[3].settings.steps", "is 0; must be at least 1", metadata={"limit": "1"}),
        errors.NotFound("earwitness.explainer.v1.Model", "models/x", "there are models/y"),
        errors.AlreadyExists("earwitness.scorer.v1.Reference", "references/r", "choose another reference_id"),
        errors.FailedPrecondition("the reference has 1 row; append at least 2"),
        errors.Aborted("the etag is old; read again"),
        errors.ResourceExhausted("32 searches are running", retry_after_s=1.5),
        errors.Unavailable("triton is away", retry_after_s=0.25),
        errors.DataLoss("what was stored is damaged; restore a backup"),
        errors.DeadlineExceeded("no step was done"),
        errors.Internal("secret: /var/lib/earwitness"),
    )
}
HOUSE = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.EarwitnessError)]


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Running]:
    async with running() as service:
        yield service


async def failure_of(service: Running, kind: str, error: BaseException) -> grpc.aio.AioRpcError:
    async def fail(text: str) -> str:
        raise error

    service.probe.action = fail
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.call(kind, "x")
    return caught.value


@pytest.mark.parametrize("kind", [*KINDS, "WrittenStream"])
async def test_every_exception_arrives_with_code_and_details(service: Running, kind: str) -> None:
    assert set(RAISED) == set(HOUSE), "a new exception needs a line above"
    for error in RAISED.values():
        arrived = await failure_of(service, kind, error)
        status = rpc_status.from_call(arrived)
        assert arrived.code() is grpc.StatusCode[error.code]
        assert status.code == arrived.code().value[0]
        details = {each.type_url.rsplit(".", 1)[1]: each for each in status.details}
        trailers = dict(arrived.trailing_metadata())
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
        assert details.pop("ErrorInfo").Unpack(info)
        assert (info.domain, info.reason) == ("earwitness", error.reason)
        assert details.pop("RequestInfo").Unpack(request)
        assert request.request_id == trailers["x-request-id"] != ""
        match error:
            case errors.InvalidArgument():
                bad = error_details_pb2.BadRequest()
                assert details.pop("BadRequest").Unpack(bad)
                assert [(v.field, v.description) for v in bad.field_violations] == [(error.field, error.description)]
            case errors.NotFound() | errors.AlreadyExists():
                resource = error_details_pb2.ResourceInfo()
                assert details.pop("ResourceInfo").Unpack(resource)
                assert (resource.resource_type, resource.resource_name) == (error.resource_type, error.resource_name)
            case errors.ResourceExhausted() | errors.Unavailable():
                retry = error_details_pb2.RetryInfo()
                assert details.pop("RetryInfo").Unpack(retry)
                assert retry.retry_delay.ToTimedelta().total_seconds() == error.retry_after_s
                assert trailers.pop("grpc-retry-pushback-ms") == f"{error.retry_after_s * 1000:.0f}"
        assert not details
        assert "grpc-retry-pushback-ms" not in trailers
        if isinstance(error, errors.Internal):
            assert request.request_id in status.message
            assert "secret" not in str(arrived)
        else:
            assert status.message == error.message
            assert dict(info.metadata) == error.metadata


@pytest.mark.parametrize("kind", KINDS)
async def test_a_defect_is_hidden_and_logged(service: Running, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    arrived = await failure_of(service, kind, ZeroDivisionError("secret"))
    assert arrived.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(arrived)
    assert dict(arrived.trailing_metadata())["x-request-id"] in str(arrived.details())
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1
    assert logged[0].exc_info is not None
    assert isinstance(logged[0].exc_info[1], ZeroDivisionError)


@pytest.mark.parametrize("kind", KINDS)
async def test_own_timeout_is_deadline_exceeded(service: Running, kind: str) -> None:
    assert (await failure_of(service, kind, TimeoutError())).code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("kind", [*KINDS, "WrittenStream"])
async def test_the_server_serves_on_after_failures_and_cancelled_calls(service: Running, kind: str) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(text: str) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return text

    service.probe.action = hang
    call = service.open(kind, "x")
    await asyncio.wait_for(begun.wait(), PATIENCE_S)
    call.cancel()
    await asyncio.wait_for(ended.wait(), PATIENCE_S)
    await failure_of(service, kind, errors.Aborted("no"))

    async def upper(text: str) -> str:
        return text.upper()

    service.probe.action = upper
    answers, _ = await service.call(kind, "still here")
    assert answers[-1] == "STILL HERE"


async def test_a_cancelled_stream_closes_its_generator_before_the_call_is_over() -> None:
    """Also when the cancellation meets it at `yield`, the client's window being full."""
    ended = asyncio.Event()
    ended_before_close: list[bool] = []

    async def pour(request: Any, context: Any) -> AsyncIterator[StringValue]:
        try:
            while True:
                yield StringValue(value="x" * 100_000)
        finally:
            await asyncio.sleep(0.1)
            ended.set()

    async def close() -> None:
        ended_before_close.append(ended.is_set())

    handler = grpc.unary_stream_rpc_method_handler(pour, StringValue.FromString, StringValue.SerializeToString)
    generic = grpc.method_handlers_generic_handler("pour.v1.PourService", {"Pour": handler})
    server = RpcServer(ServerSettings(drain_s=0), CollectorRegistry())
    server.add("pour.v1.PourService", lambda its: its.add_generic_rpc_handlers((generic,)), Probe().is_healthy)
    server.on_stop(close)
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_stream("/pour.v1.PourService/Pour", response_deserializer=StringValue.FromString)(b"")
        await call.read()
        await asyncio.sleep(0.2)
        await server.stop()
    assert ended_before_close == [True]


async def test_a_stream_gives_what_came_before_the_failure(service: Running) -> None:
    async def fail(text: str) -> str:
        raise errors.Unavailable("gone")

    service.probe.action = fail
    call = service.open("BidiStream", "x")
    assert (await call.read()).value == "first"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert error_from_rpc(caught.value).reason == "UNAVAILABLE"


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
async def test_bytes_that_are_no_message_are_an_invalid_argument(service: Running, kind: str) -> None:
    name = {"unary_unary": "Unary", "unary_stream": "ServerStream", "stream_unary": "ClientStream"}.get(
        kind, "BidiStream"
    )
    call = getattr(service.channel, kind)(f"/probe.v1.ProbeService/{name}")
    garbage = b"\x0a\xff\xff"

    async def send() -> None:
        answer = call(iter([garbage]) if kind.startswith("stream") else garbage, timeout=PATIENCE_S)
        if kind.endswith("unary"):
            await answer
        else:
            _ = [each async for each in answer]

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_from_rpc(caught.value).violations[0].field == "request"


@pytest.mark.parametrize("kind", ["Unary", "ServerStream"])
@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_request_of_another_number_of_messages_than_one_is_answered(
    service: Running, kind: str, count: int
) -> None:
    """Without any, the caller waited for ever: grpc.aio does not answer."""
    messages = [StringValue(value=str(number)).SerializeToString() for number in range(count)]
    call = service.channel.stream_stream(f"/probe.v1.ProbeService/{kind}")(iter(messages), timeout=PATIENCE_S)
    if count:
        assert StringValue.FromString([each async for each in call][-1]).value == "0"
        return
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [each async for each in call]
    failure = error_from_rpc(caught.value)
    assert (failure.code, failure.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "request")
    assert failure.request_id
    assert (await service.call("Unary", "next"))[0] == ["next"]


async def test_an_unknown_method_is_said_to_be_unknown(service: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.call("Nonsense", "x")
    failure = error_from_rpc(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD")
    assert failure.request_id


async def test_a_method_left_out_is_unimplemented(service: Running) -> None:
    assert (await failure_of(service, "Unary", NotImplementedError())).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_of_any_length_fits_the_trailers(service: Running) -> None:
    for text in ("x" * 100_000, "𝄞" * 30_000, "%" * 50_000, "\ud800broken"):
        error = errors.InvalidArgument("f" + text, text, metadata={f"k{i}": text for i in range(9)})
        failure = error_from_rpc(await failure_of(service, "Unary", error))
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.violations[0].field.startswith("f")


async def test_the_client_gets_all_of_it_in_one_exception(service: Running) -> None:
    failures = {kind: error_from_rpc(await failure_of(service, "Unary", error)) for kind, error in RAISED.items()}
    invalid = failures[errors.InvalidArgument]
    assert isinstance(invalid, RpcFailure)
    assert invalid.code is grpc.StatusCode.INVALID_ARGUMENT
    assert invalid.reason == "INVALID_FIELD"
    assert invalid.metadata == {"limit": "1"}
    assert invalid.violations == (FieldViolation("search.rows[3].settings.steps", "is 0; must be at least 1"),)
    assert invalid.retry_after_s is None
    assert invalid.request_id
    assert str(invalid) == "INVALID_ARGUMENT: search.rows[3].settings.steps: is 0; must be at least 1"
    missing = failures[errors.NotFound]
    assert (missing.resource_type, missing.resource_name) == ("earwitness.explainer.v1.Model", "models/x")
    assert failures[errors.ResourceExhausted].retry_after_s == 1.5


async def test_a_call_that_the_server_ended_unasked_may_be_made_again(service: Running) -> None:
    """As gRPC itself ends those that arrive while a server stops; to a caller CANCELLED would mean to give up."""

    async def cancel(text: str) -> str:
        await service.probe.context.abort(grpc.StatusCode.CANCELLED, "")
        return text

    service.probe.action = cancel
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.call("Unary", "x")
    failure = error_from_rpc(caught.value)
    assert (failure.code, "try again" in failure.message) == (grpc.StatusCode.UNAVAILABLE, True)


async def test_the_client_understands_errors_without_details() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/a/b")(b"", timeout=PATIENCE_S)
    failure = error_from_rpc(caught.value)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.message
    assert (failure.reason, failure.violations, failure.retry_after_s, failure.request_id) == ("", (), None, "")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_request_id_comes_back(service: Running, kind: str) -> None:
    _, trailers = await service.call(kind, "x", metadata=[("x-request-id", "mine-1")])
    assert dict(trailers)["x-request-id"] == "mine-1"
    _, trailers = await service.call(kind, "x", metadata=[("x-request-id", "a b" * 100)])
    assert len(dict(trailers)["x-request-id"]) == 36
    _, others = await service.call(kind, "x")
    assert dict(others)["x-request-id"] != dict(trailers)["x-request-id"]
