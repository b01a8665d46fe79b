"""What a Triton says of a model that is not ours, and how it is asked."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.inference.backend import InferenceUnavailable
from earwitness.inference.repository import parameter_texts
from earwitness.inference.triton import CHANNEL_OPTIONS, CONTROL_TIMEOUT_S
from earwitness.registration.axes import Port
from earwitness.rpc.proxies import proxy_options, told

LISTED = 12
"""Most models that a message lists."""
MAX_ROWS = 256
"""Most rows of a call."""
CALL_TIMEOUT_S = 120.0
WIDTHS: Mapping[str, type[np.floating[Any]]] = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}

AnyFloats = NDArray[np.floating[Any]]


class ModelRefuses(FailedPrecondition):
    """A served model does not answer what it says that it takes."""

    reason = "MODEL_REFUSES"


@dataclass(frozen=True)
class Served:
    """A ready model: the inputs that it must be given and its outputs, both without the batch.

    `batches` is whether the batch is Triton's own (max_batch_size); else it is the first axis of the tensors, of any
    size, or where `max_rows` is 1 of size 1.
    """

    name: str
    version: str
    backend: str
    batches: bool
    max_rows: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class Triton:
    """A Triton at `url` (host:port of its gRPC endpoint). Use `asking`."""

    def __init__(self, url: str, channel: grpc.aio.Channel) -> None:
        self.url = url
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    async def find(self, name: str, field: str, version: int | None = None) -> Served:
        """The model of that name, in the newest version that is ready unless one is given.

        Raises: InvalidArgument naming `field` for a model that is not served, not ready or takes rows in no way that a
        search can give them; InferenceUnavailable.
        """
        index = (await self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest())).models
        of_name = [model for model in index if model.name == name]
        if not of_name:
            raise InvalidArgument(field, f"the Triton at {self.url} has no model {name!r}; it has {_some(index)}")
        ready = {model.version: model for model in of_name if model.state == "READY"}
        if version is not None and str(version) not in ready:
            raise InvalidArgument(
                field, f"version {version} of {name!r} is not ready; {', '.join(sorted(ready)) or 'none'} is"
            )
        if not ready:
            why = next((model.reason for model in of_name if model.reason), "Triton's log says why")
            raise InvalidArgument(
                field,
                f"the Triton at {self.url} has {name!r}, but it is not ready ({' '.join(why.split())}); get it loaded, "
                "then register it",
            )
        newest = str(version) if version is not None else max(ready, key=int)
        answer = await self._ask("ModelConfig", service_pb2.ModelConfigRequest(name=name, version=newest))
        return _served(answer.config, newest, field)

    async def parameters(self, model: Served) -> dict[str, str]:
        """Those of the model's config.pbtxt. Raises: InferenceUnavailable."""
        request = service_pb2.ModelConfigRequest(name=model.name, version=model.version)
        return parameter_texts((await self._ask("ModelConfig", request)).config)

    async def infer(
        self, model: Served, inputs: Mapping[str, AnyFloats], outputs: Sequence[str]
    ) -> dict[str, AnyFloats]:
        """The named outputs for rows of inputs, in the data types that the model says, any number of rows.

        Raises: ModelRefuses with Triton's words, or for an answer of other types or numbers of rows;
        InferenceUnavailable.
        """
        rows = len(next(iter(inputs.values())))
        parts = []
        for first in range(0, rows, model.max_rows):
            some = {name: values[first : first + model.max_rows] for name, values in inputs.items()}
            parts.append(await self._infer(model, some, outputs))
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    async def load(self, name: str) -> str | None:
        """Ask for a model to be loaded, as a Triton in explicit mode does; why it was not, None where it was.

        Raises: InferenceUnavailable when there is no Triton.
        """
        try:
            request = service_pb2.RepositoryModelLoadRequest(model_name=name)
            await self._stub.RepositoryModelLoad(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as err:
            return " ".join((err.details() or err.code().name).split())
        return None

    async def _infer(
        self, model: Served, inputs: Mapping[str, AnyFloats], outputs: Sequence[str]
    ) -> dict[str, AnyFloats]:
        request = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version)
        types = {port.name: port.datatype for port in model.inputs}
        rows = len(next(iter(inputs.values())))
        for name, values in inputs.items():
            request.inputs.add(name=name, datatype=types[name], shape=values.shape)
            little = np.dtype(WIDTHS[types[name]]).newbyteorder("<")
            request.raw_input_contents.append(np.ascontiguousarray(values, little).tobytes())
        for name in outputs:
            request.outputs.add(name=name)
        try:
            answer = await self._stub.ModelInfer(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as err:
            if err.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise self._unavailable(err) from err
            shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in inputs.items())
            raise ModelRefuses(f"{model.name} fails for {shapes}: {' '.join((err.details() or '').split())}") from err
        found: dict[str, AnyFloats] = {}
        for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
            if tensor.datatype in WIDTHS:
                values = np.frombuffer(raw, np.dtype(WIDTHS[tensor.datatype]).newbyteorder("<"))
                found[tensor.name] = values.reshape(tuple(tensor.shape))
        for name in outputs:
            if name not in found:
                raise ModelRefuses(f"{model.name} was asked for {name!r} and did not give it as a float")
            if found[name].ndim == 0 or len(found[name]) != rows:
                raise ModelRefuses(
                    f"{model.name} gives {name!r} of shape {list(found[name].shape)} for {rows} rows; a search needs "
                    "one for each row, with the rows in front"
                )
        return found

    async def _ask(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=CONTROL_TIMEOUT_S)
        except grpc.aio.AioRpcError as err:
            raise self._unavailable(err) from err

    def _unavailable(self, err: grpc.aio.AioRpcError) -> InferenceUnavailable:
        return InferenceUnavailable(
            f"the Triton at {self.url} does not answer ({err.code().name}: {' '.join((err.details() or '').split())}); "
            f"give the address of its gRPC endpoint, port 8001 unless it was told another{told(self.url)}"
        )


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Triton]:
    """The Triton at `url`, connected while open."""
    async with grpc.aio.insecure_channel(url, [*CHANNEL_OPTIONS, *proxy_options(url)]) as channel:
        yield Triton(url, channel)


