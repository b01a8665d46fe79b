"""Checks of a profile's parameters and input, and its reading from JSON: one wording for every kind of profile."""

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import EarwitnessError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Profile = TypeVar("Profile", bound=DataclassInstance)


class FeatureError(EarwitnessError):
    """No profile has these parameters or that name, or a waveform does not fit the profile."""

    code = "INVALID_ARGUMENT"
    reason = "FEATURES_INVALID"


class Named(Protocol):
    """What a message says of a profile."""

    @property
    def name(self) -> str: ...


class Framed(Named, Protocol):
    """A profile whose shortest input is known."""

    @property
    def sample_rate_hz(self) -> int: ...

    def sample_count(self, frame_count: int) -> int: ...


def require(profile: Named, field: str, holds: bool, words: str) -> None:
    """Raises: FeatureError naming the field, its value and the way out (`words`) unless `holds`."""
    if not holds:
        raise FeatureError(f"profile {profile.name!r}: {field} is {getattr(profile, field)!r}; {words}")


def require_whole(profile: Named, *names: str) -> None:
    """Raises: FeatureError unless every field is an int of at least 1."""
    for name in names:
        value = getattr(profile, name)
        require(profile, name, type(value) is int and value >= 1, "give a whole number from 1 up")


def require_numbers(profile: Named, *names: str) -> None:
    """Raises: FeatureError unless every field is a finite number."""
    for name in names:
        value = getattr(profile, name)
        finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        require(profile, name, finite, "give a number")


def require_waveform(profile: Framed, waveform: NDArray[np.float32]) -> None:
    """Raises: FeatureError unless `waveform` is `[samples]` and long enough for a frame."""
    needed = profile.sample_count(1)
    if waveform.ndim != 1 or len(waveform) < needed:
        raise FeatureError(
            f"waveform has shape {waveform.shape}; {profile.name} needs one channel of at least {needed} samples "
            f"({needed / profile.sample_rate_hz:.3f} s)"
        )


def from_parameters(
    cls: "type[Profile]", parameters: Mapping[str, Any], names: Collection[str] | None = None
) -> "Profile":
    """The profile of class `cls` that its `to_dict`, or a person, described; `names` are those of its fields that may
    be given, all unless told otherwise.

    Raises: FeatureError naming the parameter that is missing, unknown or wrong.
    """
    given = {key: value for key, value in parameters.items() if key != "kind"}
    known = set(names or (field.name for field in fields(cls)))
    if unknown := sorted(given.keys() - known):
        raise FeatureError(f"feature parameters {', '.join(unknown)} are unknown; known: {', '.join(sorted(known))}")
    if missing := sorted(each.name for each in fields(cls) if each.default is MISSING and each.name not in given):
        kind = parameters.get("kind")
        raise FeatureError(f"feature parameters {', '.join(missing)} are missing; kind {kind!r} needs them")
    return cls(**given)
