"""The plain values of a search over open ranges of settings."""

import math
import re
from dataclasses import dataclass

import numpy as np

from earwitness.client.sweep_values import SweepObjective
from earwitness.client.values import Optimiser, Settings
from earwitness.errors import InvalidArgument

DOTS = ".."
NUMBER = re.compile(r"\s*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf)\s*", re.IGNORECASE)
HIGHEST = {"learning_rate": 10.0, "prior_weight": 1000.0, "steps": math.inf}
"""The API's limits; that of the steps is the server's own."""
MAX_SETTINGS = 1000
"""Settings that the scorer ranks at once."""


@dataclass(frozen=True)
class Span:
    """An open range of a setting, whose values are as likely below as above its geometric mean; or one value."""

    low: float
    high: float

    @classmethod
    def parse(cls, words: str, field: str) -> "Span":
        """`LOW..HIGH`, or one number. Raises: InvalidArgument naming `field`."""
        first, dots, last = words.partition(DOTS)
        ends = [first, last] if dots else [first, first]
        # A third dot would be the point of the number after it: 1e-4...1 from 1e-4 to .1.
        if last.startswith(".") or not all(NUMBER.fullmatch(each) for each in ends):
            raise InvalidArgument(
                field, f"got {words!r}; give a number, or a range LOW{DOTS}HIGH: two dots, and a digit before a point"
            )
        return cls(*map(float, ends))

    def check(self, field: str) -> None:
        """Raises: InvalidArgument unless it is a range of that setting, `field`, that has a logarithm."""
        highest = HIGHEST[field]
        if not 0 < self.low <= self.high <= highest or not math.isfinite(self.high):
            limit = f"at most {highest:g}" if math.isfinite(highest) else "finite"
            raise InvalidArgument(
                field, f"got {self}; a range goes up from a number greater than 0 to one that is {limit}"
            )
        if field == "steps" and not (self.low.is_integer() and self.high.is_integer()):
            raise InvalidArgument(field, f"got {self}; steps are whole numbers")

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}{DOTS}{self.high:g}"


@dataclass(frozen=True)
class TuningPlan:
    """What is searched: one objective, ranked against a version of a reference, over ranges of its settings."""

    model: str
    weights_sha256: str
    objective: SweepObjective
    learning_rate: Span
    prior_weight: Span
    steps: Span
    optimiser: Optimiser = "adam"
    seed_count: int = 50
    first_seed: int = 0
    sampler_seed: int = 0

    def settings(self, learning_rate: float, prior_weight: float, steps: int) -> Settings:
        """Settings as the API takes them: numbers of 32 bits."""
        rate, prior = float(np.float32(learning_rate)), float(np.float32(prior_weight))
        return Settings(self.optimiser, rate, prior, steps)

    def prefixes(self, settings: Settings) -> tuple[Settings, ...]:
        """Fewer steps of the same run, which cost nothing: doublings of the range's lowest, below those of `settings`.

        None for SGD: its rate falls over the steps, so that each number of steps is a run of its own.
        """
        assert settings.learning_rate is not None
        assert settings.prior_weight is not None
        assert settings.steps is not None
        if self.optimiser != "adam":
            return ()
        found, steps = [], int(self.steps.low)
        while steps < settings.steps:
            found.append(self.settings(settings.learning_rate, settings.prior_weight, steps))
            steps *= 2
        return tuple(found)

    def most_settings(self, trials: int) -> int:
        """Settings that so many trials come to, prefixes among them, at most."""
        longest = self.settings(self.learning_rate.high, self.prior_weight.high, int(self.steps.high))
        return trials * (1 + len(self.prefixes(longest)))


def check_trials(plan: TuningPlan, trials: int) -> None:
    """Raises: InvalidArgument for more trials than can be ranked together."""
    if plan.most_settings(trials) > MAX_SETTINGS:
        each = plan.most_settings(1)
        raise InvalidArgument(
            "trials",
            f"got {trials}, {each} settings each with their prefixes; {MAX_SETTINGS} are ranked together at most: take "
            f"{MAX_SETTINGS // each}, or a narrower range of steps",
        )
