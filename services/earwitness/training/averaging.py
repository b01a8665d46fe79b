"""Exponential averages of weights along a run."""

from collections.abc import Iterable

import torch
from torch import Tensor


def kept_share(update: int, half_life: float) -> float:
    """Share of an average that update number `update` (from 0) leaves of it; `half_life` in updates.

    The half-life grows with the age of the run, up to `half_life`: the untrained beginning is soon forgotten.
    """
    return float(0.5 ** (1.0 / min(half_life, max(1.0, 0.1 * update))))


@torch.no_grad()
def average_into(averages: Iterable[Tensor], values: Iterable[Tensor], kept: float) -> None:
    """Moves each of `averages` towards its value, in place; what is no float is copied."""
    for average, value in zip(averages, values, strict=True):
        if average.is_floating_point():
            average.lerp_(value, 1.0 - kept)
        else:
            average.copy_(value)
