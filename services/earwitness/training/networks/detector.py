"""What the rest of training needs of a detector, whichever network it is."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


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
