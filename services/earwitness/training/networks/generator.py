"""The generator that spans the classifier's input representation."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from earwitness.training.networks.initialise import LEAKY_SLOPE, he_normal
from earwitness.training.networks.standardise import BandStandardise


class Generator(nn.Module):
    """z `[B, latent_size]` ~ N(0, I) → unstandardised log-mel `[B, 1, 80, 115]`.

    Dense to 5×8×channels (frequency × time), four stride-2 5×5 transposed convolutions that halve the channels, leaky
    ReLU 0.2, a 5×5 convolution to one channel, `max(·, floor)`, centre crop of 128 to 115 frames. The last convolution
    works in standardised units: its output is scaled and shifted by the per-band buffers of `standardise`
    (x = mean + std · out) before the floor, an affine step of fixed coefficients that the published network would have
    to learn in its last layer.

    Source: Mishra et al. 2019 (arXiv:1904.09533) and its authors' code.
    """

    first_shape = (5, 8)

    def __init__(
        self,
        latent_size: int = 128,
        channels: int = 128,
        frame_count: int = 115,
        log_floor: float = math.log(1e-7),
    ) -> None:
        super().__init__()
        if channels % 16 or channels < 16:
            raise ValueError(f"channels: got {channels}, expected a multiple of 16, halved four times")
        rows, columns = (16 * size for size in self.first_shape)
        if not 0 < frame_count <= columns:
            raise ValueError(f"frame_count: got {frame_count}, expected 1 ... {columns}")
        self.latent_size = latent_size
        self.channels = channels
        self.frame_count = frame_count
        self.log_floor = log_floor
        self.crop = (columns - frame_count) // 2
        self.standardise = BandStandardise(rows)
        self.dense = nn.Linear(latent_size, channels * math.prod(self.first_shape))
        widths = [channels >> step for step in range(5)]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)
            for inputs, outputs in pairwise(widths)
        )
        self.out = nn.Conv2d(widths[-1], 1, 5, padding=2)

    def initialise(self, generator: torch.Generator) -> None:
        """He-normal weights for what each output really sums over, zero biases, from `generator`."""
        he_normal(self.dense, self.latent_size, generator)
        for layer in self.up:
            assert isinstance(layer, nn.ConvTranspose2d)
            # With stride 2 only a quarter of the 25 taps meets each output.
            he_normal(layer, layer.in_channels * 25 / 4, generator)
        he_normal(self.out, self.out.in_channels * 25, generator, gain=1.0)

    def forward(self, z: Tensor) -> Tensor:
        """Log-mel spectrograms `[B, 1, 80, frame_count]`, at least `log_floor` everywhere."""
        x = nn.functional.leaky_relu(self.dense(z), LEAKY_SLOPE).reshape(-1, self.channels, *self.first_shape)
        for layer in self.up:
            x = nn.functional.leaky_relu(layer(x), LEAKY_SLOPE)
        x = self.out(x)[:, :, :, self.crop : self.crop + self.frame_count]
        return torch.clamp(x * self.standardise.std + self.standardise.mean, min=self.log_floor)
