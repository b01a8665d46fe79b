"""A served bundle small enough to check by hand: every activation and gradient has a closed form.

    x = 2 · (z G) − 6                          spectrogram [B, bands, frames], flattened to [B, P]
    s = (x + 6) / 2                            the classifier's standardised input
    conv1_c = mean_p tanh(κ_c s_p + β_c)       C channels
    fc2 = tanh(s A)                            D neurons
    fc3 = fc2 V + b                            O logits; probability = sigmoid(fc3)

The units of the search graph are conv1, fc2, fc3 in this order. All of it is smooth, so finite differences agree too.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from google.protobuf import text_format
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2 as mc

from earwitness.features import LogMelProfile
from earwitness.inference.metadata import BundleMetadata, Layer, Role, UnitLabel
from earwitness.inference.stamping import MAX_QUEUE_SIZE

Array = NDArray[np.float64]
Defect = Literal["none", "zero_gradient", "frozen_gradient"]

PROFILE = LogMelProfile(
    "log-mel-8-test@1", sample_rate_hz=8_000, frame_length=256, hop_length=100, band_count=8, low_hz=60.0,
    high_hz=3_800.0, excerpt_frames=12,
)  # fmt: skip
LATENT, CHANNELS, DENSE, OUTPUTS = 6, 3, 5, 2
OPSET, IR_VERSION = 18, 10
MAX_BATCH = 256


@dataclass(frozen=True)
class TinyBundle:
    """The bundle's weights, metadata and float64 reference; U = CHANNELS + DENSE + OUTPUTS = 10 units."""

    repository: Path
    metadata: BundleMetadata
    generator: Array
    """G `[Z, P]`."""
    channel_gain: Array
    """κ `[C]`."""
    channel_bias: Array
    """β `[C]`."""
    dense: Array
    """A `[P, D]`."""
    output: Array
    """V `[D, O]`."""
    output_bias: Array
    """b `[O]`."""

    def spectrogram(self, z: NDArray[np.floating]) -> Array:
        """`z` `[B, Z]` → spectrogram `[B, bands, frames]`."""
        return (2 * (z @ self.generator) - 6).reshape(len(z), *self.metadata.spectrogram_shape)

    def layers(self, spectrogram: NDArray[np.floating]) -> dict[str, Array]:
        """Spectrogram `[B, bands, frames]` → activations `[B, units]` of every named layer."""
        s = (spectrogram.reshape(len(spectrogram), -1) + 6) / 2
        conv1 = np.tanh(s[:, None, :] * self.channel_gain[:, None] + self.channel_bias[:, None]).mean(axis=2)
        fc2 = np.tanh(s @ self.dense)
        return {"conv1": conv1, "fc2": fc2, "fc3": fc2 @ self.output + self.output_bias}

    def probability(self, spectrogram: NDArray[np.floating]) -> Array:
        """Spectrogram `[B, bands, frames]` → `[B, O]`."""
        return 1 / (1 + np.exp(-self.layers(spectrogram)["fc3"]))

    def search(
        self, z: NDArray[np.floating], unit_weights: NDArray[np.floating], prior_weight: NDArray[np.floating]
    ) -> tuple[Array, Array, Array]:
        """`z` `[B, Z]`, `unit_weights` `[B, U]`, `prior_weight` `[B, 1]` → activation `[B, 1]`, objective `[B, 1]`,
        gradient `[B, Z]`."""
        conv_w, dense_w, output_w = np.split(unit_weights, [CHANNELS, CHANNELS + DENSE], axis=1)
        units = self.layers(self.spectrogram(z))
        activation = (np.concatenate(list(units.values()), axis=1) * unit_weights).sum(axis=1, keepdims=True)
        objective = activation - prior_weight * (z**2).sum(axis=1, keepdims=True)
        s = z @ self.generator
        channels = np.tanh(s[:, None, :] * self.channel_gain[:, None] + self.channel_bias[:, None])
        to_s = ((1 - channels**2) * (conv_w * self.channel_gain)[:, :, None]).sum(axis=1) / s.shape[1]
        to_s += ((dense_w + output_w @ self.output.T) * (1 - units["fc2"] ** 2)) @ self.dense.T
        return activation, objective, to_s @ self.generator.T - 2 * prior_weight * z


