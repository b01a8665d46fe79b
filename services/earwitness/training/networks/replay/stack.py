"""A stack of named layers that keeps track of its shape: what the networks of the paper's table are built with."""

from collections.abc import Callable
from math import prod
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument

Activation = Literal["mfm", "elu"]
ACTIVATIONS: Final[tuple[Activation, ...]] = get_args(Activation)

UNPADDED: Final = (0, 0)


class MaxFeatureMap(nn.Module):
    """`[B, 2C, ...]` → `[B, C, ...]`: of channels c and C + c the larger, element by element.

    While training it is a sum with a rectified difference, the same but for rounding: the gradient of torch.maximum
    shares out ties, in seven passes over the memory, a third of an update's time on a CPU.

    Source: Wu et al. 2018 (arXiv:1511.02683).
    """

    def forward(self, x: Tensor) -> Tensor:
        """The element-wise maximum of the two halves of the channels."""
        first, second = x.chunk(2, dim=1)
        return first + torch.relu(second - first) if self.training else torch.maximum(first, second)


class Stack:
    """Collects layers for an input `[B, 1, bands, frames]`, each with its nonlinearity behind it.

    A layer's `width` is how many channels or units it puts out; under MFM it computes twice as many. Kernels and
    windows are (bands, frames), as the input is laid out: the paper writes them the other way round, time × frequency.
    Poolings take maxima and drop what does not fill a window. Layers are named by kind and position: conv1, pool2, fc3.

    Raises (from every layer): InvalidArgument when nothing of the input is left.
    """

    def __init__(self, bands: int, frames: int, activation: Activation, dropout: float) -> None:
        self.layers: dict[str, nn.Module] = {}
        self.shape: tuple[int, ...] = (1, bands, frames)
        self._input = (bands, frames)
        self._activation = activation
        self._dropout = dropout

    def conv(
        self, width: int, kernel: tuple[int, int], padding: tuple[int, int] = UNPADDED, *, dropout: bool = False
    ) -> None:
        """A convolution, `padding` zeros at both ends of each axis, dropout on its input if said so."""
        self._add("conv", *self._dropped(dropout), *self._activated(self._convolution(kernel, padding), width))
        self._resize(width, kernel, padding, stride=(1, 1))

    def nin(self, width: int) -> None:
        """A 1×1 convolution ("network in network")."""
        self._add("nin", *self._activated(self._convolution((1, 1), UNPADDED), width))
        self._resize(width, (1, 1), UNPADDED, stride=(1, 1))

    def pool(self, window: tuple[int, int]) -> None:
        """A max pooling."""
        self._add("pool", nn.MaxPool2d(window))
        self._resize(self.shape[0], window, UNPADDED, stride=window)

    def pool_all(self) -> None:
        """The maximum of each channel over all positions."""
        self._add("pool", nn.AdaptiveMaxPool2d(1))
        self.shape = (self.shape[0], 1, 1)

    def dense(self, width: int) -> None:
        """A dense layer with dropout on its input."""
        self._add("fc", *self._flattened(), *self._activated(self._linear(), width))
        self.shape = (width,)

    def logits(self, count: int) -> None:
        """The last dense layer: dropout on its input, no nonlinearity."""
        self._add("fc", *self._flattened(), self._linear()(count))
        self.shape = (count,)

    def mean_logits(self, count: int) -> None:
        """A last 1×1 convolution, dropout on its input, and the mean over all positions."""
        logits = self._convolution((1, 1), UNPADDED)(count)
        self._add("conv", *self._dropped(True), logits, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.shape = (count,)

    def _add(self, kind: str, *modules: nn.Module) -> None:
        self.layers[f"{kind}{len(self.layers) + 1}"] = modules[0] if len(modules) == 1 else nn.Sequential(*modules)

    def _activated(self, linear: Callable[[int], nn.Module], width: int) -> tuple[nn.Module, nn.Module]:
        return (linear(2 * width), MaxFeatureMap()) if self._activation == "mfm" else (linear(width), nn.ELU())

    def _convolution(self, kernel: tuple[int, int], padding: tuple[int, int]) -> Callable[[int], nn.Module]:
        channels = self.shape[0]
        return lambda width: nn.Conv2d(channels, width, kernel, padding=padding)

    def _linear(self) -> Callable[[int], nn.Module]:
        inputs = prod(self.shape)
        return lambda width: nn.Linear(inputs, width)

    def _dropped(self, dropout: bool) -> list[nn.Module]:
        return [nn.Dropout(self._dropout)] if dropout else []

    def _flattened(self) -> list[nn.Module]:
        return [*([nn.Flatten()] if len(self.shape) > 1 else []), *self._dropped(True)]

    def _resize(
        self, channels: int, window: tuple[int, int], padding: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        _, *size = self.shape
        bands, frames = ((n + 2 * p - w) // s + 1 for n, w, p, s in zip(size, window, padding, stride, strict=True))
        if min(bands, frames) < 1:
            raise InvalidArgument(
                "bands, frames",
                f"got {self._input[0]} × {self._input[1]}, of which layer {next(reversed(self.layers))} "
                f"leaves nothing ({size[0]} × {size[1]} come in); give a larger input",
            )
        self.shape = (channels, bands, frames)
