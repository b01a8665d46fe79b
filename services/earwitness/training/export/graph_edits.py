"""Small tools for rewriting an operator graph."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node


def calls(graph: GraphModule, *targets: object) -> list[Node]:
    """The nodes that call one of `targets`, in order."""
    return [node for node in graph.graph.nodes if node.op == "call_function" and node.target in targets]


def arguments(node: Node) -> list[Any]:
    """Positional arguments of a call."""
    return list(node.args)


def shape(node: Node) -> Sequence[int]:
    """Shape of a tensor node. The batch size in it is symbolic: compare it, do not compute with it."""
    return tuple(node.meta["val"].shape)


def replace(old: Node, target: Callable[..., Any], *args: Any) -> Node:
    """A call in place of `old`, of the same value."""
    new = _call(old, target, args)
    new.meta["val"] = old.meta["val"]
    old.replace_all_uses_with(new)
    old.graph.erase_node(old)
    return new


def insert(before: Node, target: Callable[..., Any], *args: Any) -> Node:
    """A call in front of `before` and with its origin; its value is worked out on the arguments' fake values."""
    node = _call(before, target, args)
    node.meta["val"] = target(*torch.fx.node.map_arg(args, lambda source: source.meta["val"]))
    return node


def _call(before: Node, target: Callable[..., Any], args: tuple[Any, ...]) -> Node:
    with before.graph.inserting_before(before):
        node = before.graph.call_function(target, args)
    node.meta = dict(before.meta)
    return node


def constant(before: Node, name: str, value: Tensor) -> Node:
    """A new constant of the graph, read in front of `before`."""
    module = before.graph.owning_module
    assert module is not None
    module.register_buffer(name, value)
    with before.graph.inserting_before(before):
        node = before.graph.get_attr(name)
    node.meta["val"] = value
    return node


def tidy(graph: GraphModule) -> None:
    """Drops what nothing uses, and checks the rest."""
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.graph.lint()
    graph.recompile()
