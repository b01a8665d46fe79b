"""What `TritonBackend` makes of servers that misbehave as the real one cannot be made to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earwitness.inference.backend import InferenceFailed, InferenceUnavailable
from earwitness.inference.triton import TritonBackend

Answer = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A KServe v2 server whose answers each test sets."""

    def __init__(self) -> None:
        self.infer: Answer
        self.calls = 0

    async def ServerReady(self, request, context):  # noqa: N802 -- named by the protocol
        return service_pb2.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request, context):  # noqa: N802
        return service_pb2.ServerMetadataResponse(version="0")

    async def RepositoryIndex(self, request, context):  # noqa: N802
        model = service_pb2.RepositoryIndexResponse.ModelIndex(name="m", version="1", state="UNAVAILABLE")
        return service_pb2.RepositoryIndexResponse(models=[model])

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
    await asyncio.wait_for(cancelled.wait(), 5)

    cancelled.clear()
    task = asyncio.create_task(run(backend))
    while server.calls < 2:  # noqa: ASYNC110 -- the server has no event to wait for
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(cancelled.wait(), 5)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, InferenceUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimeoutError),
        (grpc.StatusCode.INVALID_ARGUMENT, InferenceFailed),
        (grpc.StatusCode.NOT_FOUND, InferenceFailed),
        (grpc.StatusCode.INTERNAL, InferenceFailed),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, InferenceFailed),
    ],
)
async def test_each_status_becomes_its_error(server_and_backend, code, expected):
    server, backend = server_and_backend

    async def abort(request, context):
        await context.abort(code, "the reason")

    server.infer = abort
    with pytest.raises(expected) as caught:
        await run(backend, timeout_s=5)
    assert expected is TimeoutError or "the reason" in str(caught.value)


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
