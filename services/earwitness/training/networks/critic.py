"""The critic that a generator is trained against."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument
from earwitness.training.networks.detector import Detector, rows_at_once
from earwitness.training.networks.initialise import LEAKY_SLOPE, he_normal
from earwitness.training.networks.standardise import BandStandardise

SINGING_EXCERPT: Final = (80, 115)
"""Bands and frames of the singing detector's input."""
HEAD_POSITIONS: Final = 128
"""Most positions of a layer that are read out without being halved."""
HEAD_CHANNELS: Final = 64
HEAD_UNITS: Final = 128


class Critic(nn.Module):
    """Unstandardised spectrogram `[B, 1, *size]` and its label `[B]`, −1 or 1 → realness `[B]` as one of that label.

    It is the sum of what is read off the pixels and, with a detector, off its layers; every read-out has a part that
    the label multiplies. Nothing couples the examples of a batch (no batch norm, no minibatch statistics): the gradient
    penalty is per example, and one backward pass through the critic can serve both players.

    Source: projection discriminator, Miyato & Koyama 2018 (arXiv:1802.05637).
    """

    def __init__(
        self, channels: int = 16, detector: Detector | None = None, size: tuple[int, int] = SINGING_EXCERPT
    ) -> None:
        super().__init__()
        self.pixels = PixelCritic(channels, size)
        self.layers = None if detector is None else LayerCritic(detector, size)

    def initialise(self, generator: torch.Generator) -> None:
        """He-normal weights and zero biases from `generator`; the detector's are left alone."""
        self.pixels.initialise(generator)
        if self.layers is not None:
            self.layers.initialise(generator)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Realness `[B]`."""
        read = self.pixels(x) if self.layers is None else self.pixels(x) + self.layers(x)
        return _realness(read, labels)

    def squared_slopes(self, x: Tensor, labels: Tensor) -> Tensor:
        """Squared norm `[B]` of the realness' gradient at `x`, differentiable.

        With respect to the *standardised* pixels, whose scale is that of no corpus, and to the detector's standardised
        layers as if they were inputs of their own: what the detector does below them is not the critic's to smooth.
        """
        total = _squared_slopes(self.pixels.read_standardised, [self.pixels.standardise(x)], labels)
        if self.layers is not None:
            total = total + _squared_slopes(self.layers.read_layers, self.layers.standardised_layers(x), labels)
        return total


class PixelCritic(nn.Module):
    """A 3×3 convolution at full resolution, where harmonics and textures are told apart, then four stride-2 4×4
    convolutions that double the channels up to 8 times the first; leaky ReLU 0.2."""

    def __init__(self, channels: int, size: tuple[int, int] = SINGING_EXCERPT) -> None:
        """`size` is (bands, frames) of the input.

        Raises: InvalidArgument when it is smaller than 16 × 16.
        """
        super().__init__()
        bands, frames = size
        if min(size) < 16:
            raise InvalidArgument("size", f"got {bands} × {frames}, expected at least 16 × 16, halved four times")
        self.standardise = BandStandardise(bands)
        widths = [channels, *(channels << step for step in (1, 2, 3, 3))]
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1) for inputs, outputs in pairwise(widths)
        )
        self.read = nn.Linear(widths[-1] * (bands // 16) * (frames // 16), 2)

    def initialise(self, generator: torch.Generator) -> None:
        """He-normal weights and zero biases from `generator`."""
        for layer in (self.first, *self.down):
            assert isinstance(layer, nn.Conv2d)
            he_normal(layer, layer.weight[0].numel(), generator)
        he_normal(self.read, self.read.in_features, generator, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Realness without and with regard to the label, `[B, 2]`."""
        return self.read_standardised([self.standardise(x)])

    def read_standardised(self, inputs: Sequence[Tensor]) -> Tensor:
        """The same `[B, 2]` of the one standardised batch in `inputs`."""
        x = nn.functional.leaky_relu(self.first(inputs[0]), LEAKY_SLOPE)
        for layer in self.down:
            x = nn.functional.leaky_relu(layer(x), LEAKY_SLOPE)
        read: Tensor = self.read(x.flatten(1))
        return read


