"""Why an export is refused: the networks or the names given do not allow what was asked.

ExportError
├── UnsupportedOperator   an operator has no ONNX translation or no gradient rule
├── LayerError            a named layer is missing, ambiguous, or has no units
├── ShapeError            generator and classifier do not fit each other or the feature profile
├── FrozenGradient        the gradient is zero, or the same whatever the latent
├── NotRepeatable         a result is random, or depends on the rows beside it
├── ParityError           the served graphs disagree with torch
└── SourceError           an import path or a checkpoint does not give a network
"""

from earwitness.errors import EarwitnessError


class ExportError(EarwitnessError):
    """Base of all refusals of an export."""

    code = "INVALID_ARGUMENT"
    reason = "EXPORT_REFUSED"


class UnsupportedOperator(ExportError):
    """`operator` (e.g. `aten.cumprod.default`), met in module path `layer`, cannot be served."""

    def __init__(self, operator: str, layer: str, reason: str, way_out: str = "") -> None:
        where = f"layer {layer!r}" if layer else "what surrounds the layers"
        usual = (
            "Replace it there by what can (convolution, pooling, normalisation in eval mode, dense, attention, "
            "element-wise), or add a rule to earwitness.training.export.rules"
        )
        super().__init__(f"operator {operator} in {where} cannot be exported: {reason}. {way_out or usual}")
        self.operator = operator
        self.layer = layer


class LayerError(ExportError):
    """A named layer cannot give units."""


class ShapeError(ExportError):
    """Shapes of latent, spectrogram or units are not what a bundle needs."""


class FrozenGradient(ExportError):
    """The gradient with respect to the latent carries no information: zero, or independent of the latent."""


class NotRepeatable(ExportError):
    """A latent has no activation of its own: a layer draws random numbers, or computes over the batch."""


class ParityError(ExportError):
    """A served graph differs from torch by more than the tolerance."""


class SourceError(ExportError):
    """An import path or a checkpoint file does not lead to a network."""
