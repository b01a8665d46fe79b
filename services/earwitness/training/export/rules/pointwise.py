"""Gradients of activations, of eval-mode batch norm and of slices.

A select by the sign of x is slow: `Greater` and `Where` have no vector kernel and no blocked layout. A clipped steep
line is fast: clip(STEEP · x, s, 1) is 1 for x > 0 and s elsewhere, exactly, down to x = 1/STEEP. Where convolutions
keep their data in the blocked CPU layout the line is a 1×1 depthwise convolution, which stays in that layout.
"""

from math import prod

import torch
from torch import Tensor

STEEP = 2.0**100
"""Slope of the line that stands for a step; everything below 2⁻¹⁰⁰ counts as not positive."""

BLOCK = 16
"""Channels in the widest blocked layout; other channel counts may fall back to a slow depthwise kernel."""

_aten = torch.ops.aten


def leaky_relu_backward(grad: Tensor, x: Tensor, slope: float, is_result: bool) -> Tensor:
    """Gradient of leaky ReLU from its input, or from its result where the slope is positive."""
    return grad * _clipped_line(x, STEEP, 0.0, slope, 1.0) if slope <= 1 else NotImplemented


def threshold_backward(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Gradient of ReLU (threshold 0) from its input or result."""
    return grad * _clipped_line(x, STEEP, 0.0, 0.0, 1.0) if threshold == 0 else NotImplemented


def elu_backward(grad: Tensor, alpha: float, scale: float, input_scale: float, is_result: bool, x: Tensor) -> Tensor:
    """Gradient of ELU from its result: min(result + 1, 1) in the common case."""
    common = is_result and alpha == scale == input_scale == 1
    return grad * _clipped_line(x, 1.0, 1.0, None, 1.0) if common else NotImplemented


def batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    train: bool,
    eps: float,
    output_mask: list[bool],
) -> tuple[Tensor, None, None]:
    """Gradient of batch norm in eval mode: one constant factor per channel."""
    if train or running_var is None:
        return NotImplemented  # type: ignore[no-any-return]
    factor = torch.rsqrt(running_var + eps)
    if weight is not None:
        factor = factor * weight
    return grad * factor.reshape(-1, *[1] * (grad.ndim - 2)), None, None


def slice_backward(grad: Tensor, input_sizes: list[int], dim: int, start: int, end: int, step: int) -> Tensor:
    """Gradient of a slice with step 1: zeros around it."""
    dim, size = dim % grad.ndim, input_sizes[dim]
    if step != 1 or not isinstance(size, int):
        return NotImplemented  # type: ignore[no-any-return]
    start = max(0, start + size) if start < 0 else min(start, size)
    return _between_zeros(grad, dim, start, size - start - grad.shape[dim])


def select_backward(grad: Tensor, input_sizes: list[int], dim: int, index: int) -> Tensor:
    """Gradient of picking one index: zeros around it."""
    dim, size = dim % len(input_sizes), input_sizes[dim]
    if not isinstance(size, int):
        return NotImplemented
    index %= size
    return _between_zeros(grad.unsqueeze(dim), dim, index, size - index - 1)


def _between_zeros(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    if before == after == 0:
        return x
    trailing = [0, 0] * (x.ndim - 1 - dim)
    return _aten.constant_pad_nd.default(x, [*trailing, before, after])  # type: ignore[no-any-return]


def _clipped_line(x: Tensor, slope: float, offset: float, low: float | None, high: float) -> Tensor:
    """clip(slope · x + offset, low, high), in the layout that convolutions around it would use."""
    if x.ndim != 4 or x.shape[1] % BLOCK or prod(x.shape[2:]) == 1:
        line = x * slope
        return torch.clamp(line + offset if offset else line, low, high)
    channels = x.shape[1]
    weight = torch.full((channels, 1, 1, 1), slope, dtype=x.dtype)
    bias = torch.full((channels,), offset, dtype=x.dtype) if offset else None
    line = _aten.convolution.default(x, weight, bias, [1, 1], [0, 0], [1, 1], False, [0, 0], channels)
    return torch.clamp(line, low, high)
