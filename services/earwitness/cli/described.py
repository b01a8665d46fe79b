"""How options describe a model: its features, the words for its units, pairs of NAME=VALUE."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.features import FeatureProfile
    from earwitness.inference.metadata import UnitLabel


def named(option: str, given: Sequence[str], form: str) -> dict[str, str]:
    """NAME=VALUE pairs, each name once. Raises: InvalidArgument."""
    found: dict[str, str] = {}
    for each in given:
        name, value = _pair(option, each, form)
        if name in found:
            raise InvalidArgument(option, f"{name!r} is given twice; give each a name of its own")
        found[name] = value
    return found


def features_of(given: str) -> "FeatureProfile":
    """A profile, from its name or from a JSON file. Raises: InvalidArgument; ValueError."""
    from earwitness.features import get_profile, profile_from_dict

    if not Path(given).is_file():
        if given.endswith(".json"):
            raise InvalidArgument("features", f"{given} does not exist; give a JSON file or a profile's name")
        return get_profile(given)
    try:
        document = json.loads(Path(given).read_text(encoding="utf-8"))
    except ValueError as err:
        raise InvalidArgument("features", f"{given} is no JSON ({err})") from err
    if not isinstance(document, dict):
        raise InvalidArgument("features", f"{given} holds no JSON object; give one, with kind, name and parameters")
    return profile_from_dict(document)


def labels_of(given: Sequence[str]) -> "list[UnitLabel]":
    """Labels from UNIT=HIGH[/LOW]. Raises: InvalidArgument."""
    from earwitness.inference.metadata import UnitLabel

    labels = []
    for each in given:
        unit, words = _pair("label", each, "UNIT=HIGH or UNIT=HIGH/LOW")
        high, _, low = words.partition("/")
        if not unit.isdecimal() or not high:
            raise InvalidArgument("label", f"got {each!r}; give UNIT=HIGH/LOW, e.g. 0=vocal/non-vocal")
        labels.append(UnitLabel(int(unit), high, low or f"not {high}"))
    return labels


def _pair(option: str, given: str, form: str) -> tuple[str, str]:
    left, equals, right = given.partition("=")
    if not left or not equals:
        raise InvalidArgument(option, f"got {given!r}; give {form}")
    return left, right
