"""SVDNet, the singing-voice detector to be explained."""

from typing import Final

import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument
from earwitness.training.networks.detector import Detector
from earwitness.training.networks.standardise import BandStandardise

LEAKY_SLOPE: Final = 0.01
POOL: Final = 3


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.LeakyReLU(LEAKY_SLOPE))


def _valid_size(size: int) -> int:
    """Length of one axis after conv1, conv2, pool3, conv4, conv5 and pool6."""
    for _ in range(2):
        size = (size - 4) // POOL
    return size


class SVDNet(Detector):
    """Unstandardised log-mel `[B, 1, bands, frames]` → logits `[B, outputs]`.

    Each named layer (conv1 conv2 pool3 conv4 conv5 pool6 fc7 fc8 fc9) is a submodule whose output is the layer after
    its nonlinearity; fc9 holds the logits. One output (R1) is the logit of "vocal"; two (R2) are non-vocal, vocal.

    Source: Mishra et al. 2019 (arXiv:1904.09533); Schlüter & Grill, ISMIR 2015.
    """

    layer_names = ("conv1", "conv2", "pool3", "conv4", "conv5", "pool6", "fc7", "fc8", "fc9")
    judged_layers = ("pool3", "pool6", "fc7", "fc8")

    def __init__(self, output_count: int = 1, band_count: int = 80, frame_count: int = 115) -> None:
        super().__init__()
        if output_count not in (1, 2):
            raise InvalidArgument("output_count", f"got {output_count}, expected 1 (sigmoid) or 2 (softmax)")
        self.output_count = output_count
        self.frame_count = frame_count
        self.pooled_shape = (64, _valid_size(band_count), _valid_size(frame_count))
        if min(self.pooled_shape) < 1:
            raise InvalidArgument(
                "band_count, frame_count",
                f"got {band_count} × {frame_count}, too small for two 3×3 poolings; use at least 25 × 25",
            )
        self.standardise = BandStandardise(band_count)
        self.conv1 = _conv(1, 64)
        self.conv2 = _conv(64, 32)
        self.pool3 = nn.MaxPool2d(POOL)
        self.conv4 = _conv(32, 128)
        self.conv5 = _conv(128, 64)
        self.pool6 = nn.MaxPool2d(POOL)
        channels, rows, columns = self.pooled_shape
        self.dropout = nn.Dropout(0.5)
        self.fc7 = nn.Sequential(nn.Linear(channels * rows * columns, 256), nn.LeakyReLU(LEAKY_SLOPE))
        self.fc8 = nn.Sequential(nn.Linear(256, 64), nn.LeakyReLU(LEAKY_SLOPE))
        self.fc9 = nn.Linear(64, output_count)

    def initialise(self, generator: torch.Generator) -> None:
        """Orthogonal weights and zero biases from `generator`.

        Layers before a leaky ReLU get its gain: with gain 1 the signal halves its power eight times over, and plain
        gradient descent stays at chance for thousands of updates.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                gain = 1.0 if module is self.fc9 else nn.init.calculate_gain("leaky_relu", LEAKY_SLOPE)
                nn.init.orthogonal_(module.weight, gain, generator)
                nn.init.zeros_(module.bias)

    def embed(self, x: Tensor) -> Tensor:
        """Output of fc8, `[B, 64]`."""
        x = self.pool3(self.conv2(self.conv1(self.standardise(x))))
        return self._embed_pooled(self.pool6(self.conv5(self.conv4(x))).flatten(1))

    def judged(self, x: Tensor) -> list[Tensor]:
        """Outputs of `judged_layers`."""
        # Pooling before the monotone activation gives the same numbers with a third fewer element-wise passes.
        pool3 = self.conv2[1](self.pool3(self.conv2[0](self.conv1(self.standardise(x)))))
        pool6 = self.conv5[1](self.pool6(self.conv5[0](self.conv4(pool3))))
        fc7 = self.fc7(self.dropout(pool6.flatten(1)))
        return [pool3, pool6, fc7, self.fc8(self.dropout(fc7))]

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, outputs]`."""
        logits: Tensor = self.fc9(self.dropout(self.embed(x)))
        return logits

    def segment_logits(self, x: Tensor) -> Tensor:
        """Logits `[B, N, outputs]` of the N excerpts, 9 frames apart, of segments `[B, 1, bands, 115 + 9 (N − 1)]`."""
        x = self.standardise(x)
        # Pooling before the monotone activation gives the same numbers and a third fewer element-wise passes.
        x = self.conv2[1](self.pool3(self.conv2[0](self.conv1(x))))
        x = self.conv5[1](self.pool6(self.conv5[0](self.conv4(x))))
        excerpts = x.unfold(3, self.pooled_shape[2], 1).permute(0, 3, 1, 2, 4).flatten(2)
        logits: Tensor = self.fc9(self.dropout(self._embed_pooled(excerpts)))
        return logits

    def probability(self, x: Tensor) -> Tensor:
        """Sigmoid or softmax of the logits, `[B, outputs]`."""
        return probabilities(self(x))

    def frame_logits(self, x: Tensor) -> Tensor:
        """Logits of every excerpt that fits into one long recording, hop 1.

        `x` is `[bands, T]`; returns `[T − frame_count + 1, outputs]`, row t being the excerpt that starts at frame t.
        The convolutions run once for all excerpts: pooling with stride 3 is replaced by stride 1 and the taps after it
        are spread by 3 and then 9 (the same numbers at a fraction of the cost). Call it in eval mode.

        Raises: InvalidArgument when the recording is shorter than an excerpt.
        """
        if x.shape[1] < self.frame_count:
            raise InvalidArgument("x", f"got {x.shape[1]} frames, expected at least {self.frame_count}, one excerpt")
        channels, rows, columns = self.pooled_shape
        x = self.standardise(x[None, None])
        x = _pool_every_frame(self.conv2(self.conv1(x)), spread=1)
        x = _spread_in_time(self.conv5, _spread_in_time(self.conv4, x, spread=3), spread=3)
        x = _pool_every_frame(x, spread=3)
        dense, activation = self.fc7
        assert isinstance(dense, nn.Linear)
        kernel = dense.weight.reshape(-1, channels, rows, columns)
        x = activation(nn.functional.conv2d(x, kernel, dense.bias, dilation=(1, 9)))
        logits: Tensor = self.fc9(self.fc8(x[0, :, 0].T))
        return logits

    def _embed_pooled(self, pooled: Tensor) -> Tensor:
        embedded: Tensor = self.fc8(self.dropout(self.fc7(self.dropout(pooled))))
        return embedded


def probabilities(logits: Tensor) -> Tensor:
    """Sigmoid of `[B, 1]` logits, softmax of `[B, 2]` ones."""
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)


def _pool_every_frame(x: Tensor, spread: int) -> Tensor:
    return nn.functional.max_pool2d(x, (POOL, POOL), stride=(POOL, 1), dilation=(1, spread))


def _spread_in_time(layer: nn.Module, x: Tensor, spread: int) -> Tensor:
    conv, activation = layer[0], layer[1]  # type: ignore[index]
    activated: Tensor = activation(nn.functional.conv2d(x, conv.weight, conv.bias, dilation=(1, spread)))
    return activated
