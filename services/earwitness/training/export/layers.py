"""Named layers: from a module path to the units of its output."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from earwitness.inference.metadata import Layer, LayerKind
from earwitness.training.export.errors import LayerError

OUTPUT_NAME = "output"
"""Name given to the classifier's own output when no named layer is it."""
RESERVED_NAMES = ("probability", "spectrogram")
"""Other tensors of the served classifier."""
LISTED = 12
"""Most module paths that a message lists."""


@dataclass(frozen=True)
class LayerSpec:
    """A layer to serve: its public name and the path of the submodule whose output it is; "" is the classifier."""

    name: str
    path: str


@dataclass
class Capture:
    """What the named layers returned in the latest forward pass, by module path; "" is the classifier itself."""

    outputs: dict[str, Tensor] = field(default_factory=dict)
    returned: dict[str, Tensor] = field(default_factory=dict)
    """The very tensor objects returned; `outputs` holds copies, for a later in-place activation would change these."""

    def is_result(self, path: str) -> bool:
        """Whether the layer at `path` returned what the classifier returned."""
        return path in self.returned and self.returned[path] is self.returned[""]

    def clear(self) -> None:
        self.outputs.clear()
        self.returned.clear()


def layer_specs(layers: Mapping[str, str] | Sequence[LayerSpec], classifier: nn.Module) -> tuple[LayerSpec, ...]:
    """Checked specs, in the order given.

    Raises: LayerError when there are none, a name comes twice or is no plain identifier, or a path does not exist.
    """
    specs = tuple(LayerSpec(*item) for item in layers.items()) if isinstance(layers, Mapping) else tuple(layers)
    if not specs:
        raise LayerError("layers: got none; name at least one submodule of the classifier, e.g. {'fc1': 'fc1'}")
    paths = dict(classifier.named_modules())
    seen: set[str] = set()
    for spec in specs:
        if not spec.name.isidentifier() or spec.name in seen or spec.name in RESERVED_NAMES:
            raise LayerError(
                f"layers: the name {spec.name!r} is taken or is no identifier; "
                "use each once, letters, digits and underscores, neither 'probability' nor 'spectrogram'"
            )
        if spec.path not in paths:
            raise LayerError(
                f"layers: {spec.name!r} is module path {spec.path!r}, which the classifier has not; "
                f"it has {_some(spec.path, [path for path in paths if path])}"
            )
        seen.add(spec.name)
    return specs


def _some(wanted: str, paths: Sequence[str]) -> str:
    """The paths, or where there are many, those most like the wanted one."""
    if len(paths) <= LISTED:
        return ", ".join(paths) or "no submodules"
    like = difflib.get_close_matches(wanted, paths, LISTED, cutoff=0.0)
    return f"{', '.join(sorted(like, key=paths.index))} and {len(paths) - LISTED} more"


@contextmanager
def capturing(classifier: nn.Module, specs: Sequence[LayerSpec]) -> Iterator[Capture]:
    """While open, every forward pass of `classifier` fills the capture anew; read it before the next pass.

    Raises (from the forward pass): LayerError when a layer runs twice or returns no tensor.
    """
    capture = Capture()
    handles = [classifier.register_forward_pre_hook(lambda module, args: capture.clear())]
    modules = dict(classifier.named_modules())
    names = {"": "the classifier"} | {spec.path: f"layer {spec.name!r} ({spec.path})" for spec in specs}
    for path, name in names.items():
        handles.append(modules[path].register_forward_hook(_keeper(capture, path, name)))
    try:
        yield capture
    finally:
        for handle in handles:
            handle.remove()


def _keeper(capture: Capture, path: str, name: str) -> Callable[[nn.Module, object, object], None]:
    def keep(module: nn.Module, args: object, output: object) -> None:
        output = over_time(module, output)
        if not isinstance(output, Tensor):
            raise LayerError(f"{name} returns {type(output).__name__}, expected a tensor")
        if path in capture.outputs:
            raise LayerError(
                f"{name} runs more than once in a forward pass, so its units are ambiguous; "
                "give each use its own submodule, or name the module around it"
            )
        with torch._C.DisableTorchFunction():  # the copy is no step of the network's, as `final_calls` counts them
            capture.outputs[path] = output.clone()
        capture.returned[path] = output

    return keep


def over_time(module: nn.Module, output: object) -> object:
    """What a recurrent layer returns at every time, as a convolution over time does: `[B, units, T]`, both directions'
    units one after the other. Of any other module what it returns."""
    if not isinstance(module, nn.RNNBase) or not isinstance(output, tuple):
        return output
    sequence = output[0]
    if not isinstance(sequence, Tensor) or sequence.ndim != 3:
        return output
    return sequence.transpose(1, 2) if module.batch_first else sequence.permute(1, 2, 0)


def units_of(output: Tensor) -> Tensor:
    """Units `[B, U]` of a layer's output: itself when `[B, U]`, the means of `[B, C, ...]` over space or time."""
    return output if output.ndim == 2 else output.mean(dim=tuple(range(2, output.ndim)))


def with_output(specs: Sequence[LayerSpec], capture: Capture, units: Tensor) -> tuple[tuple[LayerSpec, ...], str]:
    """The specs, with one for the classifier's own output unless one of them is it, and the path of that one.

    `units` are those of the output layer in the captured pass: what the classifier returned, or logits within, which
    are those of the last layer that returned them, if one did.

    Raises: LayerError when several are the classifier's output.
    """
    if units is capture.returned[""]:
        outputs = [spec for spec in specs if capture.is_result(spec.path)]
    else:
        outputs = [spec for spec in specs if not spec.path or _same(capture.outputs.get(spec.path), units)][-1:]
    if len(outputs) > 1:
        names = ", ".join(spec.name for spec in outputs)
        raise LayerError(f"layers: {names} are all the classifier's output; name it once")
    if outputs:
        return tuple(specs), outputs[0].path
    if any(spec.name == OUTPUT_NAME for spec in specs):
        raise LayerError(f"layers: {OUTPUT_NAME!r} is not the classifier's output; give it another name")
    return (*specs, LayerSpec(OUTPUT_NAME, "")), ""


def _same(output: Tensor | None, units: Tensor) -> bool:
    return output is not None and output.ndim == 2 and torch.equal(output, units)


def describe(specs: Sequence[LayerSpec], capture: Capture, path: str) -> tuple[Layer, ...]:
    """Metadata of the layers of one captured pass; the output is that of `path`.

    Raises: LayerError when a layer did not run or has no unit axis.
    """
    layers, first = list[Layer](), 0
    for spec in specs:
        if spec.path not in capture.outputs:
            raise LayerError(f"layer {spec.name!r} ({spec.path}) does not run in the classifier's forward pass")
        shape = tuple(capture.outputs[spec.path].shape)
        if len(shape) < 2:
            raise LayerError(f"layer {spec.name!r} ({spec.path}) returns {shape}, expected [B, units] or [B, C, ...]")
        kind: LayerKind = "output" if spec.path == path else "conv" if len(shape) > 2 else "dense"
        layers.append(Layer(spec.name, kind, shape[1], first))
        first += shape[1]
    return tuple(layers)
