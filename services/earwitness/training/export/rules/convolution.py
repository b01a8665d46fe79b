"""Convolutions and their gradients, as ordinary convolutions wherever there is a choice.

ONNX Runtime's blocked CPU layout (NCHWc) has a kernel for `Conv` and none for `ConvTranspose`, and it computes at least
eight output channels whether or not they exist. So the gradient of a stride-1 convolution is a convolution with flipped
weights, and a convolution to very few channels computes a block of neighbouring outputs as its channels. All weight
arithmetic here meets constants only and is folded before the graph is written.
"""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from earwitness.training.export.rules import grouped_by_row
from earwitness.training.export.rules.reason import NoRule

OUTPUT_BLOCKS = {1: (2, 4), 2: (2, 2), 3: (1, 2), 4: (1, 2)}
"""Rows × columns of outputs computed together, by output channels: eight channels or less, wide rather than high."""

_conv: Callable[..., Tensor] = torch.ops.aten.convolution.default
_zero_pad: Callable[..., Tensor] = torch.ops.aten.constant_pad_nd.default


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
    """A 2-D stride-1 convolution to few channels by blocks of outputs, a transposed one with wide output padding by its
    full output; any other stays what it is."""
    if grouped_by_row.is_by_row(groups):
        return grouped_by_row.convolution(
            x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
        )
    if transposed and any(extra >= s for extra, s in zip(output_padding, stride, strict=True)):
        return _transposed_in_full(x, weight, bias, stride, padding, dilation, output_padding, groups)
    if transposed or groups != 1 or weight.ndim != 4 or max(*stride, *dilation) > 1 or prod(weight.shape[2:]) == 1:
        return NotImplemented  # type: ignore[no-any-return]
    block = OUTPUT_BLOCKS.get(weight.shape[0], (1, 1))
    size = [n + 2 * p - k + 1 for n, p, k in zip(x.shape[2:], padding, weight.shape[2:], strict=True)]
    if block == (1, 1) or size[0] < block[0] or size[1] < block[1]:
        return NotImplemented  # type: ignore[no-any-return]
    kernel = torch.stack(
        [
            _zero_pad(weight, (column, block[1] - 1 - column, row, block[0] - 1 - row))
            for row in range(block[0])
            for column in range(block[1])
        ],
        dim=1,
    ).flatten(0, 1)
    if bias is not None:
        bias = bias.repeat_interleave(prod(block))
    missing = [-out % b for out, b in zip(size, block, strict=True)]
    if any(missing):
        x = _zero_pad(x, (0, missing[1], 0, missing[0]))
    blocks = _conv(x, kernel, bias, block, padding, dilation, False, output_padding, 1)
    # [B, O·rows·columns, H, W] -> [B, O, H·rows, W·columns]
    height, width = blocks.shape[2:]
    split = blocks.reshape(-1, weight.shape[0], *block, height, width).permute(0, 1, 4, 2, 5, 3)
    return _crop(split.reshape(-1, weight.shape[0], height * block[0], width * block[1]), size)


def _transposed_in_full(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """A transposed convolution without padding of either kind, then cropped, or filled up with the bias."""
    zeros = [0] * len(stride)
    full = _conv(x, weight, None, stride, zeros, dilation, True, zeros, groups)
    ends = [extra - p for extra, p in zip(output_padding, padding, strict=True)]
    pads = [amount for end in reversed(ends) for amount in (0, max(0, end))]
    size = [n + end - p for n, end, p in zip(full.shape[2:], ends, padding, strict=True)]
    out = _crop(_zero_pad(full, pads), size, start=padding)
    return out if bias is None else out + bias.reshape(-1, *[1] * len(stride))


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
    """Gradient of a convolution with respect to its input, same shape as `x`; where every row has a kernel of its own,
    with respect to that too.

    Raises: NoRule when a kernel of all rows depends on the latent.
    """
    if grouped_by_row.is_by_row(groups):
        return grouped_by_row.convolution_backward(
            grad, x, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, output_mask
        )
    if output_mask[1] or output_mask[2]:
        raise NoRule("the kernel or bias of this convolution is computed from the latent")
    rank = weight.ndim - 2
    ones, zeros = [1] * rank, [0] * rank
    if transposed:
        full = _conv(grad, weight, None, stride, padding, dilation, False, zeros, groups)
        return _crop(full, x.shape[2:]), None, None
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if max(stride) == 1:
        pads = [r - p for r, p in zip(reach, padding, strict=True)]
        if min(pads) < 0:  # the border of grad lies in the padding of x
            size = [n + 2 * min(p, 0) for n, p in zip(grad.shape[2:], pads, strict=True)]
            grad = _crop(grad, size, start=[max(-p, 0) for p in pads])
        kernel = _swap_channels(weight, groups).flip(list(range(2, rank + 2)))
        return _conv(grad, kernel, None, ones, [max(p, 0) for p in pads], dilation, False, zeros, groups), None, None
    smallest = [(n - 1) * s - 2 * p + r + 1 for n, s, p, r in zip(grad.shape[2:], stride, padding, reach, strict=True)]
    extra = [n - m for n, m in zip(x.shape[2:], smallest, strict=True)]
    return _conv(grad, weight, None, stride, padding, dilation, True, extra, groups), None, None


def _swap_channels(weight: Tensor, groups: int) -> Tensor:
    """`[groups·a, b, ...]` → `[groups·b, a, ...]` within each group."""
    if groups == 1:
        return weight.transpose(0, 1)
    return weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)


def _crop(x: Tensor, size: Sequence[int], start: Sequence[int] | None = None) -> Tensor:
    """`size` elements of every spatial axis, from `start` on."""
    for axis, (length, first) in enumerate(zip(size, start or [0] * len(size), strict=True), start=2):
        if length < x.shape[axis]:
            x = x.narrow(axis, first, length)
    return x
