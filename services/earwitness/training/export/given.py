"""What a caller hands over as a network: which of it can be exported, and what to hand over else."""

import copy
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from earwitness.training.export.errors import ExportError, SourceError

WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule")
"""Around a network to train it on several devices, or compiled; what is in there is the network."""


def frozen(role: str, given: object) -> nn.Module:
    """A copy of a network, in eval mode, float32, on the CPU, its weights plain and without gradients.

    Raises: SourceError when it is no network of torch's in Python; ExportError when its weights are not finite, not
    there yet, or it cannot be copied.
    """
    network = _network(role, given)
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor):
            raise ExportError(
                f"{role}: {name!r} has no shape yet; load weights, or run the network once, before export"
            )
        if tensor.is_floating_point() and (wrong := int((~tensor.isfinite()).sum())):
            raise ExportError(
                f"{role}: {name!r} holds {wrong} NaN or infinite values of {tensor.numel()}; "
                "training diverged, or the file is damaged: export another checkpoint"
            )
    try:
        copied = _copy(network)
    except Exception as err:  # whatever the things raise that a network holds
        raise ExportError(
            f"{role}: {type(network).__name__} cannot be copied ({_line(err)}); keep what is no weight and no module, "
            "such as an open file or a session, out of it"
        ) from err
    try:
        copied.eval()  # many return nothing
    except Exception as err:
        raise ExportError(
            f"{role}: {type(network).__name__}.eval() fails ({_line(err)}); its train(mode) has to call super's"
        ) from err
    _fold(copied)
    copied.float()
    copied.cpu()
    copied.requires_grad_(False)
    return copied


def _network(role: str, given: object) -> nn.Module:
    """The module in what was given."""
    while isinstance(given, nn.Module) and type(given).__name__ in WRAPPERS:
        inner: Any = getattr(given, "module", None) or getattr(given, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            break
        given = inner
    if not isinstance(given, nn.Module):
        raise SourceError(f"{role}: got {described(given)}")
    return given


def described(given: object) -> str:
    """What it is instead, and the way out."""
    if isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        if str(text).endswith((".onnx", ".tflite", ".pb", ".h5", ".keras")):
            return (
                f"the path {text!r}, expected a torch.nn.Module; `earwitness export` takes files (ONNX, TorchScript, "
                "torch.export), as earwitness.training.export.files.export_files does in Python"
            )
        return (
            f"the path {text!r}, expected a torch.nn.Module; build the network and give it its weights with "
            "load_weights(network, file), or name it as package.module:attribute to load_network; files of TorchScript "
            "and torch.export go to `earwitness export`"
        )
    if isinstance(given, type):
        return f"the class {given.__name__}, expected a network made of it: {given.__name__}()"
    if isinstance(given, Mapping):
        return "a dict, as of weights, expected a torch.nn.Module; build the network and use load_weights"
    if given is None:
        return "None, expected a torch.nn.Module; a function that builds a network has to return it"
    return (
        f"{type(given).__name__}, expected a torch.nn.Module; give the file that it runs to `earwitness export`, or "
        "explain it without gradient (README, Without a gradient); functions of tensors belong into the forward of a "
        "module"
    )


def _copy(network: nn.Module) -> nn.Module:
    """A deep copy, also of results that modules keep: after a pass `torch.nn.utils.weight_norm` leaves its weight."""
    results = (value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return copy.deepcopy(network, {id(each): each.detach().clone() for each in results if not each.is_leaf})


def _fold(network: nn.Module) -> None:
    """Puts weights in place of how they are computed: weight and spectral normalisation, any other."""
    for module in list(network.modules()):
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                nn.utils.remove_spectral_norm(module, hook.name)
        if parametrize.is_parametrized(module):
            # torch's own removal changes the class of the module, which the copy shares with what it is a copy of.
            weights = {name: getattr(module, name).detach() for name in module.parametrizations}  # type: ignore[union-attr]
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            for name, weight in weights.items():
                module.register_parameter(name, nn.Parameter(weight.clone()))


def _line(err: Exception) -> str:
    return f"{type(err).__name__}: {next(iter(str(err).strip().splitlines()), '')}"
