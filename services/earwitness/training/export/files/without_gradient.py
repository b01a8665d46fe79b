"""The served models of a bundle without a search graph: a file's own graph, between our tensors and its."""

import onnx
from onnx import helper
from torch import nn

from earwitness.registration.adapters import Graph, add_intake, add_units
from earwitness.registration.axes import Intake
from earwitness.registration.units import Source
from earwitness.training.export.files.reading import OnnxFile
from earwitness.training.export.forward_graphs import PROBABILITY, generator_graph
from earwitness.training.export.layers import RESERVED_NAMES
from earwitness.training.export.onnx_writer import BATCH, to_onnx
from earwitness.training.export.pair import Pair, make_pair

SPECTROGRAM = RESERVED_NAMES[1]
THEIRS = "theirs-"
"""Before every name of the file: no layer is called so."""


def generator_pair(generator: nn.Module, spectrogram_shape: tuple[int, int], latent_size: int | None) -> Pair:
    """The generator with a classifier that stands in for one that torch does not have.

    Raises: ExportError.
    """
    total = nn.Linear(spectrogram_shape[0] * spectrogram_shape[1], 1)
    nn.init.ones_(total.weight)
    return make_pair(generator, nn.Sequential(nn.Flatten(), total), {"sum": "1"}, latent_size)


def generator_model(pair: Pair) -> bytes:
    """model.onnx of the generator. Raises: UnsupportedOperator."""
    return bytes(to_onnx(generator_graph(pair), ["z"], [SPECTROGRAM]).SerializeToString(deterministic=True))


def classifier_model(file: OnnxFile, intake: Intake, sources: tuple[Source, ...], *, probabilities: bool) -> bytes:
    """model.onnx of the classifier: the spectrogram as the file takes it, its graph, the units of its layers, and
    their probability, which where they are `probabilities` is themselves."""
    model = onnx.compose.add_prefix(file.model, THEIRS)
    theirs = model.graph
    before, behind = Graph("before-"), Graph("behind-")
    add_intake(before, intake, SPECTROGRAM, f"{THEIRS}{file.given.name}")
    for source in sources:
        add_units(behind, source, f"{THEIRS}{source.port.name}", source.layer.name)
    answer = next(source.layer for source in sources if source.layer.kind == "output")
    if probabilities:
        behind.add("Identity", [answer.name], PROBABILITY)
    elif answer.unit_count == 1:
        behind.add("Sigmoid", [answer.name], PROBABILITY)
    else:
        behind.add("Softmax", [answer.name], PROBABILITY, axis=1)
    nodes = [*before.nodes, *theirs.node, *behind.nodes]
    del theirs.node[:], theirs.input[:], theirs.output[:], theirs.value_info[:]
    theirs.node.extend(nodes)
    theirs.initializer.extend([*before.constants, *behind.constants])
    theirs.input.append(_value(SPECTROGRAM, intake.spectrogram_shape))
    theirs.output.append(_value(PROBABILITY, (answer.unit_count,)))
    for source in sources:
        theirs.output.append(_value(source.layer.name, (source.layer.unit_count,)))
    return bytes(model.SerializeToString(deterministic=True))


def _value(name: str, row_shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *row_shape])
