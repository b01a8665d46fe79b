"""The Fréchet distance between two Gaussians, exact, without a matrix root.

With the reference's covariance factored as Σr = R Rᵀ and the centred batch Xc [M, D], the only hard term is
Tr (Σb Σr)^½ = the sum of the singular values of Xc R / √(M - 1). It is real, never negative, needs no regulariser, and
costs O(M D r) where a D x D matrix root costs O(D³) with a large constant.

Source: Dowson & Landau 1982 for the distance; Heusel et al. 2017 for its use as a score.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.statistics import Rows, Statistics, from_rows

MIN_ROWS = 2
_ROUNDING = 10 * float(np.finfo(np.float64).eps)
"""What is below the largest value times the dimensions times this is a zero that was rounded."""


@dataclass(frozen=True)
class Gaussian:
    """Fitted to `count` rows: `mean` [D] and unbiased `covariance` [D, D], float64."""

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True)
class Factored:
    """A Gaussian ready to be scored against.

    `mean` and `variance` (the covariance's diagonal) are [D] float64; `root` is [D, r] float64 with orthogonal
    columns and covariance = root rootᵀ, r being its rank.
    """

    count: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    root: NDArray[np.float64]

    @property
    def dimension_count(self) -> int:
        """D."""
        return int(self.mean.shape[0])

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """[r] float64: the covariance's eigenvalues that are not 0, in no particular order."""
        return np.asarray(np.square(self.root).sum(axis=0))

    def unit(self, index: int) -> "Factored":
        """The one-dimensional Gaussian of one unit."""
        one = slice(index, index + 1)
        variance = self.variance[one]
        root = np.sqrt(variance)[np.newaxis] if variance[0] > 0 else np.empty((1, 0))
        return Factored(self.count, self.mean[one], variance, root)


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
    if statistics.count < MIN_ROWS:
        raise ValueError(f"a covariance needs at least {MIN_ROWS} rows, got {statistics.count}")
    return Gaussian(statistics.count, statistics.mean, statistics.scatter / (statistics.count - 1))


def factor(reference: Gaussian) -> Factored:
    """Factors a covariance once (eigenvectors scaled by the roots of the eigenvalues): O(D³)."""
    values, vectors = np.linalg.eigh(reference.covariance)
    # The rounded zeros of a rank-deficient covariance are dropped: their roots would not be small.
    kept = values > values[-1] * len(values) * _ROUNDING
    root = vectors[:, kept] * np.sqrt(values[kept])
    return Factored(reference.count, reference.mean, np.diagonal(reference.covariance).copy(), root)


def factor_rows(rows: Rows) -> Factored:
    """Factors the Gaussian fitted to `rows` [N, D]; with fewer rows than dimensions in O(N² D), from the rows.

    Raises: ValueError for fewer than two rows.
    """
    _require_rows(rows)
    if len(rows) > rows.shape[1]:
        return factor(gaussian(rows))
    mean, centred = _centre(rows)
    centred /= np.sqrt(len(rows) - 1)
    # Σ = Xcᵀ Xc = (Xcᵀ U)(Xcᵀ U)ᵀ for the eigenvectors U of the small matrix Xc Xcᵀ.
    _, vectors = np.linalg.eigh(centred @ centred.T)
    root = centred.T @ vectors
    lengths = np.linalg.norm(root, axis=0)
    root = root[:, lengths > lengths.max() * rows.shape[1] * _ROUNDING]
    return Factored(len(rows), mean, np.einsum("nd,nd->d", centred, centred), root)


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
    return int(np.count_nonzero(values > max(values[0], magnitude) * max(centred.shape) * _ROUNDING))


def _require_rows(rows: Rows) -> None:
    if rows.ndim != 2 or len(rows) < MIN_ROWS or not rows.shape[1]:
        raise ValueError(
            f"a Gaussian needs rows of shape [N, D] with N at least {MIN_ROWS} (one row has no covariance), "
            f"got shape {rows.shape}"
        )
