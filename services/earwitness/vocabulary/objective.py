"""Which activation a search moves, and which way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from earwitness.errors import InvalidArgument

Sense = Literal["maximise", "minimise"]
WEIGHTS_IN_WORDS = 4
"""Weights of a direction that are all named."""


@dataclass(frozen=True)
class Objective:
    """Which activation a search moves, and which way: one `unit`, or a `direction` of unit → weight."""

    layer: str
    unit: int | None = None
    sense: Sense = "maximise"
    direction: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if (self.unit is None) == (self.direction is None):
            raise InvalidArgument("objective", "needs exactly one of unit and direction")

    def __hash__(self) -> int:
        direction = None if self.direction is None else frozenset(self.direction.items())
        return hash((self.layer, self.unit, self.sense, direction))

    @property
    def sign(self) -> int:
        """What turns its activations so that a search ascends: 1 or -1."""
        return 1 if self.sense == "maximise" else -1

    @property
    def weights(self) -> Mapping[int, float]:
        """The target as a weighted sum: one unit has the weight 1."""
        if self.direction is not None:
            return self.direction
        assert self.unit is not None
        return {self.unit: 1.0}

    def __str__(self) -> str:
        return f"{self.sense} {self.layer}[{self.unit if self.direction is None else _weights_words(self.direction)}]"


def _weights_words(direction: Mapping[int, float]) -> str:
    """The weights, of many the heaviest alone: `+0.71·3 −0.52·0 and 62 more`; where they are left out, `direction`."""
    if not direction:
        return "direction"
    heaviest = list(direction.items())
    if len(heaviest) > WEIGHTS_IN_WORDS:
        heaviest = sorted(heaviest, key=lambda each: -abs(each[1]))[: WEIGHTS_IN_WORDS - 1]
    words = " ".join(f"{weight:+.3g}·{unit}" for unit, weight in heaviest)
    left = len(direction) - len(heaviest)
    return f"{words} and {left} more" if left else words
