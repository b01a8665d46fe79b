"""Which rows are kept: those nearest to the real excerpts that a reference keeps, over several layers at once."""

import numpy as np
from numpy.typing import NDArray


def mean_places(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each row by its distance in each layer, [n, layers], as the mean over the layers [n].

    1 is the nearest; rows of one distance share the best of their places. Places and not distances are added, as layers
    differ in their scales and numbers of units.
    """
    nearer = (distances[None, :, :] < distances[:, None, :]).sum(axis=1)
    return np.asarray(1 + nearer.mean(axis=1), np.float64)


def nearest(places: NDArray[np.float64], count: int) -> list[int]:
    """The `count` rows of the lowest places, in their own order; of equal ones the first."""
    return sorted(int(row) for row in np.argsort(places, kind="stable")[:count])
