"""The config.pbtxt files of a registered bundle: ensembles over models that a Triton serves already, and adapters.

An ensemble gives a classifier of any backend the names and shapes that the explainer asks for, without touching it: it
only says which tensor goes where. What it cannot do (move axes, cast, average) a small ONNX model beside it does; the
ONNX Runtime backend is there anyway, for the generator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as mc

from earwitness.inference.repository import ONNX_BACKEND
from earwitness.inference.stamping import bound_queue
from earwitness.registration.axes import Intake, Port
from earwitness.registration.served import Served
from earwitness.registration.units import Source

Z, SPECTROGRAM = "z", "spectrogram"
VERSION = "1"


@dataclass(frozen=True)
class Written:
    """A model to write: its configuration, and the content of model.onnx where it has one."""

    config: mc.ModelConfig
    content: bytes | None = None


def ensemble_of_one(
    served_name: str, model: Served, inputs: Mapping[str, Port], outputs: Mapping[str, Port]
) -> Written:
    """An ensemble that is `model` with other names: ours to its ports."""
    config = _ensemble(served_name, model)
    for name, port in inputs.items():
        config.input.add(name=name, data_type=mc.TYPE_FP32, dims=_dims(model, port.shape))
    for name, port in outputs.items():
        config.output.add(name=name, data_type=mc.TYPE_FP32, dims=_dims(model, port.shape))
    step = config.ensemble_scheduling.step.add(model_name=model.name, model_version=int(model.version))
    step.input_map.update({port.name: name for name, port in inputs.items()})
    step.output_map.update({port.name: name for name, port in outputs.items()})
    return Written(config)


def classifier(served_name: str, model: Served, intake: Intake, sources: Sequence[Source]) -> dict[str, Written]:
    """The ensemble `served_name`, spectrogram to every layer, and the adapters that it needs, by served name."""
    config = _ensemble(served_name, model)
    config.input.add(name=SPECTROGRAM, data_type=mc.TYPE_FP32, dims=_dims(model, intake.spectrogram_shape))
    for source in sources:
        config.output.add(name=source.layer.name, data_type=mc.TYPE_FP32, dims=_dims(model, (source.layer.unit_count,)))
    written = {served_name: Written(config)}
    steps = config.ensemble_scheduling.step
    given = SPECTROGRAM
    if not intake.is_plain:
        from earwitness.registration.adapters import ADAPTED, intake_model

        given = ADAPTED
        name = f"{served_name}_input"
        adapter = _adapter(
            name,
            model,
            [(SPECTROGRAM, "FP32", intake.spectrogram_shape)],
            [(ADAPTED, intake.port.datatype, intake.row_shape)],
        )
        written[name] = Written(adapter, intake_model(intake, SPECTROGRAM))
        steps.add(
            model_name=name, model_version=-1, input_map={SPECTROGRAM: SPECTROGRAM}, output_map={ADAPTED: ADAPTED}
        )
    plain = all(source.is_plain for source in sources)
    step = steps.add(model_name=model.name, model_version=int(model.version), input_map={intake.port.name: given})
    for index, source in enumerate(sources):
        step.output_map[source.port.name] = source.layer.name if plain else f"raw-{index}"
    if not plain:
        from earwitness.registration.adapters import taken, units_model

        name = f"{served_name}_output"
        raw = [(taken(index), source.port.datatype, source.port.shape) for index, source in enumerate(sources)]
        layers = [(source.layer.name, "FP32", (source.layer.unit_count,)) for source in sources]
        written[name] = Written(_adapter(name, model, raw, layers), units_model(sources))
        steps.add(
            model_name=name,
            model_version=-1,
            input_map={each: each for each, _, _ in raw},
            output_map={each: each for each, _, _ in layers},
        )
    return written


def adapter_names(served_name: str) -> list[str]:
    """What the adapters of a classifier are called, whether it has them or not."""
    return [f"{served_name}_input", f"{served_name}_output"]


def _ensemble(served_name: str, model: Served) -> mc.ModelConfig:
    rows = model.max_rows if model.batches or model.max_rows == 1 else 0
    return mc.ModelConfig(name=served_name, platform="ensemble", max_batch_size=rows)


def _adapter(
    name: str,
    model: Served,
    inputs: Sequence[tuple[str, str, Sequence[int]]],
    outputs: Sequence[tuple[str, str, Sequence[int]]],
) -> mc.ModelConfig:
    config = mc.ModelConfig(name=name, backend=ONNX_BACKEND, max_batch_size=model.max_rows)
    for declared, tensors in ((config.input, inputs), (config.output, outputs)):
        for tensor, datatype, shape in tensors:
            declared.add(name=tensor, data_type=mc.DataType.Value(f"TYPE_{datatype}"), dims=shape)
    config.instance_group.add(count=1)
    config.dynamic_batching.SetInParent()
    bound_queue(config)
    config.parameters["intra_op_thread_count"].string_value = "1"
    return config


def _dims(model: Served, shape: Sequence[int]) -> list[int]:
    """The shape of a tensor as an ensemble declares it: with the batch, where that is not Triton's own."""
    return list(shape) if model.batches or model.max_rows == 1 else [-1, *shape]
