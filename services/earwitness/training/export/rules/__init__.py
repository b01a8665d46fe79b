"""The decomposition table: what becomes of each operator of a gradient graph before it is written as ONNX.

Rules here replace operators the exporter cannot write, or writes slowly; everything else falls to torch's own
decompositions, and what neither covers is refused by name (`lowering`). A rule that returns NotImplemented leaves its
operator to torch's decomposition, or as it is.
"""

from typing import Any

from torch import Tensor

from earwitness.training.export.exporter import Decomposition, Operator, stock_decompositions
from earwitness.training.export.rules.table import RULES


def decomposition_table() -> dict[Operator, Decomposition]:
    """Every decomposition by operator, ours before torch's."""
    table = {operator: _on_contiguous(rule) for operator, rule in stock_decompositions().items()}
    for operator, rule in RULES.items():
        table[operator] = _before(rule, table.get(operator))
    return table


def _on_contiguous(rule: Decomposition) -> Decomposition:
    """Some of torch's decompositions view tensors that a graph of ours may hold in another order; the copy is traced,
    and dropped again by `passes.drop_copies`."""

    def decompose(*args: Any, **kwargs: Any) -> Any:
        return rule(*(arg.contiguous() if isinstance(arg, Tensor) else arg for arg in args), **kwargs)

    return decompose


def _before(rule: Decomposition, stock: Decomposition | None) -> Decomposition:
    def decompose(*args: Any, **kwargs: Any) -> Any:
        result = rule(*args, **kwargs)
        if result is NotImplemented and stock is not None:
            return stock(*args, **kwargs)
        return result

    return decompose
