"""How the GAN's networks begin."""

import math
from typing import Final

import torch
from torch import Tensor, nn

LEAKY_SLOPE: Final = 0.2
GAIN: Final = math.sqrt(2.0 / (1.0 + LEAKY_SLOPE**2))
"""Keeps a signal's power through a leaky ReLU."""


def he_normal(layer: nn.Module, fan_in: float, generator: torch.Generator, gain: float = GAIN) -> None:
    """Normal weights that keep the power of `fan_in` summed inputs times `gain`², zero biases."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in), generator=generator)
    nn.init.zeros_(bias)
