"""Runs models on a Triton Inference Server over gRPC (the KServe v2 protocol with raw tensors)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earwitness.inference.backend import FloatArray, InferenceFailed, InferenceUnavailable
from earwitness.inference.metadata import BundleMetadata, complete_bundles
from earwitness.inference.repository import parameter_texts

CONTROL_TIMEOUT_S = 5.0
"""For questions about the server, which it answers without running a model."""

DEAD_STUB = "is not healthy"
"""Triton's words, with status INTERNAL, for a model whose python backend process has died."""

CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A restarted server is found again within two seconds, not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class TritonBackend:
    """A Triton server at `url` (host:port of its gRPC endpoint), an `InferenceBackend`.

    Nothing is asked of the server before the first call. Metadata of bundles are kept for as long as the connection
    lasts: a restarted server may serve other models.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._channel: grpc.aio.Channel | None = None
        self._stub: service_pb2_grpc.GRPCInferenceServiceStub | None = None
        self._version: str | None = None
        self._parameters: dict[tuple[str, str], dict[str, str]] = {}
        """Parameters of served models by name and version."""

    @property
    def description(self) -> str:
        return f"triton at {self._url} ({self._version or 'not reached yet'})"

    async def bundles(self) -> Sequence[BundleMetadata]:
        """Every bundle whose three models the server has ready, sorted by name.

        Raises: InferenceUnavailable.
        """
        index = await self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest(ready=True))
        ready = [(model.name, model.version) for model in index.models if model.state == "READY"]
        parameters = await asyncio.gather(*(self._parameters_of(*each) for each in ready))
        return complete_bundles({name: found for (name, _), found in zip(ready, parameters, strict=True)})

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        """The named outputs of one served model for a batch; see `InferenceBackend.infer`. The arrays are read-only.

        A call that is cancelled or runs out of time is cancelled on the server too.
        """
        request = service_pb2.ModelInferRequest(model_name=served_name)
        for name, array in inputs.items():
            request.inputs.add(name=name, datatype="FP32", shape=array.shape)
            request.raw_input_contents.append(np.ascontiguousarray(array, dtype="<f4").tobytes())
        for name in outputs:
            request.outputs.add(name=name)
        try:
            response = await self._call("ModelInfer", request, timeout_s)
        except grpc.aio.AioRpcError as err:
            if err.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or DEAD_STUB in (
                err.details() or ""
            ):
                raise self._unavailable(err) from err
            if err.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError(f"{served_name} did not answer within {timeout_s} s") from err
            raise InferenceFailed(f"{served_name}: {err.details()}") from err
        return _decode(served_name, response, outputs)

    async def ready(self) -> bool:
        """True when the server is ready and holds a complete bundle; never raises."""
        try:
            answer = await self._ask("ServerReady", service_pb2.ServerReadyRequest())
            return bool(answer.ready) and bool(await self.bundles())
        except InferenceUnavailable:
            return False

    async def close(self) -> None:
        """Close the connection; a later call opens it again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _parameters_of(self, name: str, version: str) -> dict[str, str]:
        if (name, version) not in self._parameters:
            answer = await self._ask("ModelConfig", service_pb2.ModelConfigRequest(name=name, version=version))
            self._parameters[name, version] = parameter_texts(answer.config)
        return self._parameters[name, version]

    async def _ask(self, method: str, request: Any) -> Any:
        """A question about the server; every failure means that it cannot be used now."""
        try:
            answer = await self._call(method, request, CONTROL_TIMEOUT_S)
            if self._version is None:
                metadata = await self._call("ServerMetadata", service_pb2.ServerMetadataRequest(), CONTROL_TIMEOUT_S)
                self._version = metadata.version
        except grpc.aio.AioRpcError as err:
            raise self._unavailable(err) from err
        return answer

    async def _call(self, method: str, request: Any, timeout_s: float | None) -> Any:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._url, options=CHANNEL_OPTIONS)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        if self._channel.get_state() is not grpc.ChannelConnectivity.READY:
            # A lost connection is only made again by a call, so no restart between two calls goes unnoticed.
            self._forget()
        return await getattr(self._stub, method)(request, timeout=timeout_s)

    def _forget(self) -> None:
        self._parameters.clear()
        self._version = None

    def _unavailable(self, err: grpc.aio.AioRpcError) -> InferenceUnavailable:
        self._forget()
        return InferenceUnavailable(
            f"the inference server at {self._url} cannot be used now ({err.code().name}: {err.details()}); "
            "start Triton (`earwitness up`) or give the address of its gRPC endpoint"
        )


def _decode(served_name: str, response: Any, outputs: Sequence[str]) -> dict[str, FloatArray]:
    found = {}
    for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if tensor.datatype != "FP32":
            raise InferenceFailed(f"{served_name}: output {tensor.name!r} is {tensor.datatype}, expected FP32")
        found[tensor.name] = np.frombuffer(raw, dtype="<f4").reshape(tuple(tensor.shape))
    missing = [name for name in outputs if name not in found]
    if missing:
        raise InferenceFailed(f"{served_name}: the server left out the outputs {missing}")
    return {name: found[name] for name in outputs}
