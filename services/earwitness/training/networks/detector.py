"""What the rest of training needs of a detector, whichever network it is."""

from abc import ABC, abstractmethod
from math import prod

from torch import Tensor, nn

VALUES_AT_ONCE = 1 << 19
"""Spectrogram values given to a detector together: it holds dozens of times as many between its layers."""


def rows_at_once(size: tuple[int, int]) -> int:
    """Excerpts of (bands, frames) to give a detector at once: 56 of the singing detector's, 1 of 1025 × 400."""
    return max(1, VALUES_AT_ONCE // prod(size))


class Detector(nn.Module, ABC):
    """Unstandardised spectrograms `[B, 1, bands, frames]` → logits `[B, outputs]`."""

    layer_names: tuple[str, ...]
    """Submodules whose outputs are the layers, after their nonlinearity; the last holds the logits."""
    judged_layers: tuple[str, ...]
    """Layers that show a generator's critic what the detector sees: one of each resolution, and the dense ones."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Units `[B, U]` of the last hidden layer, `layer_names[-2]`; of a convolution, the mean of each channel."""

    @abstractmethod
    def judged(self, x: Tensor) -> list[Tensor]:
        """Outputs of `judged_layers`, each `[B, C, rows, columns]` or `[B, units]`."""
