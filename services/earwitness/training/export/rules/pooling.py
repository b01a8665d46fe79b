"""Pooling: what the exporter cannot write, and the gradients."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.training.export.rules.linear_maps import Matrix, along_axes
from earwitness.training.export.rules.reason import NoRule


def max_pool_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Gradient of 2-D or 3-D max pooling; the indices are found again, for reading them costs the blocked layout."""
    rank = x.ndim - 2
    vjp = torch.ops.earwitness.max_pool_vjp.default
    return vjp(  # type: ignore[no-any-return]
        grad,
        x,
        _each(kernel, rank),
        _each(stride or kernel, rank),
        _each(padding, rank),
        _each(dilation, rank),
        ceil_mode,
    )


def adaptive_max_pool(x: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Adaptive max pooling whose output size divides the input's.

    Raises: NoRule when it does not.
    """
    window = _adaptive_window(x, size)
    pool = torch.ops.aten.max_pool2d_with_indices if len(window) == 2 else torch.ops.aten.max_pool3d_with_indices
    return pool.default(x, window, window)  # type: ignore[no-any-return]


def adaptive_max_pool_backward(grad: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """Gradient of `adaptive_max_pool`."""
    window = _adaptive_window(x, grad.shape[2:])
    rank = len(window)
    return max_pool_backward(grad, x, window, window, [0] * rank, [1] * rank, False, indices)


def avg_pool_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Gradient of 2-D or 3-D average pooling, as one banded matrix per axis."""
    rank = x.ndim - 2
    kernel, padding = _each(kernel, rank), _each(padding, rank)
    stride = _each(stride or kernel, rank)
    matrices = []
    for n, out, k, s, p in zip(x.shape[2:], grad.shape[2:], kernel, stride, padding, strict=True):
        start = s * np.arange(out) - p
        low, high = (-p, n + p) if count_include_pad else (0, n)
        # The number of elements in a window is a product over axes, so each axis divides by its own.
        count = 1 if divisor_override else np.minimum(start + k, high) - np.maximum(start, low)
        matrices.append(_windows(start, start + k, n) / np.reshape(count, (-1, 1)))
    return along_axes(grad / (divisor_override or 1), matrices)


def adaptive_avg_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    """Adaptive average pooling to `size`: an average pooling where that divides, else one matrix per axis."""
    if all(n % out == 0 for n, out in zip(x.shape[2:], size, strict=True)):
        pool = torch.ops.aten.avg_pool2d if len(size) == 2 else torch.ops.aten.avg_pool3d
        return pool.default(x, _adaptive_window(x, size))  # type: ignore[no-any-return]
    return along_axes(x, [matrix.T for matrix in _adaptive_matrices(x, size)])


def adaptive_avg_pool_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of `adaptive_avg_pool`."""
    return along_axes(grad, _adaptive_matrices(x, grad.shape[2:]))


def _adaptive_window(x: Tensor, size: Sequence[int]) -> list[int]:
    for n, out in zip(x.shape[2:], size, strict=True):
        if n % out:
            raise NoRule(f"adaptive max pooling from {n} to {out} has windows of several sizes; pool by a fixed window")
    return [n // out for n, out in zip(x.shape[2:], size, strict=True)]


def _adaptive_matrices(x: Tensor, size: Sequence[int]) -> list[Matrix]:
    """Per axis `[out, in]`: the weight of each input element in each window's mean."""
    matrices = []
    for n, out in zip(x.shape[2:], size, strict=True):
        edges = np.arange(out + 1) * n
        start, end = edges[:-1] // out, -(-edges[1:] // out)
        matrices.append(_windows(start, end, n) / (end - start)[:, None])
    return matrices


def _windows(start: NDArray[np.int64], end: NDArray[np.int64], size: int) -> Matrix:
    """`[windows, size]`: 1 where an element lies in a window, else 0."""
    positions = np.arange(size)
    return ((start[:, None] <= positions) & (positions < end[:, None])).astype(np.float64)


def _each(value: Sequence[int], rank: int) -> list[int]:
    return list(value) if len(value) == rank else list(value) * rank