def write_tiny_bundle(
    repository: Path,
    name: str = "tiny",
    seed: int = 0,
    defect: Defect = "none",
    *,
    digests: bool = True,
    gradient: bool = True,
) -> TinyBundle:
    """Write the three served models of a bundle drawn from `seed` into `repository`, following DESIGN.md section 4;
    without `gradient` two of them.

    `defect` spoils the gradient output of the search graph, as a wrong export would: all zeros, or one for every z.
    Without `digests` of its files it is as earlier versions exported it.
    """
    rng = np.random.default_rng(seed)
    positions = PROFILE.band_count * PROFILE.excerpt_frames
    weights = {
        "generator": rng.normal(0, LATENT**-0.5, (LATENT, positions)),
        "channel_gain": rng.uniform(0.5, 1.5, CHANNELS) * [1, -1, 1],
        "channel_bias": rng.normal(0, 0.3, CHANNELS),
        "dense": rng.normal(0, positions**-0.5, (positions, DENSE)),
        "output": rng.normal(0, DENSE**-0.5, (DENSE, OUTPUTS)),
        "output_bias": rng.normal(0, 0.2, OUTPUTS),
    }
    weights = {key: value.astype(np.float32).astype(np.float64) for key, value in weights.items()}
    metadata = BundleMetadata(
        name=name,
        latent_size=LATENT,
        sample_rate_hz=PROFILE.sample_rate_hz,
        spectrogram_shape=PROFILE.excerpt_shape,
        layers=(
            Layer("conv1", "conv", CHANNELS, 0),
            Layer("fc2", "dense", DENSE, CHANNELS),
            Layer("fc3", "output", OUTPUTS, CHANNELS + DENSE),
        ),
        labels=(UnitLabel(0, "vocal", "non-vocal"), UnitLabel(1, "bright", "dark")),
        features=PROFILE.to_dict(),
        training_data=f"none: weights drawn from seed {seed}",
        weights_sha256=hashlib.sha256(b"".join(value.tobytes() for value in weights.values())).hexdigest(),
        has_gradient=gradient,
    )
    bundle = TinyBundle(repository, metadata, **weights)
    graphs: dict[Role, onnx.GraphProto] = {
        "generator": _generator_graph(bundle),
        "classifier": _classifier_graph(bundle),
    }
    if gradient:
        graphs["search"] = _search_graph(bundle, defect)
    models = {role: _model(graph).SerializeToString(deterministic=True) for role, graph in graphs.items()}
    if digests:
        sums = {role: hashlib.sha256(model).hexdigest() for role, model in models.items()}
        bundle = replace(bundle, metadata=replace(metadata, model_sha256=sums))
    for role, graph in graphs.items():
        folder = repository / metadata.served_name(role)
        (folder / "1").mkdir(parents=True, exist_ok=True)
        (folder / "1" / "model.onnx").write_bytes(models[role])
        (folder / "config.pbtxt").write_text(text_format.MessageToString(_config(bundle, role, graph)))
    return bundle


def flip_a_bit(classifier_file: Path) -> None:
    """The sign of one weight of the output layer."""
    model = onnx.load(classifier_file)
    (weights,) = [each for each in model.graph.initializer if each.name == "output"]
    content = bytearray(weights.raw_data)
    content[3] ^= 0x80
    weights.raw_data = bytes(content)
    classifier_file.write_bytes(model.SerializeToString(deterministic=True))


def _generator_graph(bundle: TinyBundle) -> onnx.GraphProto:
    return helper.make_graph(
        _generator_nodes("spectrogram"),
        "generator",
        [_value("z", LATENT)],
        [_value("spectrogram", *PROFILE.excerpt_shape)],
        _initializers(bundle),
    )


def _classifier_graph(bundle: TinyBundle) -> onnx.GraphProto:
    return helper.make_graph(
        [*_classifier_nodes("spectrogram"), helper.make_node("Sigmoid", ["fc3"], ["probability"])],
        "classifier",
        [_value("spectrogram", *PROFILE.excerpt_shape)],
        [_value("probability", OUTPUTS), *(_value(each.name, each.unit_count) for each in bundle.metadata.layers)],
        _initializers(bundle),
    )


def _search_graph(bundle: TinyBundle, defect: Defect) -> onnx.GraphProto:
    node = helper.make_node
    nodes = [
        *_generator_nodes("x"),
        *_classifier_nodes("x"),
        node("Concat", ["conv1", "fc2", "fc3"], ["units"], axis=1),
        node("Mul", ["units", "unit_weights"], ["weighted"]),
        node("ReduceSum", ["weighted", "axis_1"], ["activation"], keepdims=1),
        node("Mul", ["z", "z"], ["z_squared"]),
        node("ReduceSum", ["z_squared", "axis_1"], ["norm_squared"], keepdims=1),
        node("Mul", ["prior_weight", "norm_squared"], ["prior"]),
        node("Sub", ["activation", "prior"], ["objective"]),
        # back from the units to s
        node("Split", ["unit_weights", "unit_split"], ["conv_w", "dense_w", "output_w"], axis=1),
        node("MatMul", ["output_w", "output_transposed"], ["from_output"]),
        node("Add", ["dense_w", "from_output"], ["to_fc2"]),
        node("Mul", ["fc2", "fc2"], ["fc2_squared"]),
        node("Sub", ["one", "fc2_squared"], ["fc2_slope"]),
        node("Mul", ["to_fc2", "fc2_slope"], ["to_fc2_in"]),
        node("MatMul", ["to_fc2_in", "dense_transposed"], ["from_dense"]),
        node("Mul", ["channels", "channels"], ["channels_squared"]),
        node("Sub", ["one", "channels_squared"], ["channels_slope"]),
        node("Unsqueeze", ["conv_w", "axis_2"], ["conv_w_wide"]),
        node("Mul", ["conv_w_wide", "gain_over_positions"], ["to_channels"]),
        node("Mul", ["to_channels", "channels_slope"], ["to_channels_in"]),
        node("ReduceSum", ["to_channels_in", "axis_1"], ["from_conv"], keepdims=0),
        node("Add", ["from_dense", "from_conv"], ["to_s"]),
        # s = z G, so the generator's scale and offset have cancelled
        node("MatMul", ["to_s", "generator_transposed"], ["from_units"]),
        node("Mul", ["two", "prior_weight"], ["two_prior"]),
        node("Mul", ["two_prior", "z"], ["from_prior"]),
        node("Sub", ["from_units", "from_prior"], ["exact_gradient"]),
        node("Mul", ["exact_gradient", "zero" if defect != "none" else "one"], ["kept_gradient"]),
        node("Add", ["kept_gradient", "one" if defect == "frozen_gradient" else "zero"], ["gradient"]),
    ]
    return helper.make_graph(
        nodes,
        "search",
        [_value("z", LATENT), _value("unit_weights", bundle.metadata.unit_count), _value("prior_weight", 1)],
        [_value("activation", 1), _value("objective", 1), _value("gradient", LATENT)],
        _initializers(bundle),
    )


