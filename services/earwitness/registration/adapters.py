"""The ONNX graphs between our tensors and those of a model that is not ours.

They use operators that mean the same in every opset from 11 on, so they can be joined to graphs of any.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from earwitness.registration.axes import Intake
from earwitness.registration.units import Source

OPSET, IR_VERSION = 18, 10
BATCH = "B"
TYPES = {"FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16, "FP64": TensorProto.DOUBLE}


ADAPTED = "adapted"
"""What the adapter before a classifier makes."""


class Graph:
    """Nodes and constants that are being put together. What it names itself, with `prefix` in front, is no identifier,
    and so no layer's name."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """A node; the name of what it makes."""
        output = output or f"{self._prefix}{operator.lower()}-{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: object, kind: type[np.generic]) -> str:
        """The name of a constant."""
        name = f"{self._prefix}constant-{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def reshaped(self, tensor: str, row_shape: Sequence[int]) -> str:
        """`[B, ...]` as `[B, *row_shape]`."""
        return self.add("Reshape", [tensor, self.constant([0, *row_shape], np.int64)])


def add_intake(graph: Graph, intake: Intake, spectrogram: str, output: str) -> None:
    """`spectrogram` `[B, bands, frames]` as the model takes it."""
    x = spectrogram
    if intake.offset:
        x = graph.add("Sub", [x, graph.constant(intake.offset, np.float32)])
    if intake.scale != 1:
        x = graph.add("Div", [x, graph.constant(intake.scale, np.float32)])
    if intake.frames_first:
        x = graph.add("Transpose", [x], perm=[0, 2, 1])
    if len(intake.row_shape) != 2:
        x = graph.reshaped(x, intake.row_shape)
    if intake.port.datatype != "FP32":
        x = graph.add("Cast", [x], to=TYPES[intake.port.datatype])
    graph.add("Identity", [x], output)


def add_units(graph: Graph, source: Source, tensor: str, output: str) -> None:
    """The units `[B, n]` of a layer, float32, of what the model gives for it: means over what is behind the first axis
    of a row."""
    x = tensor
    if source.port.datatype != "FP32":
        x = graph.add("Cast", [x], to=TensorProto.FLOAT)
    if any(size != 1 for size in source.port.shape[1:]):
        x = graph.add("GlobalAveragePool", [x])
    if len(source.port.shape) != 1:
        x = (
            graph.reshaped(x, [source.layer.unit_count])
            if source.port.shape
            else graph.add("Reshape", [x, graph.constant([-1, 1], np.int64)])
        )
    graph.add("Identity", [x], output)


def intake_model(intake: Intake, spectrogram: str) -> bytes:
    """The served model before a classifier: the tensor named `spectrogram` to ADAPTED, as the classifier takes it."""
    graph = Graph()
    add_intake(graph, intake, spectrogram, ADAPTED)
    inputs = [_value(spectrogram, "FP32", intake.spectrogram_shape)]
    return _serialised(graph, "input_adapter", inputs, [_value(ADAPTED, intake.port.datatype, intake.row_shape)])


def units_model(sources: Sequence[Source]) -> bytes:
    """The served model behind a classifier: its outputs, named by `taken`, to the layers by their names."""
    graph = Graph()
    for index, source in enumerate(sources):
        add_units(graph, source, taken(index), source.layer.name)
    inputs = [_value(taken(index), source.port.datatype, source.port.shape) for index, source in enumerate(sources)]
    outputs = [_value(source.layer.name, "FP32", (source.layer.unit_count,)) for source in sources]
    return _serialised(graph, "output_adapter", inputs, outputs)


def taken(index: int) -> str:
    """The name under which the adapter behind a classifier takes what layer number `index` is made of."""
    return f"raw-{index}"


def _value(name: str, datatype: str, row_shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TYPES[datatype], [BATCH, *row_shape])


def _serialised(
    graph: Graph, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> bytes:
    made = helper.make_graph(graph.nodes, name, inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
