"""Rewrites of an operator graph that keep its values and make it smaller; `fast_forms` makes it faster."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from earwitness.training.export.graph_edits import arguments, calls, constant, replace, shape, tidy

_aten = torch.ops.aten

COPIES = (_aten.clone.default, _aten.alias.default, _aten.detach.default, _aten.lift_fresh_copy.default)
"""Operators that return what they are given."""


ASSERTIONS = (
    _aten._assert_async.default, _aten._assert_async.msg, _aten._assert_scalar.default,
    _aten._assert_tensor_metadata.default,
)  # fmt: skip
"""Operators that return nothing, and stop a pass in torch where a value is none that may be."""


def drop_assertions(graph: GraphModule) -> None:
    """Checks of values, such as that of one_hot."""
    for node in calls(graph, *ASSERTIONS):
        graph.graph.erase_node(node)


def drop_copies(graph: GraphModule) -> None:
    """Copies, reshapes to the same shape, and slices of everything."""
    for node in calls(graph, *COPIES):
        node.replace_all_uses_with(arguments(node)[0])
    for node in calls(graph, _aten.view.default, _aten._unsafe_view.default):
        node.target = _aten.reshape.default  # without the copies a view may not be possible any more
    for node in calls(graph, _aten.slice.Tensor, _aten.expand.default, _aten.reshape.default):
        if shape(node) == shape(arguments(node)[0]):
            node.replace_all_uses_with(arguments(node)[0])
    tidy(graph)


def differentiate_results(graph: GraphModule) -> None:
    """Gradients of leaky ReLU and ELU read the activation's result, so its input need not outlive the convolution that
    made it, and the runtime can fuse both."""
    forms: dict[object, tuple[object, int, int]] = {
        _aten.leaky_relu_backward.default: (_aten.leaky_relu.default, 1, 3),
        _aten.elu_backward.default: (_aten.elu.default, 5, 4),
    }
    for node in calls(graph, *forms):
        forward, value, is_result = forms[node.target]
        args = arguments(node)
        results = [user for user in args[value].users if user.target is forward and _keeps_sign(user)]
        if results and not args[is_result]:
            args[value], args[is_result] = results[0], True
            node.args = tuple(args)


def _keeps_sign(activation: Node) -> bool:
    parameters = arguments(activation)[1:] or [0.01 if activation.target is _aten.leaky_relu.default else 1.0]
    return all(parameter > 0 for parameter in parameters)


def use_linear(graph: GraphModule) -> None:
    """Products with a transposed weight become one operator on the weight as it is, so it is stored once."""
    for node in calls(graph, _aten.t.default):
        inner = arguments(node)[0]
        if inner.target is _aten.t.default:
            node.replace_all_uses_with(arguments(inner)[0])
    for node in calls(graph, _aten.addmm.default, _aten.mm.default):
        *bias, x, weight = arguments(node)
        if weight.target is _aten.t.default and not node.kwargs and all(len(shape(b)) == 1 for b in bias):
            replace(node, _aten.linear.default, x, arguments(weight)[0], *bias)


def fold_constants(graph: GraphModule) -> None:
    """Everything that depends on weights alone is computed now."""
    values: dict[Node, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            values[node] = getattr(graph, str(node.target))
            node.meta["val"] = values[node]
        elif node.op == "call_function" and _is_constant(node, values):
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for number, (node, value) in enumerate(values.items()):
        read = any(user not in values for user in node.users)
        if read and node.op != "get_attr" and isinstance(value, Tensor):
            node.replace_all_uses_with(constant(node, f"folded_{number}", value.detach().contiguous()))
    tidy(graph)
    for name in {name for name, _ in graph.named_buffers()} - {n.target for n in graph.graph.find_nodes(op="get_attr")}:
        delattr(graph, name)


def _is_constant(node: Node, values: dict[Node, Any]) -> bool:
    if isinstance(node.meta.get("val"), torch.SymInt):
        return False
    return all(source in values for source in node.all_input_nodes)


def infer_batch_sizes(graph: GraphModule) -> None:
    """Sizes in reshapes and expansions that only repeat the batch size become -1."""
    for node in calls(graph, _aten.reshape.default, _aten.expand.default):
        x, sizes, *rest = arguments(node)
        keeps_batch = len(shape(node)) == len(shape(x)) and shape(node)[0] == shape(x)[0]
        fixed = [-1 if isinstance(size, Node) else size for size in sizes]
        if fixed.count(-1) == 1 and (keeps_batch or node.target is _aten.reshape.default):
            node.args = (x, fixed, *rest)


def drop_unused_indices(graph: GraphModule) -> None:
    """Max pooling whose indices nobody reads."""
    plain = {
        _aten.max_pool2d_with_indices.default: _aten.max_pool2d.default,
        _aten.max_pool3d_with_indices.default: _aten.max_pool3d.default,
    }
    for node in calls(graph, *plain):
        if all(user.target is operator.getitem and user.args[1] == 0 for user in node.users):
            for user in list(node.users):
                replace(user, plain[node.target], *node.args)  # type: ignore[index]
