"""Runs models on a Triton Inference Server over gRPC (the KServe v2 protocol with raw tensors)."""

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earwitness import tracing
from earwitness.inference.backend import (
    FloatArray,
    InferenceFailed,
    InferenceOverloaded,
    InferenceUnavailable,
    ModelNotServed,
    in_batches,
    require_weights,
)
from earwitness.inference.metadata import BundleMetadata, Bundles, find_bundles
from earwitness.inference.repository import parameter_texts
from earwitness.rpc.channel import RECONNECT_OPTIONS
from earwitness.rpc.dialled import ClientTls, Dialled
from earwitness.rpc.proxies import told

CONTROL_TIMEOUT_S = 5.0
"""For questions about the server, which it answers without running a model."""

SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
DEAD_STUB = "is not healthy"
"""Triton's words, with status INTERNAL, for a model whose python backend process has died."""
RAISED = re.compile(
    r"Failed to process the request\(s\) for model '[^']*', message: (?:\w+: )?(.*?)(?:\n\nAt:\n.*)?", re.DOTALL
)
"""What Triton makes of an exception of the python-based backend: around its message, where it was raised."""
REFUSED = ("Exceeds maximum queue size", "Request timeout expired")
"""Triton's words, with status UNAVAILABLE, for a request over a model's max_queue_size, or that waited longer than its
queue policy lets it."""
TOO_LARGE = "larger than max"
"""gRPC's words, with status RESOURCE_EXHAUSTED, for a message over the server's limit: no wait makes it fit."""

CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    *RECONNECT_OPTIONS,
)


