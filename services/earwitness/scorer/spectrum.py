"""The triangular root and the eigenvalues of a large covariance, in half the time that float64 takes for the latter.

Eigenvalues serve two ends. They tell whether a covariance has full rank, which an estimate of the smallest one tells as
well wherever that is far from rounding. And noise floors are drawn from them, which vary far more from draw to draw
than float32 rounds. Where either is in doubt nothing is found here, and float64 decides, as for smaller covariances.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGE = 2048
"""Dimensions from which this is worth its while: below, the eigenproblem takes a second at most."""
ROUNDING = 10 * float(np.finfo(np.float64).eps)
"""What is below the largest value times the dimensions times this is a zero that was rounded."""
_SAFE = 10.0
"""How far above rounding an estimate of the smallest eigenvalue must be; it is within a factor of 3 as a rule."""
_SINGLE_ERROR = 1.2e-4
"""What rounding to float32 may amount to at most in all eigenvalues together, of all but the largest: then noise floors
differ by less than 1e-5 of themselves. Of 4096 dimensions the largest may have a third of all variance."""
_POWERS = 12
"""Steps towards the largest eigenvalue: where many are like it, it is far from the limit anyhow."""
_PANEL = 64
"""Columns that LAPACK works on at once."""


@dataclass(frozen=True)
class Root:
    """The triangular `root` [D, D] of a matrix, and what its `smallest` eigenvalue is about."""

    root: NDArray[np.float64]
    smallest: float


def certain_root(matrix: NDArray[np.float64]) -> Root | None:
    """That of a symmetric `matrix` [D, D] whose rank is D beyond doubt; otherwise None.

    Source: Higham 1988 for the estimate of the inverse's 1-norm, which is at least 1 / the smallest eigenvalue.
    """
    from scipy.linalg import lapack  # in place: NumPy holds two more matrices while it factorises

    root = matrix.astype(np.float64, order="C")
    _, failed = lapack.dpotrf(root.T, lower=0, clean=1, overwrite_a=1)
    if failed:
        return None

    norm = max(float(np.abs(row).sum()) for row in matrix)  # the 1-norm: no less than the largest eigenvalue
    ratio, _ = lapack.dpocon(root.T, norm, uplo="U")
    return Root(root, ratio * norm) if ratio > _SAFE * len(matrix) * ROUNDING else None


def single_eigenvalues(matrix: NDArray[np.float64], smallest: float) -> NDArray[np.float64] | None:
    """Those of a symmetric positive definite `matrix` [D, D] in ascending order, computed in float32, none below
    `smallest`; None where the largest is so large that the others would drown in its rounding, or should LAPACK fail.
    """
    from scipy.linalg import lapack  # NumPy computes in float64 whatever it is given

    if not _is_even(matrix):
        return None
    scale = float(matrix.diagonal().max())
    single = np.empty(matrix.shape, dtype=np.float32)
    for row, scaled in zip(matrix, single, strict=True):
        np.divide(row, scale, out=scaled, casting="same_kind")
    _, diagonal, beside, _, failed = lapack.ssytrd(single.T, lower=1, lwork=_PANEL * len(matrix), overwrite_a=1)
    del single
    found, unfound = lapack.ssterf(diagonal, beside)
    return None if failed or unfound else np.maximum(found.astype(np.float64) * scale, smallest)


def _is_even(matrix: NDArray[np.float64]) -> bool:
    direction = matrix.diagonal().copy()
    largest = 0.0
    for _ in range(_POWERS):
        direction /= np.linalg.norm(direction)
        image = matrix @ direction
        largest, direction = float(direction @ image), image
    error = len(matrix) * float(np.finfo(np.float32).eps) / 2 * largest
    return error <= _SINGLE_ERROR * (float(matrix.trace()) - largest)
