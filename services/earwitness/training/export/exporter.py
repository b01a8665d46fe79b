"""The ONNX exporter of torch: what it can translate, and the translation itself.

It keeps its registry of translations private; this is the only module that touches it, and torch is pinned.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import onnx_ir
import torch
from torch.onnx._internal.exporter import _core, _decomp, _fx_passes, _registration

from earwitness.training.export.operators import translations

OPSET = 18

Operator = torch._ops.OpOverload
Decomposition = Callable[..., Any]


@cache
def translatable() -> frozenset[Operator]:
    """Every operator that has an ONNX translation, ours included."""
    known = _decomp.get_onnx_implemented_overloads(_registry())
    return frozenset(target for target in known if isinstance(target, Operator))


@cache
def stock_decompositions() -> Mapping[Operator, Decomposition]:
    """torch's own decompositions of the operators that have no translation."""
    table = _decomp.create_onnx_friendly_decomposition_table(set(translatable()))
    return {target: rule for target, rule in table.items() if isinstance(target, Operator)}


def translate(program: torch.export.ExportedProgram) -> onnx_ir.Model:
    """A program of translatable operators in ONNX, optimised.

    `torch.onnx.export` would decompose it first, which takes longer than all the rest and finds nothing to do.

    Raises: torch.onnx.OnnxExporterError.
    """
    with quiet():
        _fx_passes.insert_type_promotion_nodes(program.graph_module)
        translated = _core._exported_program_to_onnx_program(program, registry=_registry())
        translated.optimize()
    return translated.model


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's notes on packages it looks for and on its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)


@cache
def _registry() -> _registration.ONNXRegistry:
    with quiet():
        registry = _registration.ONNXRegistry.from_torchlib(opset_version=OPSET)
    for operator, translation in translations().items():
        registry.register_op(operator, translation)
    return registry
