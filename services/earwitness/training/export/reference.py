"""What torch says, in float64: the truth the served graphs are held against."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.training.export.pair import Pair

Exact = NDArray[np.float64]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """Results of B rows: spectrogram `[B, bands, frames]`, units `[B, U]`, gradient `[B, Z]` of the activation."""

    spectrogram: Exact
    units: Exact
    gradient: Exact


class Reference:
    """The chain of a pair in float64.

    Float32 would do for the comparison but for its own rounding: in a float32 chain a pre-activation next to zero
    changes sides, and with it the gradient, as easily in torch as in the graph under test.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._weights = {
            network: {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}
            for network, tensors in pair.weights().items()
        }

    def truth(self, z: Array, unit_weights: Array) -> Truth:
        """Everything about z `[B, Z]`; the gradient, by autograd, is that of Σ_u unit_weights·units."""
        latent = torch.from_numpy(z).double().requires_grad_(True)
        x = self._pair.generate(self._weights, latent)
        units = torch.cat(self._pair.classify(self._weights, x), dim=1)
        (gradient,) = torch.autograd.grad((units * torch.from_numpy(unit_weights)).sum(), latent)
        return Truth(self._served(x).detach().numpy(), units.detach().numpy(), gradient.numpy())

    def units(self, z: Exact) -> Exact:
        """z `[B, Z]` → `[B, U]`."""
        with torch.no_grad():
            x = self._pair.generate(self._weights, torch.from_numpy(z))
            return np.asarray(torch.cat(self._pair.classify(self._weights, x), dim=1).numpy())

    def _served(self, x: Tensor) -> Tensor:
        return x.squeeze(1) if self._pair.has_channel else x
