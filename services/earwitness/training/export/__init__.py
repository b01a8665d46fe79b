"""Export: a generator and a classifier in torch become the three ONNX models of a served bundle, gradients included.

`export_bundle` takes a pair of modules, feed-forward or recurrent. It traces them (`tracing`, `recurrence`), replaces
operators by ones that ONNX and its runtime do well (`rules`, `passes`, `fast_forms`, together `lowering`), writes ONNX
(`onnx_writer`) and config.pbtxt (`triton_config`), and holds the result against torch (`verify`) before anything
reaches the repository.
"""

from earwitness.training.export.bundle import ExportedBundle, export_bundle
from earwitness.training.export.card import Comparisons
from earwitness.training.export.errors import (
    ExportError,
    FrozenGradient,
    LayerError,
    ParityError,
    ShapeError,
    SourceError,
    UnsupportedOperator,
)
from earwitness.training.export.layers import LayerSpec
from earwitness.training.export.sources import export_checkpoints, export_from_import_paths, load_network
from earwitness.training.export.verify import ParityReport
from earwitness.training.export.weights import load_weights
from earwitness.training.export.wrapping import Wraps

__all__ = [
    "Comparisons",
    "ExportError",
    "ExportedBundle",
    "FrozenGradient",
    "LayerError",
    "LayerSpec",
    "ParityError",
    "ParityReport",
    "ShapeError",
    "SourceError",
    "UnsupportedOperator",
    "Wraps",
    "export_bundle",
    "export_checkpoints",
    "export_from_import_paths",
    "load_network",
    "load_weights",
]
