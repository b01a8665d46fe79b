"""Do search graph and classifier of a bundle tell of the same activations? Two of them may be of different exports."""

import math

import numpy as np
from numpy.typing import NDArray

from earwitness.inference.backend import FloatArray

MAX_DISAGREEMENT = 0.01
"""Rounding makes 1e-7 on a CPU and 1e-3 on a GPU in TF32, other weights anything."""
SEED = 5


def signs(points: int, unit_count: int) -> NDArray[np.float64]:
    """Weights [points, units] of the units, each 1 or −1: in their sums, what any two classifiers share cancels."""
    return np.random.default_rng(SEED).choice([-1.0, 1.0], (points, unit_count))


def disagreement(searched: FloatArray, weights: NDArray[np.float64], units: FloatArray) -> float:
    """How far the search graph's sums `searched` [points] are from those that the classifier's `units` [points, units]
    of one layer make with the same `weights` [points, units], relative to the activations' size."""
    classified = (weights * units).sum(axis=1)
    size = max(np.square(units, dtype=np.float64).sum(axis=1).mean(), np.square(searched, dtype=np.float64).mean())
    return math.sqrt(np.square(searched - classified).mean() / max(size, np.finfo(np.float32).tiny))
