"""Per-band standardisation as a layer, so that its gradient is part of every chain built on it."""

import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument


class BandStandardise(nn.Module):
    """`(x − mean) / std` per band of a batch of spectrograms `[B, 1, bands, frames]`.

    `mean` and `std` are buffers `[1, 1, bands, 1]`, float32: saved with the weights, never trained.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, band_count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 1, band_count, 1))
        self.register_buffer("std", torch.ones(1, 1, band_count, 1))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Takes the training set's statistics, both `[bands]`.

        Raises: InvalidArgument when a standard deviation is not positive; ValueError when a shape is another.
        """
        bands = self.mean.shape[2]
        for name, values in (("mean", mean), ("std", std)):
            if values.shape != (bands,):
                raise ValueError(f"{name}: got shape {tuple(values.shape)}, expected ({bands},), one value per band")
        if not bool((std > 0).all()):
            raise InvalidArgument("std", f"got {float(std.min())} in band {int(std.argmin())}, expected values above 0")
        self.mean.copy_(mean.reshape(1, 1, bands, 1))
        self.std.copy_(std.reshape(1, 1, bands, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised batch of the same shape."""
        return (x - self.mean) / self.std
