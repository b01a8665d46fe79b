"""Which units are alike: dead ones, duplicates, and groups of those that respond to the same excerpts. Pure numpy.

Likeness is Pearson's correlation of two units' activations over the real excerpts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DUPLICATE = 0.999
"""Correlation from which on a unit says nothing that an earlier one has not said."""
ALIKE = 0.7
"""Average correlation with the others of its cluster that a unit joins it with."""
FLAT = 1e-6
"""A unit whose activations span less than this share of their size does not vary: that is rounding."""


@dataclass(frozen=True)
class Groups:
    """Of u units: whether each is `dead`; the index of the first unit it is a duplicate of, or -1; its `cluster`, from
    1 on in the order of `place`, 0 for dead ones; and its `place` among all, so that like stands by like."""

    dead: NDArray[np.bool_]
    duplicate_of: NDArray[np.int64]
    cluster: NDArray[np.int64]
    place: NDArray[np.int64]


def group(activations: NDArray[np.float32]) -> Groups:
    """Group the units of `activations` [excerpts, u].

    Clusters by average linkage of 1 - correlation, cut at 1 - ALIKE (SciPy; Müllner 2011), leaves in the order that has
    neighbours alike (Bar-Joseph et al. 2001). Dead units stand last.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering

    count = activations.shape[1]
    dead = flat(activations)
    living = np.flatnonzero(~dead)
    duplicate_of, cluster = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    order = living
    if len(living) > 1:
        alike = correlations(activations[:, living])
        earlier = np.tril(alike >= DUPLICATE, -1)
        first = np.argmax(earlier, axis=1)
        duplicate_of[living] = np.where(earlier.any(axis=1), living[first], -1)
        apart = np.round(1 - alike, 9)[np.triu_indices(len(living), 1)].clip(0, 2)
        tree = optimal_leaf_ordering(linkage(apart, "average"), apart)
        leaves = leaves_list(tree)
        order = living[leaves]
        found = fcluster(tree, 1 - ALIKE, "distance")[leaves]
        changes = np.concatenate([[True], found[1:] != found[:-1]])
        cluster[order] = np.cumsum(changes)
    elif len(living):
        cluster[living] = 1
    place = np.empty(count, np.int64)
    place[np.concatenate([order, np.flatnonzero(dead)])] = np.arange(count)
    return Groups(dead, duplicate_of, cluster, place)


def flat(activations: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each unit of `activations` [n, u] is the same in all rows, but for rounding."""
    spread = np.ptp(activations, axis=0)
    return np.asarray(spread <= FLAT * np.abs(activations).max(axis=0, initial=0))


def correlations(activations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson's correlation [u, u] of units that vary, over `activations` [n, u]."""
    wide = activations - activations.mean(axis=0, dtype=np.float64)
    wide /= np.linalg.norm(wide, axis=0)
    return np.asarray(wide.T @ wide)


def selectivity(activations: NDArray[np.float32]) -> NDArray[np.float64]:
    """How few excerpts each unit responds to, [u] of 0 (to all alike) to 1 (to one alone): lifetime sparseness of its
    activations [n, u] above their lowest; 0 where they do not vary.

    Source: Vinje & Gallant 2000, doi:10.1126/science.287.5456.1273, after Rolls & Tovee 1995.
    """
    count = len(activations)
    above = activations.astype(np.float64) - activations.min(axis=0)
    squares = np.square(above).mean(axis=0)
    varies = ~flat(activations) & (squares > 0)
    share = np.divide(np.square(above.mean(axis=0)), squares, out=np.ones_like(squares), where=varies)
    return np.asarray((1 - share) / (1 - 1 / count) if count > 1 else np.zeros_like(share))
