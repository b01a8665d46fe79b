"""The config.pbtxt of a bundle's three models, through Triton's own protobuf."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2

from earwitness.inference import stamping
from earwitness.inference.metadata import BundleMetadata, Role
from earwitness.training.export import search_graph
from earwitness.training.export.forward_graphs import PROBABILITY
from earwitness.training.export.onnx_writer import MAX_BATCH_SIZE


@dataclass(frozen=True)
class TensorPort:
    """A float32 input or output of a served model; `shape` is without the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Ports:
    """Inputs and outputs of one served model, in the order of its graph."""

    inputs: tuple[TensorPort, ...]
    outputs: tuple[TensorPort, ...]


def ports(metadata: BundleMetadata, role: Role) -> Ports:
    """What the model in `role` takes and returns."""
    z = TensorPort("z", (metadata.latent_size,))
    spectrogram = TensorPort("spectrogram", metadata.spectrogram_shape)
    if role == "generator":
        return Ports((z,), (spectrogram,))
    if role == "classifier":
        layers = [TensorPort(layer.name, (layer.unit_count,)) for layer in metadata.layers]
        if metadata.output_kind == "logit" and metadata.probability_kind == "none":
            return Ports((spectrogram,), tuple(layers))
        return Ports((spectrogram,), (TensorPort(PROBABILITY, (metadata.output_layer.unit_count,)), *layers))
    sizes = {"unit_weights": metadata.unit_count, "gradient": metadata.latent_size, "z": metadata.latent_size}
    inputs, outputs = (
        tuple(TensorPort(name, (sizes.get(name, 1),)) for name in names)
        for names in (search_graph.INPUTS, search_graph.OUTPUTS)
    )
    return Ports(inputs, outputs)


def config_text(metadata: BundleMetadata, role: Role, runtime: Mapping[str, str]) -> str:
    """config.pbtxt of the model in `role`; `runtime` are parameters for the ONNX Runtime backend, by name."""
    config = model_config_pb2.ModelConfig(
        name=metadata.served_name(role), backend="onnxruntime", max_batch_size=MAX_BATCH_SIZE
    )
    model_ports = ports(metadata, role)
    for declared, tensors in ((config.input, model_ports.inputs), (config.output, model_ports.outputs)):
        for tensor in tensors:
            declared.add(name=tensor.name, data_type=model_config_pb2.TYPE_FP32, dims=tensor.shape)
    config.version_policy.latest.num_versions = 1
    # No kind: the instance runs on a GPU where there is one, else on the CPU.
    config.instance_group.add(count=1)
    config.dynamic_batching.SetInParent()
    stamping.bound_queue(config)
    _warm_up(config, model_ports.inputs)
    for name, value in {**runtime, **metadata.to_parameters(role)}.items():
        config.parameters[name].string_value = value
    return stamping.config_text(config)


def _warm_up(config: model_config_pb2.ModelConfig, inputs: Sequence[TensorPort]) -> None:
    warm_up = config.model_warmup.add(name="one_row", batch_size=1)
    for tensor in inputs:
        sample = warm_up.inputs[tensor.name]
        sample.data_type = model_config_pb2.TYPE_FP32
        sample.dims.extend(tensor.shape)
        sample.zero_data = True