class LayerCritic(nn.Module):
    """The sum of what small heads read off the judged layers of a trained detector, itself left as it is.

    Pixels show a critic whether an excerpt is sharp; what a detector has learned shows it at once whether an excerpt is
    as vocal, as dense, as percussive as real ones are.

    Source: Projected GANs, Sauer et al. 2021 (arXiv:2111.01007).
    """

    def __init__(self, detector: Detector, size: tuple[int, int]) -> None:
        """`size` is (bands, frames) of the input."""
        super().__init__()
        self.detector = detector.eval().requires_grad_(False)
        with torch.no_grad():
            shapes = [layer.shape[1:] for layer in detector.judged(torch.zeros(1, 1, *size))]
        self.heads = nn.ModuleDict()
        for name, shape in zip(detector.judged_layers, shapes, strict=True):
            self.heads[name] = _dense_head(*shape) if len(shape) == 1 else _spatial_head(*shape)
            self.register_buffer(f"{name}_mean", torch.zeros(shape[0]))
            self.register_buffer(f"{name}_std", torch.ones(shape[0]))

    def initialise(self, generator: torch.Generator) -> None:
        """He-normal weights and zero biases of the heads, from `generator`."""
        for layer in self.heads.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                last = isinstance(layer, nn.Linear) and layer.out_features == 2
                # Several read-outs are summed, beside that of the pixels.
                he_normal(layer, layer.weight[0].numel(), generator, **({"gain": 0.5} if last else {}))

    @torch.no_grad()
    def set_statistics(self, x: Tensor) -> None:
        """Takes the layers' mean and standard deviation per unit or channel from real excerpts `[B, 1, *size]`."""
        sums = dict[str, Tensor]()
        for rows in torch.split(x, rows_at_once((x.shape[2], x.shape[3]))):
            for name, values in self._judged(rows):
                exact = values.double().transpose(0, 1).flatten(1)
                of_rows = torch.stack([torch.ones_like(exact).sum(1), exact.sum(1), exact.square().sum(1)])
                sums[name] = sums[name] + of_rows if name in sums else of_rows
        for name, (count, total, squares) in sums.items():
            mean = total / count
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_std").copy_(((squares - total * mean) / (count - 1)).clamp(min=0).sqrt() + 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Realness without and with regard to the label, `[B, 2]`."""
        return self.read_layers(self.standardised_layers(x))

    def standardised_layers(self, x: Tensor) -> list[Tensor]:
        """The judged layers of `x`, each with mean 0 and variance 1 over real excerpts."""
        standardised = []
        for name, values in self._judged(x):
            shape = (1, -1, *[1] * (values.ndim - 2))
            mean, std = getattr(self, f"{name}_mean"), getattr(self, f"{name}_std")
            standardised.append((values - mean.view(shape)) / std.view(shape))
        return standardised

    def read_layers(self, layers: Sequence[Tensor]) -> Tensor:
        """The same `[B, 2]` of standardised layers."""
        read = [head(values) for head, values in zip(self.heads.values(), layers, strict=True)]
        return torch.stack(read).sum(0)

    def _judged(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Each judged layer's name and output."""
        return zip(self.detector.judged_layers, self.detector.judged(x), strict=True)


def _spatial_head(channels: int, rows: int, columns: int) -> nn.Sequential:
    """Convolutions, of stride 2 until few positions are left, and a read-out of two values."""
    layers: list[nn.Module] = []
    while not layers or rows * columns > HEAD_POSITIONS:
        stride = 2 if rows * columns > HEAD_POSITIONS else 1
        layers += [
            nn.Conv2d(channels, HEAD_CHANNELS, 3, stride=stride, padding=1),
            nn.LeakyReLU(LEAKY_SLOPE),
        ]
        channels, rows, columns = HEAD_CHANNELS, -(-rows // stride), -(-columns // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * rows * columns, 2))


def _dense_head(units: int) -> nn.Sequential:
    width = min(units, HEAD_UNITS)
    return nn.Sequential(nn.Linear(units, width), nn.LeakyReLU(LEAKY_SLOPE), nn.Linear(width, 2))


def _realness(read: Tensor, labels: Tensor) -> Tensor:
    return read[:, 0] + labels * read[:, 1]


def _squared_slopes(read: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    inputs = [values.detach().requires_grad_(True) for values in inputs]
    gradients = torch.autograd.grad(_realness(read(inputs), labels).sum(), inputs, create_graph=True)
    return torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0)
