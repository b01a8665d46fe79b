"""From an operator graph to an ONNX model."""

import re
from collections.abc import Sequence

import onnx
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch.fx import GraphModule

from earwitness.training.export.advice import OF_BATCH
from earwitness.training.export.errors import UnsupportedOperator
from earwitness.training.export.exporter import quiet, translate
from earwitness.training.export.tracing import EXAMPLE_ROWS

BATCH = "B"
"""Name of the symbolic first axis of every input and output."""

MAX_BATCH_SIZE = 256


def to_onnx(graph: GraphModule, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """The graph as one self-contained, checked model without traces of the machine it was made on.

    Raises: UnsupportedOperator when the exporter fails on an operator that it claims to know, or means another by it
    than ONNX does.
    """
    placeholders = graph.graph.find_nodes(op="placeholder")
    examples = tuple(torch.zeros(EXAMPLE_ROWS, *node.meta["val"].shape[1:]) for node in placeholders)
    batch = torch.export.Dim(BATCH, min=1, max=MAX_BATCH_SIZE)
    try:
        with quiet():
            program = torch.export.export(graph, examples, dynamic_shapes=tuple({0: batch} for _ in placeholders))
        written = translate(program)
    except torch.onnx.OnnxExporterError as err:
        raise UnsupportedOperator(*_culprit(err)) from err
    except torch._dynamo.exc.UserError as err:  # a batch that an operator fixed behind everybody's back
        raise UnsupportedOperator("(unknown)", "", OF_BATCH.why, OF_BATCH.way_out) from err
    _name(written.graph, inputs, outputs)
    ClearMetadataAndDocStringPass()(written)
    model = onnx_ir.to_proto(written)
    _name_batch(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError as err:
        operator, why = re.search(r"op_type:\s*(\w+)", str(err)), str(err).rpartition("] ")[2].strip()
        raise UnsupportedOperator(operator[1] if operator else "(unknown)", "(unknown)", f"ONNX: {why}") from err
    return model


def _culprit(err: BaseException) -> tuple[str, str, str]:
    cause: BaseException = err
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return "(unknown)", "(unknown)", str(cause).strip().splitlines()[0]


def _name(graph: onnx_ir.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Gives inputs and outputs their public names; a tensor that is two outputs, or an input too, is passed twice.

    A value inside that torch has given one of these names, as it names its operators, gets another.
    """
    for value in (each for node in graph for each in node.outputs):
        if value.name in {*inputs, *outputs}:
            value.name = f"inner/{value.name}"
    for value, name in zip(graph.inputs, inputs, strict=True):
        value.name = name
    taken = set(graph.inputs)
    for index, (value, name) in enumerate(zip(list(graph.outputs), outputs, strict=True)):
        if value in taken:
            twin = onnx_ir.node("Identity", [value])
            twin.outputs[0].type, twin.outputs[0].shape = value.type, value.shape
            graph.append(twin)
            value = graph.outputs[index] = twin.outputs[0]
        value.name = name
        taken.add(value)


def _name_batch(model: onnx.ModelProto) -> None:
    """One name for the batch throughout, in place of torch's symbol."""
    symbol = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == symbol:
                dim.dim_param = BATCH
