"""Settings that were found to explain a unit well, as they travel in a bundle's metadata."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Sense = Literal["maximise", "minimise"]
SENSES: tuple[Sense, ...] = get_args(Sense)
OPTIMISERS = ("adam", "sgd", "normalised", "walk", "draws")
_NUMBERS = ("learning_rate", "prior_weight", "weight_decay")
_COUNTS = ("steps", "start_draws", "draws")
SETTINGS = ("optimiser", *_NUMBERS, *_COUNTS, "target")
"""What settings may hold; `target` is {"low": ..., "high": ...} in activations."""


@dataclass(frozen=True)
class Recommendation:
    """How to search one unit in one sense, and what explanations that were searched so were worth.

    `settings` are plain values by name (see SETTINGS), what the way does not use left out. `oversampling` rows are to
    be searched for each one that is kept. `row_count` explanations were judged against `reference`, said in words, and
    lay at the Fréchet `distance` over the unit.
    """

    layer: str
    unit: int
    sense: Sense
    settings: Mapping[str, Any]
    oversampling: int
    reference: str
    distance: float
    row_count: int

    @property
    def aim(self) -> tuple[str, int, Sense]:
        """What it is for; a bundle has one recommendation for each."""
        return self.layer, self.unit, self.sense


def flaw(each: Recommendation, unit_counts: Mapping[str, int]) -> tuple[str, object, str] | None:
    """The first field that cannot be, for layers of so many units: its name, its value and what is expected; None where
    all are right."""
    units = unit_counts.get(each.layer) if isinstance(each.layer, str) else None
    if units is None:
        return "layer", each.layer, f"one of {', '.join(unit_counts)}"
    requirements = (
        ("unit", type(each.unit) is int and 0 <= each.unit < units, f"a unit of {each.layer}, 0 to {units - 1}"),
        ("sense", each.sense in SENSES, f"one of {', '.join(SENSES)}"),
        ("settings", isinstance(each.settings, Mapping), f"values of {', '.join(SETTINGS)}"),
        ("oversampling", _count(each.oversampling, 1), "a whole number from 1 up"),
        ("reference", isinstance(each.reference, str), "text"),
        ("distance", _number(each.distance), "a number from 0 up"),
        ("row_count", _count(each.row_count, 1), "a whole number from 1 up"),
    )
    for field, holds, expected in requirements:
        if not holds:
            return field, getattr(each, field), expected
    return _flaw_of_settings(each.settings)


def _flaw_of_settings(settings: Mapping[str, Any]) -> tuple[str, object, str] | None:
    if (optimiser := settings.get("optimiser")) not in OPTIMISERS:
        return "settings.optimiser", optimiser, f"one of {', '.join(OPTIMISERS)}"
    for name, value in settings.items():
        if name not in SETTINGS:
            return "settings", name, f"values of {', '.join(SETTINGS)}"
        if name in _NUMBERS and not _number(value):
            return f"settings.{name}", value, "a number from 0 up"
        if name in _COUNTS and not _count(value, 1):
            return f"settings.{name}", value, "a whole number from 1 up"
        if name == "target" and not _range(value):
            return "settings.target", value, '{"low": number, "high": number}, low at most high'
    return None


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]


def _count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _range(value: object) -> bool:
    if not isinstance(value, Mapping) or {*value} != {"low", "high"}:
        return False
    low, high = value["low"], value["high"]
    return all(type(end) in (int, float) and math.isfinite(end) for end in (low, high)) and low <= high