class TritonBackend:
    """A Triton server at `url` (host:port of its gRPC endpoint), an `InferenceBackend`; in plain text without `tls`.

    Nothing is asked of the server before the first call. Metadata of bundles are kept for as long as the connection
    lasts: a restarted server, or another one behind the same name, may serve other models.
    """

    def __init__(self, url: str, tls: ClientTls | None = None) -> None:
        """Raises: FailedPrecondition, OSError for TLS files that cannot be used."""
        self._url = url
        # What the server said is forgotten as soon as its connection is lost: before an answer comes over the next one.
        self._server = Dialled(
            url, service_pb2_grpc.GRPCInferenceServiceStub, CHANNEL_OPTIONS, tls, on_change=self._changed
        )
        self._version: str | None = None
        self._generation = 0
        self._configs: dict[tuple[str, str], Any] = {}
        """Configurations of served models by name and version; "" is the newest."""

    @property
    def description(self) -> str:
        return f"triton at {self._url} ({self._version or 'not reached yet'})"

    @property
    def generation(self) -> int:
        """Counts the changes of the connection."""
        return self._generation

    async def bundles(self) -> Sequence[BundleMetadata]:
        """Every bundle whose models the server has ready, sorted by name.

        Raises: InferenceUnavailable.
        """
        return (await self._found()).usable

    async def left_out(self) -> Mapping[str, str]:
        """The bundles that the server has and that cannot be used, by name, each with the server's reason."""
        return (await self._found()).left_out

    async def _found(self) -> Bundles:
        index = (await self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest())).models
        ready = [(model.name, model.version) for model in index if model.state == "READY"]
        parameters = await asyncio.gather(*(self._parameters_of(*each) for each in ready))
        served = {name: found for (name, _), found in zip(ready, parameters, strict=True)}
        unready = {model.name: _why_not(model) for model in index if model.name not in served}
        return find_bundles(served, unready)

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        weights_sha256: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        """The named outputs of one served model for a batch; see `InferenceBackend.infer`. The arrays are read-only.

        A call that is cancelled or runs out of time is cancelled on the server too.
        """

        async def run(batch: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
            return await self._infer(served_name, batch, outputs, timeout_s)

        try:
            async with asyncio.timeout(timeout_s):
                config = await self._config_of(served_name)
                found = await in_batches(run, inputs, config.max_batch_size or sys.maxsize)
                # Looked at after the answer: what was known before it is forgotten if it came over another connection.
                require_weights(served_name, parameter_texts(await self._config_of(served_name)), weights_sha256)
                return found
        except TimeoutError as err:
            raise TimeoutError(f"{served_name} did not answer within {timeout_s} s") from err

    async def ready(self) -> bool:
        """True when the server has a usable bundle, whatever else it could not load; never raises."""
        try:
            return bool(await self.bundles())
        except InferenceUnavailable:
            return False

    async def close(self) -> None:
        """Close the connection; a later call opens it again."""
        await self._server.close()
        self._forget()

    async def _infer(
        self, served_name: str, inputs: Mapping[str, FloatArray], outputs: Sequence[str], timeout_s: float | None
    ) -> dict[str, FloatArray]:
        request = service_pb2.ModelInferRequest(model_name=served_name)
        for name, array in inputs.items():
            request.inputs.add(name=name, datatype="FP32", shape=array.shape)
            request.raw_input_contents.append(np.ascontiguousarray(array, dtype="<f4").tobytes())
        for name in outputs:
            request.outputs.add(name=name)
        about: dict[str, tracing.Value] = {
            "server.address": self._url,
            "earwitness.served_model": served_name,
            "earwitness.rows": len(next(iter(inputs.values()))),
        }
        try:
            # A search makes many calls, and Triton traces each that has our headers, whatever they say.
            with tracing.call(SERVICE, "ModelInfer", about, repeats=served_name) as span:
                response = await self._call("ModelInfer", request, timeout_s, span.headers)
        except grpc.aio.AioRpcError as err:
            raise self._failure(served_name, err) from err
        return _decode(served_name, response, outputs)

    async def _parameters_of(self, name: str, version: str) -> dict[str, str]:
        try:
            return parameter_texts(await self._config_of(name, version))
        except ModelNotServed:  # unloaded since it was listed
            return {}

    async def _config_of(self, name: str, version: str = "") -> Any:
        """A served model's configuration. Raises: ModelNotServed, InferenceUnavailable."""
        if (name, version) not in self._configs:
            request = service_pb2.ModelConfigRequest(name=name, version=version)
            self._configs[name, version] = (await self._ask("ModelConfig", request)).config
        return self._configs[name, version]

    async def _ask(self, method: str, request: Any) -> Any:
        """A question about the server; a failure means that it has not what was asked for, or cannot be used now."""
        try:
            answer = await self._call(method, request, CONTROL_TIMEOUT_S)
            if self._version is None:
                metadata = await self._call("ServerMetadata", service_pb2.ServerMetadataRequest(), CONTROL_TIMEOUT_S)
                self._version = metadata.version
        except grpc.aio.AioRpcError as err:
            if err.code() == grpc.StatusCode.NOT_FOUND:
                raise self._failure(getattr(request, "name", method), err) from err
            raise self._unavailable(err) from err
        return answer

    async def _call(self, method: str, request: Any, timeout_s: float | None, metadata: tracing.Headers = ()) -> Any:
        return await getattr(self._server.stub, method)(request, timeout=timeout_s, metadata=metadata)

    def _changed(self) -> None:
        self._generation += 1
        self._forget()

    def _forget(self) -> None:
        self._configs.clear()
        self._version = None

    def _failure(self, served_name: str, err: grpc.aio.AioRpcError) -> Exception:
        """What a model's failed call means."""
        code, details = err.code(), err.details() or ""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimeoutError(details)
        if code is grpc.StatusCode.NOT_FOUND:
            self._forget()
            return ModelNotServed(served_name, f"the inference server at {self._url} says: {details}")
        if any(words in details for words in REFUSED) or (
            code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE not in details
        ):
            return InferenceOverloaded(f"the inference server at {self._url} is overloaded ({details}); try again")
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or DEAD_STUB in details:
            return self._unavailable(err)
        raised = RAISED.fullmatch(details)
        return InferenceFailed(f"{served_name}: {raised[1] if raised else details}")

    def _unavailable(self, err: grpc.aio.AioRpcError) -> InferenceUnavailable:
        self._forget()
        return InferenceUnavailable(
            f"the inference server at {self._url} cannot be used now ({err.code().name}: {err.details()}); "
            f"start Triton (`earwitness up`) or give the address of its gRPC endpoint{told(self._url)}"
        )


def _why_not(model: Any) -> str:
    """Why a model of the server's index is not ready. What the python backend adds of its calls is left out."""
    if not model.reason:
        return "the inference server did not load it; its log says why"
    return f"the inference server could not load it ({model.reason.partition(chr(10))[0]}); its log says more"


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
