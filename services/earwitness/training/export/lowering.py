"""From traced operators to operators that the exporter can write, fast ones where there is a choice."""

from typing import Any

from torch.fx import GraphModule, Interpreter, Node

from earwitness.training.export import fast_forms, passes
from earwitness.training.export.errors import UnsupportedOperator
from earwitness.training.export.exporter import Operator, translatable
from earwitness.training.export.graph_edits import tidy
from earwitness.training.export.rules import decomposition_table
from earwitness.training.export.tracing import Traced, node_origin, retrace, with_weights


def lower(traced: Traced) -> GraphModule:
    """The same computation by translatable operators only; weights are attributes, the batch stays symbolic.

    Raises: UnsupportedOperator naming the first operator without rule or translation, and its layer.
    """
    passes.drop_copies(traced.graph)
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


def _refuse_untranslatable(graph: GraphModule) -> None:
    for node in graph.graph.nodes:
        operator, layer = node_origin(node)
        if isinstance(node.target, Operator) and node.target not in translatable():
            raise UnsupportedOperator(operator, layer, f"it comes down to {node.target}, which has no ONNX form")
        if node.op == "placeholder" and isinstance(node.meta["val"].shape[0], int):
            raise UnsupportedOperator("(unknown)", "(unknown)", "some operator only works for one size of batch")


class _Lowering(Interpreter):
    """Names the layer of an operator whose rule does not apply."""

    def run_node(self, n: Node) -> Any:
        try:
            return super().run_node(n)
        except Exception as err:
            operator, layer = node_origin(n)
            raise UnsupportedOperator(operator, layer, str(err).strip().splitlines()[0]) from err
