"""What of a model that is not ours becomes layers and units: pure choice among its outputs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import Layer, LayerKind, UnitLabel
from earwitness.registration.axes import FLOATS, Port

RESERVED = ("probability", "spectrogram")
"""Other tensors of a served classifier."""


@dataclass(frozen=True)
class Source:
    """A layer, and the output that its units are: `port.shape` has the sizes as they were answered."""

    layer: Layer
    port: Port

    @property
    def is_plain(self) -> bool:
        """Whether the units are the output as it is."""
        return self.port.datatype == "FP32" and self.port.shape == (self.layer.unit_count,)


def choose_outputs(outputs: Sequence[Port], output: str | None) -> tuple[Port, list[Port]]:
    """The output that is the classifier's own, and the others that can be layers.

    Raises: InvalidArgument when `output` is none of them, or none is given and there are several.
    """
    usable = [port for port in outputs if port.datatype in FLOATS]
    said = "; ".join(map(str, outputs)) or "none"
    if not usable:
        raise InvalidArgument("classifier", f"has no floating-point output to explain; its outputs are {said}")
    if output is None and len(usable) > 1:
        raise InvalidArgument(
            "output_tensor", f"is needed: the classifier has several outputs, {said}; name the one that is its answer"
        )
    name = output if output is not None else usable[0].name
    chosen = next((port for port in usable if port.name == name), None)
    if chosen is None:
        raise InvalidArgument("output_tensor", f"got {name!r}; the classifier's outputs are {said}")
    return chosen, [port for port in usable if port is not chosen]


def sources_of(
    answer: Port, others: Sequence[Port], layers: Mapping[str, str] | None, output_name: str | None = None
) -> tuple[Source, ...]:
    """The layers of a bundle: `layers` by name with their outputs, or all `others` that have units; then the answer's.

    The answer is named by `layers`, else `output_name`, else after its tensor. Ports have the sizes that were answered.

    Raises: InvalidArgument for names that cannot be, outputs that there are not, and an answer that is no row of units.
    """
    by_name = {port.name: port for port in (*others, answer)}
    named = {tensor: name for name, tensor in (layers or {}).items()}
    for name, tensor in (layers or {}).items():
        if tensor not in by_name:
            raise InvalidArgument("layer", f"{name}: no output {tensor!r}; there are {', '.join(by_name)}")
        if not name.isidentifier() or name in RESERVED:
            raise InvalidArgument(
                "layer",
                f"got the name {name!r}; use letters, digits and underscores, and none of {', '.join(RESERVED)}",
            )
    if answer.name not in named:
        named[answer.name] = output_name or _identifier(answer.name)
    if layers is None:
        for port in others:
            if port.shape:
                named.setdefault(port.name, _identifier(port.name))
    if len(set(named.values())) < len(named):
        raise InvalidArgument("layer", f"two outputs have one name of {', '.join(named.values())}; name them apart")
    if any(size != 1 for size in answer.shape[1:]):
        raise InvalidArgument(
            "output_tensor",
            f"{answer} gives {list(answer.shape)} values a row, expected one for each output unit; name another, or "
            "put a model behind it that averages (a Triton ensemble of both)",
        )
    found, first = list[Source](), 0
    for port in (*others, answer):
        if port.name in named:
            layer = Layer(named[port.name], _kind(port, answer), port.shape[0] if port.shape else 1, first)
            found.append(Source(layer, port))
            first += layer.unit_count
    return tuple(found)


def check_labels(labels: Sequence[UnitLabel], sources: Sequence[Source]) -> None:
    """Raises: InvalidArgument for a unit that the output layer does not have, or that is labelled twice."""
    output = next(source.layer for source in sources if source.layer.kind == "output")
    for label in labels:
        if not 0 <= label.unit < output.unit_count:
            raise InvalidArgument(
                "label", f"unit {label.unit} is labelled, the classifier has outputs 0 to {output.unit_count - 1}"
            )
    if len({label.unit for label in labels}) < len(labels):
        raise InvalidArgument("label", "labels a unit twice; give each one label")


def _kind(port: Port, answer: Port) -> LayerKind:
    return "output" if port is answer else "conv" if any(size != 1 for size in port.shape[1:]) else "dense"


def _identifier(tensor: str) -> str:
    name = re.sub(r"\W", "_", tensor)
    name = name if name.isidentifier() else f"layer_{name}"
    return f"{name}_layer" if name in RESERVED else name
