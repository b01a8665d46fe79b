"""Rates and their differences in words, with intervals."""

import math

from earwitness.training.replay.rates import Estimate


def rate(estimate: Estimate | None) -> str:
    """`8.1 % [6.9, 9.4]`."""
    if estimate is None:
        return "undefined"
    return f"{100 * estimate.value:.1f} %{_ends(estimate, '.1f')}"


def points(change: Estimate) -> str:
    """`+1.2 points [+0.3, +2.0]`: a difference of rates, in percentage points."""
    return f"{100 * change.value:+.1f} points{_ends(change, '+.1f')}"


def _ends(estimate: Estimate, form: str) -> str:
    low, high = estimate.interval.low, estimate.interval.high
    return "" if math.isnan(low) else f" [{format(100 * low, form)}, {format(100 * high, form)}]"
