"""The Fréchet distance between two Gaussians, exact, without a matrix root.

With the reference's covariance factored as Σr = R Rᵀ and the centred batch Xc [M, D], the only hard term is
Tr (Σb Σr)^½ = the sum of the singular values of Xc R / √(M - 1). It is real, never negative, needs no regulariser, and
costs O(M D r) where a D x D matrix root costs O(D³) with a large constant. Any R will do: triangular where Σr has full
rank, the centred rows themselves where there are fewer of them than dimensions.

Source: Dowson & Landau 1982 for the distance; Heusel et al. 2017 for its use as a score.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.spectrum import LARGE, ROUNDING, certain_root, single_eigenvalues
from earwitness.scorer.statistics import Rows, Statistics, from_rows

MIN_ROWS = 2
_PIVOTS = 64
"""Columns of a root that are found before what they explain is taken off the whole matrix."""


@dataclass(frozen=True)
class Gaussian:
    """Fitted to `count` rows: `mean` [D] and unbiased `covariance` [D, D], float64."""

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True)
class Factored:
    """A Gaussian ready to be scored against.

    `mean` and `variance` (the covariance's diagonal) are [D] float64; `root` is [D, r] float64 with covariance = root
    rootᵀ; `eigenvalues` are those of the covariance that are not 0, float64, in ascending order.
    """

    count: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    root: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]

    @property
    def dimension_count(self) -> int:
        """D."""
        return int(self.mean.shape[0])

    def unit(self, index: int) -> "Factored":
        """The one-dimensional Gaussian of one unit."""
        variance = self.variance[index : index + 1]
        spread = variance[variance > 0]
        return Factored(self.count, self.mean[index : index + 1], variance, np.sqrt(spread)[np.newaxis], spread)


@dataclass(frozen=True)
class Distance:
    """Squared Fréchet distance = `mean_term` + `covariance_term`; `rank` is that of the batch's covariance."""

    distance: float
    mean_term: float
    covariance_term: float
    rank: int


@dataclass(frozen=True)
class Centred:
    """A batch seen from a reference: all that its distance, and that of its resamples, depends on.

    `offset` [D] is the batch's mean minus the reference's; `rows` [M, D] have the batch's mean taken off; `projected`
    [M, r] = rows @ root.
    """

    offset: NDArray[np.float64]
    rows: NDArray[np.float64]
    projected: NDArray[np.float64]


def gaussian(rows: Rows) -> Gaussian:
    """Gaussian fitted to `rows` [N, D].

    Raises: ValueError for fewer than two rows: they have no covariance.
    """
    _require_rows(rows)
    return gaussian_of(from_rows(rows))


def gaussian_of(statistics: Statistics) -> Gaussian:
    """Gaussian of rows known by their statistics.

    Raises: ValueError for fewer than two rows.
    """
    _require_count(statistics.count)
    return Gaussian(statistics.count, statistics.mean, statistics.scatter / (statistics.count - 1))


def factor(reference: Gaussian) -> Factored:
    """Factors a covariance once: O(D³)."""
    return _factor(reference.count, reference.mean, reference.covariance, freedom=1)


def factor_statistics(statistics: Statistics) -> Factored:
    """Factors the Gaussian of rows known by their statistics, without another [D, D] matrix for its covariance.

    What rounding left in `statistics.scatter` of units that never change is set to 0 there.

    Raises: ValueError for fewer than two rows.
    """
    _require_count(statistics.count)
    constant = statistics.minimum == statistics.maximum
    if np.diagonal(statistics.scatter)[constant].any():
        statistics.scatter[constant] = 0.0
        statistics.scatter[:, constant] = 0.0
    return _factor(statistics.count, statistics.mean.copy(), statistics.scatter, freedom=statistics.count - 1)


def eigenvalues_of(root: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of root rootᵀ that are not 0, in ascending order."""
    found = np.linalg.eigvalsh(root.T @ root).astype(np.float64, copy=False)
    return found[_not_zero(found, len(root))]


def factor_rows(rows: Rows) -> Factored:
    """Factors the Gaussian fitted to `rows` [N, D]; with fewer rows than dimensions in O(N² D), from the rows.

    Raises: ValueError for fewer than two rows.
    """
    _require_rows(rows)
    count = len(rows)
    if count > rows.shape[1]:
        return factor_statistics(from_rows(rows))
    mean, centred = _centre(rows)
    centred[:, (rows == rows[0]).all(axis=0)] = 0.0  # what rounding left of units that never change
    centred /= np.sqrt(count - 1)
    variance = np.einsum("nd,nd->d", centred, centred)
    # Σ = Xcᵀ Xc already. The N rows of Xc sum to 0: a reflection that turns (1, ..., 1) into the last axis leaves
    # nothing of the last row.
    spread = centred[:-1] - centred[-1] / (np.sqrt(count) + 1)
    del centred
    gram = spread @ spread.T
    eigenvalues = np.linalg.eigvalsh(gram).astype(np.float64, copy=False)
    kept = _not_zero(eigenvalues, rows.shape[1])
    if kept.all():
        return Factored(count, mean, variance, spread.T, eigenvalues)
    # Rows that depend on each other: Σ = (Xcᵀ U)(Xcᵀ U)ᵀ for the eigenvectors U of the small matrix Xc Xcᵀ.
    root = spread.T @ np.linalg.eigh(gram)[1]
    lengths = np.linalg.norm(root, axis=0)
    root = root[:, lengths > lengths.max() * rows.shape[1] * ROUNDING]
    return Factored(count, mean, variance, root, np.square(root).sum(axis=0))


def _factor(count: int, mean: NDArray[np.float64], scatter: NDArray[np.float64], freedom: int) -> Factored:
    """Factors `scatter` / `freedom`, with two or three [D, D] matrices of memory beside `scatter`."""
    dimension_count = len(mean)
    variance = np.diagonal(scatter) / freedom
    live = variance > 0
    # Units that never change, as behind a ReLU, are common, and what is left has full rank as a rule.
    part = scatter if live.all() else scatter[np.ix_(live, live)]
    certain = certain_root(part) if len(part) >= LARGE else None
    eigenvalues = None if certain is None else single_eigenvalues(part, certain.smallest)
    if eigenvalues is None:
        eigenvalues = np.linalg.eigvalsh(part).astype(np.float64, copy=False)
        # The rounded zeros of a rank-deficient covariance are dropped: their roots would not be small.
        eigenvalues = eigenvalues[_not_zero(eigenvalues, dimension_count)]
    if certain is not None:
        found = certain.root
    elif len(eigenvalues) == len(part):
        found = np.linalg.cholesky(part).astype(np.float64, copy=False)
    else:
        found = _pivoted_root(part, len(eigenvalues))
    found /= np.sqrt(freedom)
    root = found
    if part is not scatter:
        root = np.zeros((dimension_count, found.shape[1]))
        root[live] = found
    return Factored(count, mean, variance, root, eigenvalues / freedom)


def _not_zero(eigenvalues: NDArray[np.floating], dimension_count: int) -> NDArray[np.bool_]:
    """Which of the `eigenvalues`, in ascending order, are more than rounding."""
    return np.asarray(eigenvalues > eigenvalues.max(initial=0.0) * dimension_count * ROUNDING)


def _pivoted_root(matrix: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """[D, r] with `matrix` = root rootᵀ, r at most `rank`, that of the positive semidefinite [D, D] `matrix`.

    Source: Higham 1990, Cholesky with complete pivoting: of what is left the unit of most variance comes next, so that
    the search ends with the rank.
    """
    rest = matrix.copy()
    rows = np.zeros((rank, len(matrix)))  # of rootᵀ
    for start in range(0, rank, _PIVOTS):
        block = rows[start : start + _PIVOTS]
        left = rest.diagonal().copy()
        for index, row in enumerate(block):
            pivot = int(np.argmax(left))
            if left[pivot] <= 0:
                return rows[: start + index].T
            row[:] = rest[pivot] - block[:index, pivot] @ block[:index]
            row /= np.sqrt(left[pivot])
            left -= row * row
            left[pivot] = -np.inf
        for top in range(0, len(rest), 512):  # in parts: no third matrix for the product
            rest[top : top + 512] -= block[:, top : top + 512].T @ block
    return rows.T


def centre(rows: Rows, reference: Factored) -> Centred:
    """Projects a batch `rows` [M, D] onto the reference, once for its distance and all its resamples.

    Raises: ValueError for fewer than two rows or another D.
    """
    _require_rows(rows)
    if rows.shape[1] != reference.dimension_count:
        raise ValueError(f"rows have {rows.shape[1]} dimensions, the reference has {reference.dimension_count}")
    mean, centred = _centre(rows)
    return Centred(mean - reference.mean, centred, centred @ reference.root)


def distance(batch: Centred, reference: Factored) -> Distance:
    """Squared Fréchet distance of a centred batch from the reference."""
    freedom = len(batch.rows) - 1
    mean_term = float(batch.offset @ batch.offset)
    traces = float(np.vdot(batch.rows, batch.rows)) / freedom + float(reference.variance.sum())
    cross = float(_singular_values(batch.projected).sum()) / np.sqrt(freedom)
    # Rounding can leave a distance of zero a little below it.
    covariance_term = max(0.0, traces - 2.0 * cross)
    magnitude = float(np.abs(batch.offset + reference.mean).max())
    return Distance(mean_term + covariance_term, mean_term, covariance_term, _rank(batch.rows, magnitude))


def frechet_distance(rows: Rows, reference: Factored) -> Distance:
    """Squared Fréchet distance between the Gaussian fitted to `rows` [M, D] and the reference.

    Raises: ValueError for fewer than two rows or another D.
    """
    return distance(centre(rows, reference), reference)


def _centre(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows - mean
    residual = centred.mean(axis=0)
    centred -= residual
    return mean + residual, centred


def _singular_values(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    if not matrix.size:
        return np.zeros(0)
    return np.linalg.svd(matrix, compute_uv=False).astype(np.float64, copy=False)


def _rank(centred: NDArray[np.float64], magnitude: float) -> int:
    """Singular values above what rounding leaves of rows of this `magnitude` once their mean is taken off."""
    values = _singular_values(centred)
    return int(np.count_nonzero(values > max(values[0], magnitude) * max(centred.shape) * ROUNDING))


def _require_count(count: int) -> None:
    if count < MIN_ROWS:
        raise ValueError(f"a covariance needs at least {MIN_ROWS} rows, got {count}")


def _require_rows(rows: Rows) -> None:
    if rows.ndim != 2 or len(rows) < MIN_ROWS or not rows.shape[1]:
        raise ValueError(
            f"a Gaussian needs rows of shape [N, D] with N at least {MIN_ROWS} (one row has no covariance), "
            f"got shape {rows.shape}"
        )
