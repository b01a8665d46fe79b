"""Which activation a search moves and which way, and its row of the search graph's `unit_weights`."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata, Layer
from earwitness.vocabulary.limits import MAX_WEIGHT


class Sense(Enum):
    """Which way a search goes; the value is the sign that turns it into an ascent."""

    MAXIMISE = 1
    MINIMISE = -1


@dataclass(frozen=True)
class Direction:
    """A weighted sum of units of one layer; `weights[i]` belongs to `units[i]`."""

    units: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Objective:
    """One unit, or a direction over units, of the named layer, and the sense."""

    layer: str
    target: int | Direction
    sense: Sense

    @property
    def direction(self) -> Direction:
        """The target as a weighted sum: one unit has the weight 1."""
        return self.target if isinstance(self.target, Direction) else Direction((self.target,), (1.0,))

    def activations(self, layer: FloatArray) -> FloatArray:
        """Its own [n] from all of its layer [n, units], float32."""
        weights = np.asarray(self.direction.weights, np.float64)
        # Rows one after another in memory: then each is summed in one order, however many there are.
        return np.asarray((np.take(layer, self.direction.units, axis=1) * weights).sum(axis=1), np.float32)

    def __str__(self) -> str:
        units = self.direction.units
        return f"layer {self.layer!r} " + (f"unit {units[0]}" if len(units) == 1 else f"units {list(units)}")


def unit_weights(objective: Objective, bundle: BundleMetadata, field: str) -> FloatArray:
    """The objective as float32 [U] over all units of the bundle, negated for minimise so that every search ascends.

    Raises: InvalidArgument naming the part of `field` (the objective's path in the request) that does not fit.
    """
    layer = _layer(objective.layer, bundle, f"{field}.layer")
    if isinstance(objective.target, Direction):
        _check_direction(objective.target, layer, f"{field}.direction")
    else:
        _check_unit(objective.target, layer, f"{field}.unit")
    weights = np.zeros(bundle.unit_count, np.float32)
    units = np.asarray(objective.direction.units)
    weights[layer.first_unit + units] = np.asarray(objective.direction.weights, np.float32) * objective.sense.value
    return weights


def _layer(name: str, bundle: BundleMetadata, field: str) -> Layer:
    for layer in bundle.layers:
        if layer.name == name:
            return layer
    names = ", ".join(layer.name for layer in bundle.layers)
    raise InvalidArgument(field, f"models/{bundle.name} has no layer {name!r}; its layers: {names}")


def _check_unit(unit: int, layer: Layer, field: str) -> None:
    if not 0 <= unit < layer.unit_count:
        raise InvalidArgument(field, f"got {unit}; layer {layer.name!r} has units 0 to {layer.unit_count - 1}")


def _check_direction(direction: Direction, layer: Layer, field: str) -> None:
    units, weights = direction.units, direction.weights
    if not units:
        raise InvalidArgument(f"{field}.units", "got none; give at least one unit")
    if len(units) != len(weights):
        raise InvalidArgument(
            f"{field}.weights", f"got {len(weights)} weights for {len(units)} units; give one for each"
        )
    seen: set[int] = set()
    for index, (unit, weight) in enumerate(zip(units, weights, strict=True)):
        _check_unit(unit, layer, f"{field}.units[{index}]")
        if unit in seen:
            raise InvalidArgument(f"{field}.units[{index}]", f"unit {unit} is there twice; add its weights into one")
        seen.add(unit)
        if not abs(weight) <= MAX_WEIGHT:
            allowed = f"finite numbers from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
            raise InvalidArgument(f"{field}.weights[{index}]", f"got {weight:g}; weights must be {allowed}")
    if not any(weights):
        raise InvalidArgument(f"{field}.weights", "all weights are 0; at least one must not be")
