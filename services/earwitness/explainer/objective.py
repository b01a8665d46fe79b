"""Which activation a search moves and which way, and its row of the search graph's `unit_weights`."""

from collections.abc import Iterable, Mapping

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata, Layer
from earwitness.vocabulary.limits import MAX_WEIGHT
from earwitness.vocabulary.objective import Objective


def activations(objective: Objective, layer: FloatArray) -> FloatArray:
    """An objective's own [n] from all of its layer [n, units], float32."""
    units, weights = list(objective.weights), as_sent(objective.weights.values()).astype(np.float64)
    # Rows one after another in memory: then each is summed in one order, however many there are.
    return np.asarray((np.take(layer, units, axis=1) * weights).sum(axis=1), np.float32)


def as_sent(weights: Iterable[float]) -> FloatArray:
    """Weights as their messages hold them."""
    return np.array(list(weights), np.float32)


def words(objective: Objective) -> str:
    """What an objective is of, in messages and pictures."""
    units = list(objective.weights)
    return f"layer {objective.layer!r} " + (f"unit {units[0]}" if len(units) == 1 else f"units {units}")


def unit_weights(objective: Objective, bundle: BundleMetadata, field: str) -> FloatArray:
    """The objective as float32 [U] over all units of the bundle, negated for minimise so that every search ascends.

    Raises: InvalidArgument naming the part of `field` (the objective's path in the request) that does not fit.
    """
    layer = _layer(objective.layer, bundle, f"{field}.layer")
    if objective.unit is not None:
        _check_unit(objective.unit, layer, f"{field}.unit")
    else:
        _check_direction(objective.weights, layer, f"{field}.direction")
    weights = np.zeros(bundle.unit_count, np.float32)
    units = np.array(list(objective.weights))
    weights[layer.first_unit + units] = as_sent(objective.weights.values()) * objective.sign
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


def _check_direction(direction: Mapping[int, float], layer: Layer, field: str) -> None:
    if not direction:
        raise InvalidArgument(f"{field}.units", "got none; give at least one unit")
    for index, (unit, weight) in enumerate(direction.items()):
        _check_unit(unit, layer, f"{field}.units[{index}]")
        if not abs(weight) <= MAX_WEIGHT:
            allowed = f"finite numbers from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
            raise InvalidArgument(f"{field}.weights[{index}]", f"got {weight:g}; weights must be {allowed}")
    if not any(direction.values()):
        raise InvalidArgument(f"{field}.weights", "all weights are 0; at least one must not be")
