"""What `TritonBackend` makes of servers that misbehave as the real one cannot be made to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earwitness.inference.backend import InferenceFailed, InferenceOverloaded, InferenceUnavailable, ModelNotServed
from earwitness.inference.triton import TritonBackend

Answer = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A KServe v2 server whose answers each test sets."""

    def __init__(self) -> None:
        self.infer: Answer
        self.calls = 0
        self.max_batch_size = 256
        self.state = "UNAVAILABLE"

    async def ServerReady(self, request, context):  # noqa: N802 -- named by the protocol
        return service_pb2.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request, context):  # noqa: N802
        return service_pb2.ServerMetadataResponse(version="0")

    async def RepositoryIndex(self, request, context):  # noqa: N802
        model = service_pb2.RepositoryIndexResponse.ModelIndex(name="m", version="1", state=self.state)
        return service_pb2.RepositoryIndexResponse(models=[model])

    async def ModelConfig(self, request, context):  # noqa: N802
        if request.version:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unloaded since it was listed")
        return service_pb2.ModelConfigResponse(config={"name": "m", "max_batch_size": self.max_batch_size})

    async def ModelInfer(self, request, context):  # noqa: N802
        self.calls += 1
        return await self.infer(request, context)


@pytest.fixture
async def server_and_backend() -> AsyncIterator[tuple[Server, TritonBackend]]:
    servicer, server = Server(), grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = TritonBackend(f"127.0.0.1:{port}")
    yield servicer, backend
    await backend.close()
    await server.stop(None)


def response(datatype: str = "FP32", name: str = "y") -> service_pb2.ModelInferResponse:
    answer = service_pb2.ModelInferResponse(raw_output_contents=[np.ones(2, "<f4").tobytes()])
    answer.outputs.add(name=name, datatype=datatype, shape=[2, 1])
    return answer


async def run(backend: TritonBackend, **limit: float) -> Any:
    return await backend.infer("m", {"x": np.ones((2, 1))}, ["y"], **limit)


async def test_a_server_that_hangs_is_left_at_the_time_limit_and_told(server_and_backend):
    server, backend = server_and_backend
    cancelled = asyncio.Event()

    async def hang(request, context):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server.infer = hang
    with pytest.raises(TimeoutError, match=r"m did not answer within 0\.2 s"):
        await run(backend, timeout_s=0.2)
    await asyncio.wait_for(cancelled.wait(), 60)

    cancelled.clear()
    task = asyncio.create_task(run(backend))
    while server.calls < 2:  # noqa: ASYNC110 -- the server has no event to wait for
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(cancelled.wait(), 60)


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "the reason", InferenceUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", InferenceOverloaded),
        (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", InferenceOverloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "the reason", InferenceOverloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 8)", InferenceFailed),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "the reason", TimeoutError),
        (grpc.StatusCode.INVALID_ARGUMENT, "the reason", InferenceFailed),
        (grpc.StatusCode.NOT_FOUND, "the reason", ModelNotServed),
        (grpc.StatusCode.INTERNAL, "the reason", InferenceFailed),
    ],
)
async def test_each_status_becomes_its_error(server_and_backend, code, details, expected):
    server, backend = server_and_backend

    async def abort(request, context):
        await context.abort(code, details)

    server.infer = abort
    with pytest.raises(expected) as caught:
        await run(backend, timeout_s=60)
    assert expected is TimeoutError or details in str(caught.value)


@pytest.mark.parametrize(("most", "batches"), [(4, [3, 4, 4]), (11, [11]), (0, [11])])
async def test_a_batch_is_cut_to_what_the_served_model_takes(server_and_backend, most, batches):
    server, backend = server_and_backend
    server.max_batch_size = most
    seen = []

    async def double(request, context):
        x = np.frombuffer(request.raw_input_contents[0], "<f4")
        seen.append(len(x))
        answer = service_pb2.ModelInferResponse(raw_output_contents=[(2 * x).tobytes()])
        answer.outputs.add(name="y", datatype="FP32", shape=[len(x), 1])
        return answer

    server.infer = double
    x = np.arange(11, dtype=np.float32)[:, None]
    found = await backend.infer("m", {"x": x}, ["y"], timeout_s=60)
    np.testing.assert_array_equal(found["y"], 2 * x)
    assert sorted(seen) == batches


async def test_when_one_batch_fails_the_others_are_ended(server_and_backend):
    server, backend = server_and_backend
    server.max_batch_size = 1
    ended = asyncio.Event()

    async def first_fails(request, context):
        if server.calls == 2:
            await context.abort(grpc.StatusCode.INTERNAL, "the reason")
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    server.infer = first_fails
    with pytest.raises(InferenceFailed, match="m: the reason"):
        await run(backend, timeout_s=30)
    await asyncio.wait_for(ended.wait(), 60)


async def test_a_model_unloaded_since_it_was_listed_is_passed_over(server_and_backend):
    server, backend = server_and_backend
    server.state = "READY"
    assert list(await backend.bundles()) == []
    assert not await backend.ready()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (response(datatype="FP16"), "output 'y' is FP16, expected FP32"),
        (response(name="z"), r"left out the outputs \['y'\]"),
    ],
)
async def test_an_answer_that_does_not_fit_is_refused(server_and_backend, answer, message):
    server, backend = server_and_backend

    async def reply(request, context):
        return answer

    server.infer = reply
    with pytest.raises(InferenceFailed, match=message):
        await run(backend)


async def test_a_server_whose_models_are_not_ready_has_no_bundles(server_and_backend):
    _, backend = server_and_backend
    assert list(await backend.bundles()) == []
    assert not await backend.ready()


async def test_nobody_there_is_unavailable_at_once():
    backend = TritonBackend("127.0.0.1:1")
    with pytest.raises(InferenceUnavailable, match=r"127\.0\.0\.1:1 cannot be used now"):
        await run(backend)
    assert not await backend.ready()
    await backend.close()
