"""What need not be said of networks that are not ours: the latent's size and shape, the channel axis, the layers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from earwitness.training.export.advice import line_of
from earwitness.training.export.errors import ExportError, LayerError, ShapeError
from earwitness.training.export.layers import OUTPUT_NAME, RESERVED_NAMES, LayerSpec, over_time
from earwitness.training.export.wrapping import returns, which

FAILURES = (Exception,)
"""What a forward pass raises that does not work: whatever its author let it."""
LATENT_ATTRIBUTES = ("latent_size", "latent_dim", "z_dim", "nz")
SOFTENING = (nn.Softmax, nn.Softmax2d, nn.Softmin, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid)
"""What makes something else of a layer's units than its activation, probabilities for example."""
FOLLOWING = ("torch.nn.modules.activation", "torch.nn.modules.batchnorm", "torch.nn.modules.instancenorm")
"""Where modules come from that belong to the convolution or the dense layer before them."""


def latent_size_of(generator: nn.Module, given: int | None) -> int:
    """`given`, or what the generator says: an attribute, else what its first weighted layer takes.

    Raises: ShapeError.
    """
    size: object = given
    if given is None:
        size = next((value for name in LATENT_ATTRIBUTES if type(value := getattr(generator, name, None)) is int), None)
    if given is None and size is None:
        first = first_weighted(generator)
        size = getattr(first, "in_features", getattr(first, "in_channels", None))
    if type(size) is not int or size < 1:
        raise ShapeError(f"latent_size: got {size!r}; give the size of the generator's latent, at least 1")
    return size


def first_weighted(network: nn.Module) -> nn.Module | None:
    """Its first dense layer or convolution."""
    return next((each for each in network.modules() if isinstance(each, nn.Linear | _ConvNd)), None)


@contextmanager
def entered_layers(network: nn.Module) -> Iterator[list[str]]:
    """While open, the modules that a forward pass of the network is in, in words, the innermost last."""
    entered: list[str] = []
    handles = []
    for path, module in network.named_modules():
        name = f"layer {path!r} ({type(module).__name__})" if path else "it"
        handles.append(module.register_forward_pre_hook(lambda module, args, name=name: entered.append(name)))
        handles.append(module.register_forward_hook(lambda module, args, output: entered.__delitem__(-1)))
    try:
        yield entered
    finally:
        for handle in handles:
            handle.remove()


def failed(entered: Sequence[str], err: Exception) -> str:
    """Which layer failed, and why."""
    usual = isinstance(err, RuntimeError | TypeError | ValueError | IndexError | AssertionError) and str(err)
    said = str(err) if usual else f"{type(err).__name__} {err}"
    line = line_of(err)
    where = f", at {line}" if line else ""
    return f"{entered[-1]} failed{where}: {said}" if entered else said


def run(role: str, network: nn.Module, x: Tensor) -> Tensor:
    """What the network makes of a batch.

    Raises: ShapeError naming the layer that did not take its input; ExportError when the result is not finite.
    """
    with entered_layers(network) as entered:
        try:
            with torch.no_grad():
                result = network(x.clone())  # it may write into it
        except ExportError:
            raise
        except FAILURES as err:
            raise ShapeError(f"{role}: does not take a batch of shape {list(x.shape)}; {failed(entered, err)}") from err
    if not isinstance(result, Tensor):
        raise ShapeError(f"{role}: {returns(result)}, expected one tensor{which(role, result)}")
    if not result.isfinite().all():
        raise ExportError(f"{role}: returns NaN or infinite values for finite input; mend or train it again")
    return result


@dataclass(frozen=True)
class _Call:
    """One run of a module that has no submodules."""

    path: str
    module: nn.Module
    taken: object
    returned: object


def find_layers(classifier: nn.Module, x: Tensor) -> tuple[LayerSpec, ...]:
    """Every convolution, recurrent and dense layer, each with the normalisation and activation modules that follow it.

    It is named after its path, `features.3` is `features_3`, a bare number after its type too, `conv2d_0`. What runs
    more than once in a pass is left out.

    Raises: LayerError when there is none.
    """
    calls, result = _calls(classifier, x)
    runs = [call.path for call in calls]
    once = [call for call in calls if runs.count(call.path) == 1]
    taking = {id(call.taken): call for call in reversed(once)}
    specs = []
    for call in once:
        if not _has_units(call, len(x)):
            continue
        chain = [call]
        while (after := taking.get(id(chain[-1].returned))) and after is not chain[-1] and _follows(after.module):
            chain.append(after)
        while isinstance(chain[-1].module, _InstanceNorm):
            chain.pop()  # its spatial means are the same for every sound
        last = chain[-1]
        specs.append(LayerSpec(_name(call, last.returned is result), last.path))
    if not specs:
        raise LayerError(
            "layers: found no convolution, recurrent or dense layer that runs once; name them, e.g. {'fc1': 'fc1'}"
        )
    return tuple(specs)


def _calls(classifier: nn.Module, x: Tensor) -> tuple[list[_Call], object]:
    calls: list[_Call] = []

    def keeper(path: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def keep(module: nn.Module, args: tuple[object, ...], output: object) -> None:
            calls.append(_Call(path, module, args[0] if args else None, output))

        return keep

    leaves = [(path, module) for path, module in classifier.named_modules() if not any(module.children())]
    handles = [module.register_forward_hook(keeper(path)) for path, module in leaves]
    try:
        with torch.no_grad():
            return calls, classifier(x.clone())
    finally:
        for handle in handles:
            handle.remove()


def _has_units(call: _Call, rows: int) -> bool:
    if isinstance(call.module, nn.RNNBase):
        sequence = over_time(call.module, call.returned)
        # A layer that runs over every band by itself has more rows than the batch.
        return isinstance(sequence, Tensor) and len(sequence) == rows
    if not isinstance(call.returned, Tensor):
        return False
    if isinstance(call.module, nn.Linear):
        return call.returned.ndim == 2
    return isinstance(call.module, _ConvNd) and call.returned.ndim > 2


def _follows(module: nn.Module) -> bool:
    return type(module).__module__ in FOLLOWING and not isinstance(module, SOFTENING)


def _name(call: _Call, is_result: bool) -> str:
    name = call.path.replace(".", "_")
    if not name.isidentifier():
        name = f"{type(call.module).__name__.lower()}_{name}"
    return f"{name}_layer" if name in RESERVED_NAMES or (name == OUTPUT_NAME and not is_result) else name
