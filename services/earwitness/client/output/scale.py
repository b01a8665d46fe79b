"""Marks on a line: positions in per cent for the page's small scales."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MARGIN = 0.06
"""Empty share of a scale at each end."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on a scale."""

    percent: float
    label: str


@dataclass(frozen=True)
class Span:
    """A stretch of a scale."""

    percent: float
    width_percent: float


class Scale:
    """Maps values to per cent of a line that holds all of `values`; `logarithmic` where they differ by orders."""

    def __init__(self, values: Sequence[float], *, logarithmic: bool = False) -> None:
        self._logarithmic = logarithmic
        positive = [value for value in values if value > 0]
        self._smallest = min(positive, default=1e-6)
        places = [self._place(value) for value in values]
        low, high = min(places), max(places)
        room = (high - low) * MARGIN / (1 - 2 * MARGIN) or 0.5
        self._low, self._high = low - room, high + room

    def percent(self, value: float) -> float:
        """Where `value` lies, 0 to 100."""
        return 100 * min(max((self._place(value) - self._low) / (self._high - self._low), 0.0), 1.0)

    def span(self, low: float, high: float) -> Span:
        """The stretch from `low` to `high`."""
        start = self.percent(low)
        return Span(start, self.percent(high) - start)

    def ticks(self) -> list[Tick]:
        """About five round values."""
        if self._logarithmic:
            first, last = math.ceil(self._low), math.floor(self._high)
            stride = max(1, math.ceil((last - first + 1) / 6))
            values = [10.0**power for power in range(first, last + 1, stride)]
            if len(values) < 2:  # less than two decades: 1, 2 and 5 of each
                powers = range(math.floor(self._low), math.ceil(self._high) + 1)
                steps = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
                values = [value for value in steps if self._low <= math.log10(value) <= self._high]
        else:
            step = _round_step((self._high - self._low) / 5)
            first, last = math.ceil(self._low / step), math.floor(self._high / step)
            values = [index * step for index in range(first, last + 1)]
        return [Tick(self.percent(value), f"{value:.6g}") for value in values]

    def _place(self, value: float) -> float:
        return math.log10(max(value, self._smallest)) if self._logarithmic else value


def _round_step(step: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten, from above."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= step)
