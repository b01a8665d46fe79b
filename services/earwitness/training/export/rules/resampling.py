"""Resampling and border padding: the gradients, as one matrix per axis that is read off the operator itself."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from earwitness.training.export.rules.linear_maps import Matrix, along_axes

LineOperator = Callable[[Tensor], Tensor]
"""`[1, N, n]` → `[1, N, m]`, linear, every row treated alike."""

_aten = torch.ops.aten


def nearest_backward(grad: Tensor, size: Sequence[int], input_size: Sequence[int], *scales: float | None) -> Tensor:
    """Gradient of nearest-neighbour resampling over 1, 2 or 3 axes."""
    return _resampling_vjp(grad, input_size, scales, lambda line, out, s: _aten.upsample_nearest1d(line, [out], s))


def nearest_exact_backward(
    grad: Tensor, size: Sequence[int], input_size: Sequence[int], *scales: float | None
) -> Tensor:
    """Gradient of nearest-neighbour resampling by pixel centres."""
    return _resampling_vjp(
        grad, input_size, scales, lambda line, out, s: _aten._upsample_nearest_exact1d(line, [out], s)
    )


def linear_backward(
    grad: Tensor, size: Sequence[int], input_size: Sequence[int], align_corners: bool, *scales: float | None
) -> Tensor:
    """Gradient of linear, bilinear and trilinear resampling."""
    return _resampling_vjp(
        grad, input_size, scales, lambda line, out, s: _aten.upsample_linear1d(line, [out], align_corners, s)
    )


def bicubic_backward(
    grad: Tensor, size: Sequence[int], input_size: Sequence[int], align_corners: bool, *scales: float | None
) -> Tensor:
    """Gradient of bicubic resampling."""

    def along_rows(line: Tensor, out: int, scale: float | None) -> Tensor:
        plane = line[None]
        return _aten.upsample_bicubic2d(plane, [plane.shape[2], out], align_corners, None, scale)[0]  # type: ignore[no-any-return]

    return _resampling_vjp(grad, input_size, scales, along_rows)


def reflection_backward(grad: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
    """Gradient of reflection padding; `padding` starts with the last axis, as torch's does."""
    return _border_vjp(grad, x, padding, _aten.reflection_pad1d)


def replication_backward(grad: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
    """Gradient of replication padding."""
    return _border_vjp(grad, x, padding, _aten.replication_pad1d)


def _resampling_vjp(
    grad: Tensor,
    input_size: Sequence[int],
    scales: Sequence[float | None],
    resample: Callable[[Tensor, int, float | None], Tensor],
) -> Tensor:
    factors = list(scales) or [None] * (grad.ndim - 2)
    matrices = []
    for n, out, factor in zip(input_size[2:], grad.shape[2:], factors, strict=True):
        matrices.append(_matrix(n, lambda line, out=out, factor=factor: resample(line, out, factor)))  # type: ignore[misc]
    return along_axes(grad, matrices)


def _border_vjp(grad: Tensor, x: Tensor, padding: Sequence[int], pad: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    pairs = [list(padding[i : i + 2]) for i in range(0, len(padding), 2)][::-1]
    sizes = x.shape[-len(pairs) :]
    return along_axes(
        grad,
        [_matrix(n, lambda line, pair=pair: pad(line, pair)) for n, pair in zip(sizes, pairs, strict=True)],  # type: ignore[misc]
    )


def _matrix(size: int, operator: LineOperator) -> Matrix:
    """`[out, size]` of a linear operator, from its response to every unit vector."""
    with _disable_current_modes():
        response = operator(torch.eye(size, dtype=torch.float64)[None])[0]
        return np.ascontiguousarray(response.numpy().T)
