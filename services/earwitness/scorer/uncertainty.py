"""How far a Fréchet distance can be trusted: its interval, and what real data of the same size would score.

Both work in the low-rank coordinates of `frechet.Centred`: a resample of M rows is a set of weights on rows already
projected, and a batch drawn from the reference's own Gaussian depends on the reference's r eigenvalues only. So no
step touches a D x D matrix. One dimension has a closed form, which all resamples take at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.frechet import Centred, Factored

RESAMPLES = 200
UNIT_RESAMPLES = 2000
"""Where one unit is compared: they cost next to nothing there."""
MIN_RESAMPLES = 20
_WORK_LIMIT = 2 * 10**10
"""Multiplications in all resamples together, a second or two; above it there are fewer resamples, down to
MIN_RESAMPLES: a distance over very many rows and dimensions varies little."""
_ROW_WORK = 500
"""What drawing one row costs, in multiplications."""
_BLOCK_VALUES = 2**20
"""Values drawn at once: 16 MiB with their places."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class NoiseFloor:
    """Distances of batches drawn from the reference's own Gaussian: their median and 95th percentile."""

    median: float
    high: float


def bootstrap_distances(
    batch: Centred, reference: Factored, estimate: float, seed: int, batch_count: int = 1
) -> NDArray[np.float64]:
    """Distances [R] that batches of this size, made as this one was, have from the reference; some may be below 0.

    `estimate` is the batch's own distance; with `batch_count` batches to do, R is what their work allows each.

    Rows are drawn from the batch with replacement: the same ones for every batch of as many rows, given the same
    `seed` and `batch_count`. A resample has fewer distinct rows than the batch, so its distance is biased upwards once
    more (with 50 rows of 64 units by half of itself); the resamples are returned with their mean bias taken off.
    """
    generator = np.random.default_rng(seed)
    row_count, dimension_count = batch.rows.shape
    rank = batch.projected.shape[1]
    smaller = min(row_count, rank)
    work = row_count * (dimension_count + smaller * rank + _ROW_WORK) + smaller**3
    count = resample_count(batch_count * work, UNIT_RESAMPLES if dimension_count == 1 else RESAMPLES)
    drawn = _drawn_unit if dimension_count == 1 else _drawn
    distances = drawn(batch, reference, count, generator)
    corrected: NDArray[np.float64] = distances - (distances.mean() - estimate)
    return corrected


def interval_of(distances: NDArray[np.float64]) -> Interval:
    """The 95 % interval of `bootstrap_distances`; it never begins below 0."""
    low, high = np.percentile(distances, [2.5, 97.5])
    return Interval(max(0.0, float(low)), max(0.0, float(high)))


def noise_floor(reference: Factored, row_count: int, seed: int) -> NoiseFloor:
    """What batches of `row_count` real rows score: drawn from the reference's own Gaussian, M = `row_count`.

    The mean of M draws and their scatter are independent, and the scatter is that of M - 1 draws around 0. With more
    draws than dimensions only its triangular factor is drawn.
    Source: Bartlett 1933 for that factor.

    Raises: ValueError for fewer than two rows.
    """
    if row_count < 2:
        raise ValueError(f"a batch needs at least 2 rows, got {row_count}")
    generator = np.random.default_rng(seed)
    eigenvalues = reference.eigenvalues
    rank, freedom = len(eigenvalues), row_count - 1
    smaller = min(freedom, rank)
    distances = np.empty(resample_count(smaller * rank * (smaller + 10) + smaller**3, RESAMPLES))
    lengths = np.sqrt(eigenvalues)
    for index in range(len(distances)):
        mean = generator.standard_normal(rank)
        mean_term = eigenvalues @ mean**2 / row_count
        draws = generator.standard_normal((smaller, rank))
        if freedom >= rank:
            draws = np.triu(draws, 1)
            np.fill_diagonal(draws, np.sqrt(generator.chisquare(freedom - np.arange(rank))))
        draws *= lengths
        spread = np.vdot(draws, draws) / freedom
        draws *= lengths
        covariance_term = spread + eigenvalues.sum() - 2.0 * _root_trace(draws @ draws.T) / np.sqrt(freedom)
        distances[index] = mean_term + max(0.0, covariance_term)
    median, high = np.percentile(distances, [50, 95])
    return NoiseFloor(float(median), float(high))


def resample_count(work: int, most: int) -> int:
    """How many resamples there are, at `work` multiplications each: `most`, or fewer, down to MIN_RESAMPLES."""
    return int(np.clip(_WORK_LIMIT // max(1, work), MIN_RESAMPLES, most))


def _drawn(batch: Centred, reference: Factored, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Distances of `count` resamples, as they are."""
    row_count, rank = batch.projected.shape
    gram = batch.projected @ batch.projected.T if row_count <= rank else None
    squares = np.einsum("md,md->m", batch.rows, batch.rows)
    freedom = row_count - 1
    distances = np.empty(count)
    for index in range(count):
        weights = np.bincount(generator.integers(row_count, size=row_count), minlength=row_count).astype(np.float64)
        shift = weights @ batch.rows / row_count
        offset = batch.offset + shift
        spread = (weights @ squares - row_count * (shift @ shift)) / freedom
        product = _resampled_columns(batch.projected, weights) if gram is None else _resampled_rows(gram, weights)
        covariance_term = spread + reference.variance.sum() - 2.0 * _root_trace(product) / np.sqrt(freedom)
        distances[index] = offset @ offset + max(0.0, covariance_term)
    return distances


def _drawn_unit(batch: Centred, reference: Factored, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """The same for one dimension: (difference of means)² + (difference of deviations)²."""
    values, offset, deviation = batch.rows[:, 0], batch.offset[0], np.sqrt(reference.variance[0])
    distances = np.empty(count)
    block = max(1, _BLOCK_VALUES // len(values))
    for start in range(0, count, block):
        stop = min(start + block, count)
        drawn = values[generator.integers(len(values), size=(stop - start, len(values)))]
        distances[start:stop] = (offset + drawn.mean(axis=1)) ** 2 + (drawn.std(axis=1, ddof=1) - deviation) ** 2
    return distances


def _resampled_rows(gram: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gram matrix, over the distinct rows, of a resample around its own mean; `gram` is that of all rows."""
    drawn = np.flatnonzero(weights)
    kept = weights[drawn]
    part = gram[np.ix_(drawn, drawn)]
    to_mean = part @ kept / len(weights)
    part += (kept @ to_mean / len(weights) - to_mean)[np.newaxis] - to_mean[:, np.newaxis]
    roots = np.sqrt(kept)
    part *= roots[np.newaxis] * roots[:, np.newaxis]
    return part


def _resampled_columns(projected: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scatter [r, r] of a resample of the `projected` rows [M, r] around its own mean."""
    mean = weights @ projected / len(weights)
    scaled = (projected - mean) * np.sqrt(weights)[:, np.newaxis]
    return scaled.T @ scaled


def _root_trace(product: NDArray[np.float64]) -> float:
    """Sum of the singular values of A, given A Aᵀ."""
    if not product.size:
        return 0.0
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(product), 0.0, None)).sum())
