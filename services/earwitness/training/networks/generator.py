"""The generators that span the classifier's input representation."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument
from earwitness.training.networks.initialise import LEAKY_SLOPE, he_normal
from earwitness.training.networks.standardise import BandStandardise

Arch = Literal["paper", "refined"]


class Generator(nn.Module):
    """The published layout: z `[B, latent_size]` ~ N(0, I) → unstandardised spectrogram `[B, 1, bands, frames]`.

    Dense to 5×8×channels (frequency × time), four stride-2 5×5 transposed convolutions that halve the channels, leaky
    ReLU 0.2, a 5×5 convolution to one channel, `max(·, floor)`, centre crop of 128 to 115 frames. For another input
    than the singing detector's 80×115 the first shape is the smallest whose sixteenfold covers it, and both axes are
    cropped: 257×100 begins at 17×7. The last convolution works in standardised units: its output is scaled and shifted
    by the per-band buffers of `standardise` (x = mean + std · out) before the floor, an affine step of fixed
    coefficients that the published network would have to learn in its last layer.

    Source: Mishra et al. 2019 (arXiv:1904.09533) and its authors' code.
    """

    def __init__(
        self,
        latent_size: int = 128,
        channels: int = 128,
        frame_count: int = 115,
        log_floor: float = math.log(1e-7),
        band_count: int = 80,
    ) -> None:
        super().__init__()
        if channels % 16 or channels < 16:
            raise InvalidArgument("channels", f"got {channels}, expected a multiple of 16, halved four times")
        for name, count in (("band_count", band_count), ("frame_count", frame_count)):
            if count < 1:
                raise InvalidArgument(name, f"got {count}, expected at least 1")
        self.latent_size = latent_size
        self.channels = channels
        self.size = (band_count, frame_count)
        self.log_floor = log_floor
        self.first_shape = (-(-band_count // 16), -(-frame_count // 16))
        self.crop = tuple((16 * first - size) // 2 for first, size in zip(self.first_shape, self.size, strict=True))
        self.standardise = BandStandardise(band_count)
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

    def features(self, z: Tensor) -> Tensor:
        """What the last convolution sees, `[B, channels / 16, ...]`, both axes 16 times the first shape: 80 × 128."""
        x = nn.functional.leaky_relu(self.dense(z), LEAKY_SLOPE).reshape(-1, self.channels, *self.first_shape)
        for layer in self.up:
            x = nn.functional.leaky_relu(layer(x), LEAKY_SLOPE)
        return x

    def drawn(self, features: Tensor) -> Tensor:
        """Standardised, uncropped picture `[B, 1, ...]` of the features, of their size."""
        drawn: Tensor = self.out(features)
        return drawn

    def forward(self, z: Tensor) -> Tensor:
        """Spectrograms `[B, 1, bands, frames]`, at least `log_floor` everywhere."""
        (bands, frames), (band, frame) = self.size, self.crop
        x = self.drawn(self.features(z))[:, :, band : band + bands, frame : frame + frames]
        return torch.clamp(x * self.standardise.std + self.standardise.mean, min=self.log_floor)


class RefinedGenerator(Generator):
    """The published layout, and a head that refines its picture at full resolution.

    The head sees the last features of the published layout, and planes of noise which these turn up and down: the fine
    grain of breath, hiss and drums, that no latent should have to spell out. What it makes is added to the picture. Its
    last convolution begins at zero, so that a network that is begun with the weights of the published layout begins as
    that one. While training the noise is drawn anew for every excerpt; in eval mode it is one fixed draw, a buffer:
    a latent always makes the same sound.

    Source: noise inputs, Karras et al. 2019 (arXiv:1812.04948).
    """

    noise: Tensor

    def __init__(
        self,
        latent_size: int = 128,
        channels: int = 128,
        frame_count: int = 115,
        log_floor: float = math.log(1e-7),
        band_count: int = 80,
    ) -> None:
        super().__init__(latent_size, channels, frame_count, log_floor, band_count)
        width, head = channels // 16, channels // 8
        self.register_buffer("noise", torch.zeros(1, width, *(16 * size for size in self.first_shape)))
        self.gain = nn.Conv2d(width, width, 1)
        self.head = nn.ModuleList(nn.Conv2d(inputs, head, 3, padding=1) for inputs in (2 * width, head, head))
        self.finish = nn.Conv2d(head, 1, 3, padding=1)

    def initialise(self, generator: torch.Generator) -> None:
        """As the published layout; the fixed noise is drawn from `generator` too."""
        super().initialise(generator)
        self.noise.normal_(generator=generator)
        he_normal(self.gain, self.gain.in_channels, generator)
        for layer in self.head:
            assert isinstance(layer, nn.Conv2d)
            he_normal(layer, layer.in_channels * 9, generator)
        nn.init.zeros_(self.finish.weight)
        assert self.finish.bias is not None
        nn.init.zeros_(self.finish.bias)

    def drawn(self, features: Tensor) -> Tensor:
        """As the published layout, refined."""
        noise = torch.randn_like(features) if self.training else self.noise
        x = torch.cat([features, self.gain(features) * noise], dim=1)
        for layer in self.head:
            x = nn.functional.leaky_relu(layer(x), LEAKY_SLOPE)
        refined: Tensor = self.out(features) + self.finish(x)
        return refined


GENERATORS: Final[Mapping[Arch, type[Generator]]] = {"paper": Generator, "refined": RefinedGenerator}
"""Every layout of a generator, by the name that `--arch` takes."""


def make_generator(arch: Arch = "paper", **arguments: Any) -> Generator:
    """A generator of one of GENERATORS' layouts; checkpoints that name none hold the published one.

    Raises: InvalidArgument for another layout, or for arguments that it cannot have.
    """
    if arch not in GENERATORS:
        raise InvalidArgument("arch", f"got {arch!r}, expected one of {', '.join(GENERATORS)}")
    return GENERATORS[arch](**arguments)
