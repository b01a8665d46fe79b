"""Rules for operators that compute over axes: sums and means, pooling, normalisation, softmax, products of matrices."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch import Tensor

from earwitness.training.export.files.values import Arguments, NoRule, Value, text

POOLS: Mapping[str, Sequence[Callable[..., Tensor]]] = {
    "MaxPool": (F.max_pool1d, F.max_pool2d, F.max_pool3d),
    "AveragePool": (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
}


def _reduce(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[[Arguments], Value]:
    def rule(given: Arguments) -> Value:
        x, axes = given.tensor(0), given.axes(1)
        if axes is None or not axes:
            if given.attribute("noop_with_empty_axes", 0):
                return x
            axes = tuple(range(x.ndim))
        if any(axis % x.ndim == 0 for axis in axes):
            raise NoRule("it computes over the batch")
        return function(x, tuple(axis % x.ndim for axis in axes), bool(given.attribute("keepdims", 1)))

    return rule


def _soft(function: Callable[..., Tensor]) -> Callable[[Arguments], Value]:
    def rule(given: Arguments) -> Value:
        x = given.tensor(0)
        if given.operation.opset >= 13:
            return function(x, dim=given.attribute("axis", -1))
        axis = given.attribute("axis", 1) % x.ndim
        if axis == x.ndim - 1:
            return function(x, dim=axis)
        return function(x.flatten(axis), dim=axis).reshape(x.shape)

    return rule


def _global(function: Callable[[Tensor, tuple[int, ...]], Tensor]) -> Callable[[Arguments], Value]:
    return lambda given: function(given.tensor(0), tuple(range(2, given.tensor(0).ndim)))


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], upper: bool
) -> list[int]:
    """ONNX's pads for auto_pad SAME: of all axes before, then of all behind."""
    before, after = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return [*before, *after]


def pads_of(given: Arguments, x: Tensor, kernel: Sequence[int]) -> list[int]:
    """The pads of a convolution or a pool over `x`. Raises: NoRule."""
    rank = len(kernel)
    mode = text(given.attribute("auto_pad", "NOTSET"))
    if mode in ("NOTSET", "VALID"):
        return list(given.attribute("pads", [0] * 2 * rank)) if mode == "NOTSET" else [0] * 2 * rank
    strides, dilations = given.attribute("strides", [1] * rank), given.attribute("dilations", [1] * rank)
    return same_pads([int(size) for size in x.shape[2:]], kernel, strides, dilations, upper=mode == "SAME_UPPER")


def padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """`x` with ONNX's pads, of all axes before, then of all behind."""
    rank = len(pads) // 2
    if not any(pads):
        return x
    flat = [side for axis in reversed(range(rank)) for side in (pads[axis], pads[rank + axis])]
    return F.pad(x, flat, value=value)


def _pool(given: Arguments) -> Value:
    operator, x = given.operation.operator, given.tensor(0)
    kernel = list(given.attribute("kernel_shape"))
    rank = len(kernel)
    strides = list(given.attribute("strides", [1] * rank))
    pads = pads_of(given, x, kernel)
    ceil = bool(given.attribute("ceil_mode", 0))
    even = pads[:rank] == pads[rank:] and all(2 * pad <= width for pad, width in zip(pads, kernel, strict=False))
    pool = POOLS[operator][rank - 1]
    if operator == "MaxPool":
        if len(given.operation.outputs) > 1 and given.operation.outputs[1]:
            raise NoRule("it gives the places of the largest values")
        dilations = list(given.attribute("dilations", [1] * rank))
        if not even:
            x, pads = padded(x, pads, -1e30), [0] * 2 * rank
        return pool(x, kernel, strides, pads[:rank], dilations, ceil)
    counted = bool(given.attribute("count_include_pad", 0))
    if not even and not counted:
        ones = padded(torch.ones([1, 1, *x.shape[2:]], dtype=x.dtype), pads)
        share = pool(ones, kernel, strides)
        return pool(padded(x, pads), kernel, strides) / share
    if not even:
        x, pads = padded(x, pads), [0] * 2 * rank
    return pool(x, kernel, strides, pads[:rank], ceil, counted)


def _instance_norm(given: Arguments) -> Value:
    x = given.tensor(0)
    return F.instance_norm(x, weight=given.tensor(1), bias=given.tensor(2), eps=given.attribute("epsilon", 1e-5))


def _layer_norm(given: Arguments) -> Value:
    x = given.tensor(0)
    axis = given.attribute("axis", -1) % x.ndim
    bias = given.tensor(2) if given.has(2) else None
    return F.layer_norm(x, list(x.shape[axis:]), given.tensor(1), bias, given.attribute("epsilon", 1e-5))


def _matmul(given: Arguments) -> Value:
    return given.tensor(0) @ given.tensor(1)


def _gemm(given: Arguments) -> Value:
    a, b = given.tensor(0), given.tensor(1)
    a = a.mT if given.attribute("transA", 0) else a
    b = b.mT if given.attribute("transB", 0) else b
    product = (a @ b) * float(given.attribute("alpha", 1.0))
    return product + given.tensor(2) * float(given.attribute("beta", 1.0)) if given.has(2) else product


def _arg(function: Callable[..., Tensor]) -> Callable[[Arguments], Value]:
    return lambda given: function(
        given.tensor(0), dim=given.attribute("axis", 0), keepdim=bool(given.attribute("keepdims", 1))
    )


def _norm(order: int) -> Callable[[Arguments], Value]:
    def rule(given: Arguments) -> Value:
        x, axis = given.tensor(0), given.attribute("axis", -1)
        return x / (x.abs().sum(axis, keepdim=True) if order == 1 else x.square().sum(axis, keepdim=True).sqrt())

    return rule


RULES: Mapping[str, Callable[[Arguments], Value]] = {
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "AveragePool": _pool,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(lambda x, axes: x.mean(axes, keepdim=True)),
    "GlobalMaxPool": _global(lambda x, axes: x.amax(axes, keepdim=True)),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _soft(F.log_softmax),
    "LpNormalization": lambda given: _norm(given.attribute("p", 2))(given),
    "MatMul": _matmul,
    "MaxPool": _pool,
    "ReduceL1": _reduce(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduce(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceLogSumExp": _reduce(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _reduce(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "Softmax": _soft(F.softmax),
}
