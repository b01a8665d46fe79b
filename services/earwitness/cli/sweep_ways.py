"""Settings of a sweep over ways to search, from repeated options: every combination that a way can use."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from earwitness.cli.ways import target_of
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client.values import Settings

GRADUAL = ("adam", "sgd")
"""Ways of which plain values make a grid."""


class SweptWay(StrEnum):
    """What --optimiser takes: lists of literals are beyond typer."""

    ADAM = "adam"
    SGD = "sgd"
    NORMALISED = "normalised"
    WALK = "walk"
    DRAWS = "draws"
    BOTH = "both"


@dataclass(frozen=True)
class Ways:
    """What is given more than rates, prior weights and steps of Adam or SGD."""

    optimisers: Sequence[str]
    targets: Sequence[str]
    start_draws: Sequence[int]
    draws: Sequence[int]

    @classmethod
    def of(
        cls,
        optimisers: Sequence[SweptWay] | None,
        targets: Sequence[str] | None,
        start_draws: Sequence[int] | None,
        draws: Sequence[int] | None,
    ) -> "Ways":
        """From options, each given so often as one likes; `both` are adam and sgd, and draws alone mean that way.

        Raises: InvalidArgument for draws beside ways that do not draw so.
        """
        named: list[str] = []
        for each in optimisers or []:
            named += GRADUAL if each is SweptWay.BOTH else [each.value]
        named = list(dict.fromkeys(named or (["draws"] if draws else [])))
        if draws and "draws" not in named:
            raise InvalidArgument("draws", f"got {draws[0]}, but no --optimiser draws among {', '.join(named)}")
        return cls(named, targets or [], start_draws or [], draws or [])

    @property
    def beyond_grid(self) -> bool:
        """Whether a grid of rates, prior weights and steps cannot say it."""
        return bool(self.targets or self.start_draws or self.draws or set(self.optimisers) - {*GRADUAL})

    def settings(
        self, learning_rates: Sequence[float], prior_weights: Sequence[float], steps: Sequence[int]
    ) -> "list[Settings]":
        """Every combination, way by way; of a way that has no use for some of them, that of the others, each once.

        Raises: InvalidArgument for a target that is none, and for what none of the ways has a use for.
        """
        from earwitness.client.values import Settings

        targets = [target_of(each) for each in self.targets]
        given: dict[str, Sequence[Any]] = {
            "learning_rate": learning_rates,
            "prior_weight": prior_weights,
            "steps": steps,
            "target": targets,
            "start_draws": self.start_draws,
            "draws": self.draws,
        }
        found: list[Settings] = []
        used: set[str] = set()
        for way in self.optimisers or ["adam"]:
            takes = [name for name in given if given[name] and _takes(way, name)]
            used.update(takes)
            for chosen in itertools.product(*(given[name] for name in takes)):
                found.append(replace(Settings(way), **dict(zip(takes, chosen, strict=True))))  # type: ignore[arg-type]
        for name, values in given.items():
            if values and name not in used:
                raise InvalidArgument(
                    f"settings.{name}", f"none of {', '.join(self.optimisers)} has a use for it; leave it out"
                )
        return found


def _takes(way: str, name: str) -> bool:
    if way == "draws":
        return name == "draws"
    return name != "draws" and not (way == "walk" and name == "prior_weight")
