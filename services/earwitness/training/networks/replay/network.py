"""A replay detector: standardisation and the named layers of one of the paper's networks."""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument
from earwitness.features import get_profile
from earwitness.training.networks.detector import Detector
from earwitness.training.networks.replay.stack import ACTIVATIONS, Activation, Stack
from earwitness.training.networks.replay.table import NETWORKS, OUTPUTS, network_spec
from earwitness.training.networks.standardise import BandStandardise

GENUINE: Final = 0
SPOOF: Final = 1
LABELS: Final[dict[str, tuple[str, str]]] = {
    str(GENUINE): ("genuine", "spoof"),
    str(SPOOF): ("spoof", "genuine"),
}
"""Words for a high and a low activation of each output unit."""


class ReplayNetwork(Detector):
    """Unstandardised spectrograms `[B, 1, bands, frames]` → logits `[B, 2]`: genuine, spoof.

    Each of `layer_names` is a submodule whose output is the layer after its nonlinearity, the last holds the logits.
    """

    def __init__(
        self,
        network: str,
        band_count: int,
        frame_count: int,
        activation: Activation | None = None,
        dropout: float = 0.5,
    ) -> None:
        """`network` is a name of `NETWORKS`; `activation` defaults to the one of its row.

        Raises: InvalidArgument when a name is unknown, `dropout` no share, or the input too small for the network.
        """
        super().__init__()
        spec = network_spec(network)
        self.activation = activation or spec.activation
        if self.activation not in ACTIVATIONS:
            raise InvalidArgument("activation", f"got {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        if not 0 <= dropout < 1:
            raise InvalidArgument("dropout", f"got {dropout}, expected a share from 0 up to, not including, 1")
        stack = Stack(band_count, frame_count, self.activation, dropout)
        spec.add_layers(stack)
        assert stack.shape == (OUTPUTS,)
        self.layer_names = tuple(stack.layers)
        self.standardise = BandStandardise(band_count)
        for name, layer in stack.layers.items():
            self.add_module(name, layer)
        self.judged_layers = tuple(_judged(stack.layers))

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier weights (uniform) and zero biases from `generator`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, 2]`."""
        logits: Tensor = getattr(self, self.layer_names[-1])(self._last_hidden(x))
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """Units `[B, U]` of the last hidden layer; of a convolution, the mean of each channel."""
        hidden = self._last_hidden(x)
        return hidden if hidden.ndim == 2 else hidden.mean(dim=(2, 3))

    def judged(self, x: Tensor) -> list[Tensor]:
        """Outputs of `judged_layers`."""
        return [output for name, output in self._hidden(x) if name in self.judged_layers]

    def _last_hidden(self, x: Tensor) -> Tensor:
        return deque(self._hidden(x), maxlen=1)[0][1]

    def _hidden(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every layer's name and output, without the logits."""
        x = self.standardise(x)
        for name in self.layer_names[:-1]:
            x = getattr(self, name)(x)
            yield name, x


def _judged(layers: Mapping[str, nn.Module]) -> Iterator[str]:
    """Poolings and dense layers, without the logits; of a pooling over all positions, what it pools."""
    for (name, layer), (_, following) in pairwise(layers.items()):
        pooled = name.startswith("pool") and not isinstance(layer, nn.AdaptiveMaxPool2d)
        if pooled or name.startswith("fc") or isinstance(following, nn.AdaptiveMaxPool2d):
            yield name


def log_odds(logits: Tensor) -> Tensor:
    """Score `[B]` of logits `[B, 2]`: the log-odds of genuine under their softmax. Higher is more genuine."""
    return logits[:, GENUINE] - logits[:, SPOOF]


def parameter_table() -> dict[str, dict[Activation, int]]:
    """Trained parameters of every network at its own front end, with each nonlinearity."""
    table = dict[str, dict[Activation, int]]()
    for name, spec in NETWORKS.items():
        shape = get_profile(spec.profile_name).excerpt_shape
        table[name] = {
            activation: sum(each.numel() for each in ReplayNetwork(name, *shape, activation).parameters())
            for activation in ACTIVATIONS
        }
    return table
