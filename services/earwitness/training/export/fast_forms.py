"""Rewrites of an operator graph into forms that ONNX Runtime runs faster, mostly in its blocked CPU layout (NCHWc)."""

import torch
from torch.fx import GraphModule, Node

from earwitness.training.export.graph_edits import arguments, calls, constant, insert, replace, shape
from earwitness.training.export.rules.pointwise import BLOCK

_aten = torch.ops.aten
_ours = torch.ops.earwitness

MOVES = (_aten.reshape.default, _aten.permute.default)
"""Operators that put the same elements elsewhere."""

ELEMENTWISE = (
    _aten.leaky_relu.default, _aten.relu.default, _aten.sigmoid.default, _aten.tanh.default, _aten.elu.default,
    _aten.gelu.default, _aten.silu.default, _aten.clamp.default, _aten.hardtanh.default, _aten.hardswish.default,
    _aten.softplus.default, _aten.neg.default, _aten.mul.Scalar, _aten.div.Scalar,
)  # fmt: skip
"""Operators of one tensor that treat every element alike."""

BROADCASTING = (_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor)


def broadcast_instead_of_expand(graph: GraphModule) -> None:
    """An operand that broadcasts is not written out to full size first."""
    for node in calls(graph, *ELEMENTWISE):
        expand, *parameters = arguments(node)
        if expand.target is _aten.expand.default:
            small = insert(node, node.target, arguments(expand)[0], *parameters)  # type: ignore[arg-type]
            replace(node, _aten.expand.default, small, *arguments(expand)[1:])
    for node in calls(graph, *BROADCASTING):
        operands = [operand for operand in arguments(node) if isinstance(operand, Node)]
        for expand, other in zip(operands, reversed(operands), strict=True):
            if expand.target is _aten.expand.default and expand is not other and shape(other) == shape(node):
                node.replace_input_with(expand, arguments(expand)[0])
                break


def activate_before_moving(graph: GraphModule) -> None:
    """An activation goes in front of reshapes and transpositions, next to the convolution it can be fused with."""
    for node in calls(graph, *ELEMENTWISE):
        move, *parameters = arguments(node)
        while move.target in MOVES and len(move.users) == 1:
            source, *how = arguments(move)
            first = insert(move, node.target, source, *parameters)  # type: ignore[arg-type]
            replace(node, move.target, first, *how)
            graph.graph.erase_node(move)
            node, move = first, source


def pool_by_means(graph: GraphModule) -> None:
    """Means over all spatial axes become global pooling."""
    for node in calls(graph, _aten.mean.dim):
        x, dims, *_ = arguments(node)
        rank = len(shape(x))
        if rank > 2 and sorted(dim % rank for dim in dims) == list(range(2, rank)) and not node.kwargs:
            if len(shape(node)) == rank:
                replace(node, _ours.spatial_mean.default, x)
            else:
                pooled = insert(node, _ours.spatial_mean.default, x)
                replace(node, _aten.reshape.default, pooled, [-1, shape(x)[1]])


def spread_in_blocks(graph: GraphModule) -> None:
    """The gradient of a spatial mean, one number per channel, joins a convolution's output as an upsampling, which the
    blocked layout can hold (a broadcast it cannot)."""
    for node in calls(graph, _aten.add.Tensor):
        operands = arguments(node)
        for full, small in (operands, operands[::-1]):
            if not (isinstance(full, Node) and isinstance(small, Node)) or full.target is not _aten.convolution.default:
                continue
            channels, *size = shape(full)[1:]
            if len(size) != 2 or channels % BLOCK or tuple(shape(small)[1:]) != (channels, 1, 1):
                continue
            # A tensor enters that layout by a convolution; it may as well do the division.
            divided = small.target is _aten.div.Scalar
            source, divisor = arguments(small) if divided else (small, 1)
            factor = constant(node, f"{node.name}_factor", torch.full((channels, 1, 1, 1), 1 / divisor))
            entry = insert(
                node, _aten.convolution.default, source, factor, None, [1, 1], [0, 0], [1, 1], False, [0, 0], channels
            )
            node.replace_input_with(small, insert(node, _ours.spread.default, entry, size))
            break
