"""What torch says, in float64: the truth the served graphs are held against."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from earwitness.training.export.discovery import FAILURES, entered_layers, failed
from earwitness.training.export.errors import ExportError
from earwitness.training.export.layers import units_of
from earwitness.training.export.pair import Pair

Exact = NDArray[np.float64]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """Results of B rows: spectrogram `[B, bands, frames]`, units `[B, U]`, gradient `[B, Z]` of the activation; what
    the classifier returns, `[B, outputs]`."""

    spectrogram: Exact
    units: Exact
    gradient: Exact
    returned: Exact


TINY = float(np.finfo(np.float64).tiny)
VALUES_AT_ONCE = 1 << 21
"""Spectrogram values of the rows computed together: a network holds hundreds of times as many between its layers."""


def rows_at_once(pair: Pair) -> int:
    """Rows whose chain fits into a few gigabytes in float64: 228 of the singing detector, 5 of four seconds in 1025
    bands."""
    return max(1, VALUES_AT_ONCE // prod(pair.spectrogram_shape))


class _CastsToFloat64(TorchFunctionMode):
    """Where a network casts to float32, which is nothing to the served graphs, it casts to float64 here."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        wide = Tensor.double if func is Tensor.float else func
        named = {name: _widened(each) for name, each in (kwargs or {}).items()}
        return wide(*(_widened(each) for each in args), **named)


def _widened(argument: Any) -> Any:
    return torch.float64 if argument is torch.float32 else argument


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
        parts = list[Truth]()
        for some, weights in zip(self._chunks(z), self._chunks(unit_weights), strict=True):
            latent = some.double().requires_grad_(True)
            x, units, returned = self._pass(latent)
            (gradient,) = torch.autograd.grad((units * weights).sum(), latent)
            told = (
                self._served(x).detach().numpy(),
                units.detach().numpy(),
                gradient.numpy(),
                returned.detach().numpy(),
            )
            parts.append(Truth(*told))
        return Truth(
            *(np.concatenate([getattr(part, each.name) for part in parts]) for each in dataclasses.fields(Truth))
        )

    def units(self, z: Exact) -> Exact:
        """z `[B, Z]` → `[B, U]`."""
        with torch.no_grad():
            return np.asarray(torch.cat([self._pass(some)[1] for some in self._chunks(z)]).numpy())

    def spread(self, z: Exact) -> list[float]:
        """How far each layer's units move over the rows z `[B, Z]`, relative to the largest value that it returns."""
        with torch.no_grad(), _CastsToFloat64():
            x = self._pair.generate(self._weights, torch.from_numpy(z))
            outputs = self._pair.layer_outputs(self._weights, x)
        units = [units_of(output) for output in outputs]
        ranges = [float((each.amax(0) - each.amin(0)).max()) for each in units]
        largest = [float(output.abs().max()) for output in outputs]
        return [moved / max(most, TINY) for moved, most in zip(ranges, largest, strict=True)]

    def require_computable(self) -> None:
        """Raises: ExportError naming the layer that cannot be computed in float64."""
        with entered_layers(self._pair.generator) as generator, entered_layers(self._pair.classifier) as classifier:
            try:
                self.units(np.zeros((2, self._pair.latent_size)))
            except FAILURES as err:
                role = "generator" if generator else "classifier"
                raise ExportError(
                    f"{role}: cannot be computed in float64, which the served graphs are held against; "
                    f"{failed(generator or classifier, err)}"
                ) from err

    def _pass(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z `[B, Z]` → spectrogram, units `[B, U]`, what the classifier returns."""
        with _CastsToFloat64():
            x = self._pair.generate(self._weights, z)
            returned, outputs = self._pair.judge(self._weights, x)
            return x, torch.cat([units_of(output) for output in outputs], dim=1), returned

    def _chunks(self, rows: NDArray[Any]) -> list[Tensor]:
        size = rows_at_once(self._pair)
        return [torch.from_numpy(rows[first : first + size]) for first in range(0, len(rows), size)]

    def _served(self, x: Tensor) -> Tensor:
        return x.squeeze(1) if self._pair.has_channel else x
