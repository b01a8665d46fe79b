"""Operators with weights, and activations, as torch's own modules: so layers are found in a file as in any network."""

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.training.export.files.reducing import padded, pads_of
from earwitness.training.export.files.values import Arguments, Known, NoRule, Operation, text

CONVOLUTIONS = {
    "Conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "ConvTranspose": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}
ACTIVATIONS: Mapping[str, Callable[[Operation], nn.Module]] = {
    "Elu": lambda operation: nn.ELU(operation.attributes.get("alpha", 1.0)),
    "LeakyRelu": lambda operation: nn.LeakyReLU(operation.attributes.get("alpha", 0.01)),
    "Relu": lambda operation: nn.ReLU(),
    "Sigmoid": lambda operation: nn.Sigmoid(),
    "Tanh": lambda operation: nn.Tanh(),
}


def module_of(operation: Operation, known: Mapping[int, Known], rank: int | None) -> nn.Module | None:
    """The module that computes an operation of its first input, of so many axes; None where none does.

    `known` are the inputs whose numbers are in the file, by place.
    """
    if operation.operator in ACTIVATIONS:
        return ACTIVATIONS[operation.operator](operation)
    if operation.operator == "Softmax" and rank == 2 and operation.attributes.get("axis", -1) in (1, -1):
        return nn.Softmax(1)
    weighted = all(place in known for place in range(1, len(operation.inputs)) if operation.inputs[place])
    if not weighted or 0 in known:
        return None
    if operation.operator in CONVOLUTIONS:
        return _convolution(operation, known)
    if operation.operator in ("Gemm", "MatMul") and known[1].ndim == 2:
        return _linear(operation, known)
    if operation.operator == "BatchNormalization":
        return _batch_norm(operation, known, rank)
    return None


def run_module(module: nn.Module, given: Arguments) -> Tensor:
    """What the module of an operation makes of its first input, padded before where torch cannot. Raises: NoRule."""
    x = given.tensor(0)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        pads = pads_of(given, x, module.kernel_size)
        x = x if not any(pads) or any(module.padding) else padded(x, pads)
    result: Tensor = module(x)
    return result


def _convolution(operation: Operation, known: Mapping[int, Known]) -> nn.Module:
    weight = known[1]
    rank = weight.ndim - 2
    if not 1 <= rank <= 3:
        raise NoRule(f"it is a convolution over {rank} axes")
    attributes = operation.attributes
    pads = list(attributes.get("pads", [0] * 2 * rank))
    transposed = operation.operator == "ConvTranspose"
    auto = text(attributes.get("auto_pad", b"NOTSET"))
    even = auto in ("NOTSET", "VALID") and pads[:rank] == pads[rank:]
    options = {
        "stride": tuple(attributes.get("strides", [1] * rank)),
        "padding": tuple(pads[:rank]) if even and auto == "NOTSET" else (0,) * rank,
        "dilation": tuple(attributes.get("dilations", [1] * rank)),
        "groups": attributes.get("group", 1),
        "bias": 2 in known,
    }
    channels = weight.shape[0], weight.shape[1] * options["groups"]
    if transposed:
        if not even or "output_shape" in attributes:
            raise NoRule("it is a transposed convolution with pads of its own")
        options["output_padding"] = tuple(attributes.get("output_padding", [0] * rank))
        made = CONVOLUTIONS["ConvTranspose"][rank - 1](*channels, weight.shape[2:], **options)
    else:
        made = CONVOLUTIONS["Conv"][rank - 1](channels[1], channels[0], weight.shape[2:], **options)
    _fill(made, weight, known.get(2))
    return cast(nn.Module, made)


def _linear(operation: Operation, known: Mapping[int, Known]) -> nn.Module | None:
    attributes = operation.attributes
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        return None
    weight = known[1] if attributes.get("transB", 0) else known[1].T
    bias = known.get(2)
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(made, weight, None if bias is None else np.broadcast_to(bias.reshape(-1), weight.shape[:1]))
    return made


def _batch_norm(operation: Operation, known: Mapping[int, Known], rank: int | None) -> nn.Module | None:
    if operation.attributes.get("training_mode", 0):
        raise NoRule("it is in training mode, and computes over the batch")
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(rank or 0)
    if kind is None:
        return None
    made = kind(len(known[1]), eps=operation.attributes.get("epsilon", 1e-5))
    _fill(made, known[1], known[2])
    for name, value in (("running_mean", known[3]), ("running_var", known[4])):
        getattr(made, name).copy_(torch.from_numpy(np.array(value, np.float32)))
    return made


def _fill(module: nn.Module, weight: Known, bias: Known | None) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(np.array(weight, np.float32)))  # type: ignore[operator]
        if bias is not None:
            module.bias.copy_(torch.from_numpy(np.array(bias, np.float32)))  # type: ignore[operator]