def _served(config: Any, version: str, field: str) -> Served:
    inputs = tuple(_port(tensor) for tensor in config.input if not tensor.optional)
    outputs = tuple(map(_port, config.output))
    rows = config.max_batch_size
    if config.model_transaction_policy.decoupled:
        raise InvalidArgument(
            field, f"{config.name!r} is decoupled, it may give any number of answers; a search needs one for each row"
        )
    if config.HasField("sequence_batching"):
        raise InvalidArgument(
            field,
            f"{config.name!r} keeps state between requests (sequence batching), so that a sound has no activation of "
            "its own; serve it with its state as inputs, or whole sequences",
        )
    if rows < 1:
        first = {port.shape[0] if port.shape else None for port in inputs}
        if first not in ({-1}, {1}):
            raise InvalidArgument(
                field,
                f"{config.name!r} takes no batch (max_batch_size 0, {'; '.join(map(str, inputs))}), and a search gives "
                "it rows: set max_batch_size in its config.pbtxt, or give its tensors a first axis of 1 or -1",
            )
        rows = MAX_ROWS if first == {-1} else 1
        inputs, outputs = (tuple(_without_rows(port) for port in ports) for ports in (inputs, outputs))
    return Served(
        name=config.name,
        version=version,
        backend=config.backend or config.platform,
        batches=config.max_batch_size > 0,
        max_rows=min(rows, MAX_ROWS),
        inputs=inputs,
        outputs=outputs,
    )


def _port(tensor: Any) -> Port:
    kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return Port(tensor.name, "BYTES" if kind == "STRING" else kind, tuple(tensor.dims))


def _without_rows(port: Port) -> Port:
    return Port(port.name, port.datatype, port.shape[1:])


def _some(index: Sequence[Any]) -> str:
    names = sorted({model.name for model in index})
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more if names else "none"


def only_input(model: Served, field: str) -> Port:
    """The one input that has to be given.

    Raises: InvalidArgument when there are several.
    """
    if len(model.inputs) != 1:
        raise InvalidArgument(
            field,
            f"{model.name!r} takes {len(model.inputs)} inputs ({'; '.join(map(str, model.inputs)) or 'none'}), a "
            "search gives it one: serve a model before it that gives the others (a Triton ensemble), and name that one",
        )
    return model.inputs[0]
