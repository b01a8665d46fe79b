"""Convolutions with a kernel of its own for every row, as StyleGAN2 modulates them: as many groups as rows.

No ONNX operator has a number of groups that is only known when it runs. So the windows of each row, or for a transposed
convolution their sum, become matrices, and the kernels of the rows one batch of matrices that they are multiplied by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import SymInt, Tensor

from earwitness.training.export.rules.reason import NoRule

_zero_pad = torch.ops.aten.constant_pad_nd.default


@dataclass(frozen=True)
class Windows:
    """Windows of `kernel` over `size` elements of each axis: `count` of them."""

    size: tuple[int, ...]
    count: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def taps(self) -> list[tuple[int, ...]]:
        """First element that each place of the kernel meets, in the padded axes."""
        return list(product(*(range(0, d * k, d) for d, k in zip(self.dilation, self.kernel, strict=True))))

    def reach(self) -> list[int]:
        """Elements from the first that a place meets to the last."""
        return [(n - 1) * s + 1 for n, s in zip(self.count, self.stride, strict=True)]

    def padded(self) -> list[int]:
        """Elements of each axis with the padding, at least as many as the windows reach."""
        needed = [r + d * (k - 1) for r, d, k in zip(self.reach(), self.dilation, self.kernel, strict=True)]
        return [max(n, size + p) for n, size, p in zip(needed, self.size, self.padding, strict=True)]

    def unfold(self, x: Tensor) -> Tensor:
        """`[R, C, *size]` → `[R, C·prod(kernel), prod(count)]`."""
        pads = [(p, total - size - p) for p, total, size in zip(self.padding, self.padded(), self.size, strict=True)]
        x = _zero_pad(x, [amount for pair in reversed(pads) for amount in pair])
        parts = []
        for starts in self.taps():
            part = x
            for axis, (start, reach, stride) in enumerate(zip(starts, self.reach(), self.stride, strict=True), start=2):
                part = torch.ops.aten.slice.Tensor(part, axis, start, start + reach, stride)
            parts.append(part)
        return torch.stack(parts, dim=2).flatten(3).flatten(1, 2)

    def fold(self, columns: Tensor, channels: int) -> Tensor:
        """`[R, C·prod(kernel), prod(count)]` → `[R, C, *size]`, the transpose of `unfold`."""
        columns = columns.reshape(-1, channels, prod(self.kernel), *self.count)
        total: Tensor | None = None
        for place, starts in enumerate(self.taps()):
            part = self._spread(columns.select(2, place))
            ends = [n - start - reach for n, start, reach in zip(self.padded(), starts, self.reach(), strict=True)]
            pads = [amount for pair in zip(reversed(starts), reversed(ends), strict=True) for amount in pair]
            part = _zero_pad(part, pads)
            total = part if total is None else total + part
        assert total is not None
        for axis, (start, size) in enumerate(zip(self.padding, self.size, strict=True), start=2):
            total = total.narrow(axis, start, size)
        return total

    def _spread(self, x: Tensor) -> Tensor:
        """`[R, C, *count]` → `[R, C, *reach]`, zeros between the elements."""
        for axis, (stride, reach) in enumerate(zip(self.stride, self.reach(), strict=True), start=2):
            if stride > 1:
                x = _zero_pad(x.unsqueeze(axis + 1), [0, 0] * (x.ndim - 1 - axis) + [0, stride - 1])
                x = x.flatten(axis, axis + 1).narrow(axis, 0, reach)
        return x


def is_by_row(groups: int | SymInt) -> bool:
    """Whether the groups are as many as a symbolic batch says."""
    return not isinstance(groups, int)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """x `[1, R·C, ...]`, weight `[R·O, C, ...]`, transposed `[R·C, O, ...]` → `[1, R·O, ...]`."""
    rows = _rows(x, weight, transposed, groups)
    windows = _windows(x, weight, stride, padding, dilation, transposed, output_padding)
    if transposed:
        out = windows.fold(rows.kernel.transpose(1, 2) @ rows.x.flatten(2), rows.out_channels)
    else:
        out = (rows.kernel @ windows.unfold(rows.x)).reshape(-1, rows.out_channels, *windows.count)
    out = out.flatten(0, 1).unsqueeze(0)
    return out if bias is None else out + bias.reshape(1, -1, *[1] * len(stride))


def convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of `convolution` with respect to its input, kernels and bias."""
    rows = _rows(x, weight, transposed, groups)
    windows = _windows(x, weight, stride, padding, dilation, transposed, output_padding)
    of_rows = grad.reshape(groups, rows.out_channels, *grad.shape[2:])
    if transposed:
        columns = windows.unfold(of_rows)
        of_x = rows.kernel @ columns
        of_kernel = rows.x.flatten(2) @ columns.transpose(1, 2) if output_mask[1] else None
    else:
        of_rows = of_rows.flatten(2)
        of_x = windows.fold(rows.kernel.transpose(1, 2) @ of_rows, rows.x.shape[1])
        of_kernel = of_rows @ windows.unfold(rows.x).transpose(1, 2) if output_mask[1] else None
    of_bias = grad.sum([0, *range(2, grad.ndim)]) if output_mask[2] else None
    of_weight = None if of_kernel is None else of_kernel.reshape(weight.shape)
    return (of_x.reshape(x.shape) if output_mask[0] else None), of_weight, of_bias


@dataclass(frozen=True)
class _Rows:
    x: Tensor
    """`[R, C, ...]`."""
    kernel: Tensor
    """`[R, O, C·prod(kernel)]`, transposed `[R, C, O·prod(kernel)]`."""
    out_channels: int


def _rows(x: Tensor, weight: Tensor, transposed: bool, groups: int) -> _Rows:
    if x.shape[0] != 1:
        raise NoRule("it has as many groups as there are rows, and a batch beside them")
    size = prod(weight.shape[2:])
    per_group = _number(weight.shape[0] // groups)
    channels, out_channels = (per_group, weight.shape[1]) if transposed else (weight.shape[1], per_group)
    kernel = weight.reshape(groups, per_group, weight.shape[1] * size)
    return _Rows(x.reshape(groups, channels, *x.shape[2:]), kernel, out_channels)


def _windows(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
) -> Windows:
    sizes = tuple(x.shape[2:])
    kernel = tuple(weight.shape[2:])
    settings = zip(sizes, kernel, stride, padding, dilation, output_padding, strict=True)
    if transposed:
        whole = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 + extra for n, k, s, p, d, extra in settings)
        return Windows(whole, sizes, kernel, tuple(stride), tuple(padding), tuple(dilation))
    count = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in settings)
    return Windows(sizes, count, kernel, tuple(stride), tuple(padding), tuple(dilation))


def _number(size: int | SymInt) -> int:
    """A size that the batch has no part in."""
    if isinstance(size, int):
        return size
    number = size.node.maybe_as_int()
    if number is None:
        raise NoRule("its channels are not the same number for every row")
    return int(number)
