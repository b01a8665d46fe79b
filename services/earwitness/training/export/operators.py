"""earwitness' own operators: what a gradient needs and neither torch nor the exporter has in one piece."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor

from earwitness.training.export import recurrence

op: Any = opset18


@torch.library.custom_op("earwitness::max_pool_vjp", mutates_args=())
def max_pool_vjp(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """Sends `grad` `[B, C, ...]` of a max pooling to the first maximum of every window of `x`; same shape as `x`.

    Windows may overlap: an element that is the maximum of several gets their sum.
    """
    rank = len(kernel)
    pool = torch.ops.aten.max_pool2d_with_indices if rank == 2 else torch.ops.aten.max_pool3d_with_indices
    _, indices = pool(x, kernel, stride, padding, dilation, ceil_mode)
    flat = torch.zeros_like(x).flatten(2)
    return flat.scatter_add(2, indices.flatten(2), grad.flatten(2)).reshape(x.shape)


@max_pool_vjp.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("earwitness::spatial_mean", mutates_args=())
def spatial_mean(x: Tensor) -> Tensor:
    """`[B, C, ...]` → `[B, C, 1...]`."""
    return x.mean(dim=list(range(2, x.ndim)), keepdim=True)


@spatial_mean.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty([*x.shape[:2], *[1] * (x.ndim - 2)])


@torch.library.custom_op("earwitness::spread", mutates_args=())
def spread(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[B, C, 1, 1]` → `[B, C, *size]`, written out: in ONNX an upsampling, for which there is a blocked kernel."""
    return x.expand(-1, -1, *size).contiguous()


@spread.register_fake
def _(x: Tensor, size: Sequence[int]) -> Tensor:
    return x.new_empty([*x.shape[:2], *size])


def _max_pool_vjp_onnx(grad, x, kernel, stride, padding, dilation, ceil_mode):  # type: ignore[no-untyped-def]
    # ONNX indices count through the whole tensor, so one flat scatter serves the batch.
    _, indices = op.MaxPool(
        x, kernel_shape=kernel, strides=stride, pads=[*padding, *padding], dilations=dilation, ceil_mode=int(ceil_mode)
    )
    flat = op.Constant(value_ints=[-1])
    zeros = op.ConstantOfShape(op.Reshape(op.Size(x), flat))
    disjoint = all(s >= d * (k - 1) + 1 for k, s, d in zip(kernel, stride, dilation, strict=True))
    scattered = op.ScatterElements(
        zeros, op.Reshape(indices, flat), op.Reshape(grad, flat), axis=0, reduction="none" if disjoint else "add"
    )
    return op.Reshape(scattered, op.Shape(x))


def _spatial_mean_onnx(x):  # type: ignore[no-untyped-def]
    # The blocked kernel adds up one number after the other: down the columns first, the rounding stays small.
    if len(x.shape) == 4:
        height = int(x.shape[2])
        x = op.AveragePool(x, kernel_shape=[height, 1], strides=[height, 1])
    return op.GlobalAveragePool(x)


def _spread_onnx(x, size):  # type: ignore[no-untyped-def]
    scales = op.Constant(value_floats=[1.0, 1.0, *map(float, size)])
    return op.Resize(x, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """ONNX form of each operator defined here, for the exporter."""
    ours = torch.ops.earwitness
    return {
        ours.max_pool_vjp.default: _max_pool_vjp_onnx,
        ours.spatial_mean.default: _spatial_mean_onnx,
        ours.spread.default: _spread_onnx,
        **recurrence.translations(),
    }
