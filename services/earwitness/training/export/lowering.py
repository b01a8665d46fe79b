"""From traced operators to operators that the exporter can write, fast ones where there is a choice."""

from typing import Any

import torch
from torch.fx import GraphModule, Interpreter, Node

from earwitness.training.export import fast_forms, passes
from earwitness.training.export.advice import COMPLEX, OF_BATCH, RANDOM, advice_on
from earwitness.training.export.errors import UnsupportedOperator
from earwitness.training.export.exporter import Operator, translatable
from earwitness.training.export.graph_edits import tidy
from earwitness.training.export.rules import decomposition_table
from earwitness.training.export.tracing import Traced, node_origin, retrace, with_weights


def lower(traced: Traced) -> GraphModule:
    """The same computation by translatable operators only; weights are attributes, the batch stays symbolic.

    Raises: UnsupportedOperator naming the first operator without rule or translation, and its layer.
    """
    passes.drop_assertions(traced.graph)
    passes.drop_copies(traced.graph)
    _refuse_random_and_complex(traced.graph)
    passes.differentiate_results(traced.graph)
    graph = with_weights(retrace(traced, _Lowering(traced.graph).run, decomposition_table()))
    for rewrite in (
        passes.drop_copies,
        passes.use_linear,
        passes.fold_constants,
        passes.infer_batch_sizes,
        fast_forms.broadcast_instead_of_expand,
        fast_forms.activate_before_moving,
        fast_forms.pool_by_means,
        fast_forms.spread_in_blocks,
        passes.drop_unused_indices,
    ):
        rewrite(graph)
    tidy(graph)
    _refuse_untranslatable(graph)
    return graph


def _refuse_random_and_complex(graph: GraphModule) -> None:
    for node in graph.graph.nodes:
        operator, layer = node_origin(node)
        if isinstance(node.target, Operator) and _draws(node.target):
            raise UnsupportedOperator(operator, layer, RANDOM.why, RANDOM.way_out)
        values = node.meta.get("val")
        for value in values if isinstance(values, tuple | list) else [values]:
            if isinstance(value, torch.Tensor) and value.is_complex():
                raise UnsupportedOperator(operator, layer, COMPLEX.why, COMPLEX.way_out)


def _draws(operator: Operator) -> bool:
    """Whether it gives random numbers; attention would for dropout, which is found in eager passes (`repeatable`)."""
    return torch.Tag.nondeterministic_seeded in operator.tags and "attention" not in str(operator)


def _refuse_untranslatable(graph: GraphModule) -> None:
    for node in graph.graph.nodes:
        operator, layer = node_origin(node)
        if isinstance(node.target, Operator) and node.target not in translatable():
            advice = advice_on(operator) or advice_on(str(node.target))
            if advice is not None:
                raise UnsupportedOperator(operator, layer, advice.why, advice.way_out)
            raise UnsupportedOperator(operator, layer, f"it comes down to {node.target}, which has no ONNX form")
        if node.op == "placeholder" and isinstance(node.meta["val"].shape[0], int):
            raise UnsupportedOperator("(unknown)", "", OF_BATCH.why, OF_BATCH.way_out)


class _Lowering(Interpreter):
    """Names the layer of an operator whose rule does not apply."""

    def run_node(self, n: Node) -> Any:
        try:
            return super().run_node(n)
        except Exception as err:
            operator, layer = node_origin(n)
            raise UnsupportedOperator(operator, layer, str(err).strip().splitlines()[0]) from err