def _generator_nodes(output: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", ["z", "generator"], ["generated"]),
        helper.make_node("Mul", ["generated", "two"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "six"], ["levels"]),
        helper.make_node("Reshape", ["levels", "excerpt_shape"], [output]),
    ]


def _classifier_nodes(source: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Add", [source, "six"], ["lifted"]),
        helper.make_node("Div", ["lifted", "two"], ["standardised"]),
        helper.make_node("Reshape", ["standardised", "flat_shape"], ["s"]),
        helper.make_node("Unsqueeze", ["s", "axis_1"], ["s_wide"]),
        helper.make_node("Mul", ["s_wide", "channel_gain"], ["gained"]),
        helper.make_node("Add", ["gained", "channel_bias"], ["channels_in"]),
        helper.make_node("Tanh", ["channels_in"], ["channels"]),
        helper.make_node("ReduceMean", ["channels", "axis_2"], ["conv1"], keepdims=0),
        helper.make_node("MatMul", ["s", "dense"], ["fc2_in"]),
        helper.make_node("Tanh", ["fc2_in"], ["fc2"]),
        helper.make_node("MatMul", ["fc2", "output"], ["fc3_in"]),
        helper.make_node("Add", ["fc3_in", "output_bias"], ["fc3"]),
    ]


def _initializers(bundle: TinyBundle) -> list[TensorProto]:
    gain = bundle.channel_gain[:, None]
    floats = {
        "generator": bundle.generator,
        "generator_transposed": bundle.generator.T,
        "channel_gain": gain,
        "gain_over_positions": gain / bundle.generator.shape[1],
        "channel_bias": bundle.channel_bias[:, None],
        "dense": bundle.dense,
        "dense_transposed": bundle.dense.T,
        "output": bundle.output,
        "output_transposed": bundle.output.T,
        "output_bias": bundle.output_bias,
        "zero": np.array(0),
        "one": np.array(1),
        "two": np.array(2),
        "six": np.array(6),
    }
    integers = {
        "axis_1": [1],
        "axis_2": [2],
        "excerpt_shape": [-1, *PROFILE.excerpt_shape],
        "flat_shape": [-1, bundle.generator.shape[1]],
        "unit_split": [CHANNELS, DENSE, OUTPUTS],
    }
    return [
        *(numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in floats.items()),
        *(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in integers.items()),
    ]


def _value(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _config(bundle: TinyBundle, role: Role, graph: onnx.GraphProto) -> mc.ModelConfig:
    def dims(value: onnx.ValueInfoProto) -> list[int]:
        return [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]

    config = mc.ModelConfig(
        name=bundle.metadata.served_name(role),
        backend="onnxruntime",
        max_batch_size=MAX_BATCH,
        input=[mc.ModelInput(name=v.name, data_type=mc.TYPE_FP32, dims=dims(v)) for v in graph.input],
        output=[mc.ModelOutput(name=v.name, data_type=mc.TYPE_FP32, dims=dims(v)) for v in graph.output],
        instance_group=[mc.ModelInstanceGroup(count=1)],
        dynamic_batching=mc.ModelDynamicBatching(
            default_queue_policy=mc.ModelQueuePolicy(max_queue_size=MAX_QUEUE_SIZE)
        ),
    )
    warmup = config.model_warmup.add(name="one row", batch_size=1)
    for value in graph.input:
        warmup.inputs[value.name].CopyFrom(
            mc.ModelWarmup.Input(data_type=mc.TYPE_FP32, dims=dims(value), zero_data=True)
        )
    parameters = {**bundle.metadata.to_parameters(role), "intra_op_thread_count": "1"}
    for key, text in parameters.items():
        config.parameters[key].string_value = text
    return config
