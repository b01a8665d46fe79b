"""A distance that selection did not use, and how much a batch varies: pure functions of rows.

Settings are chosen by a Fréchet distance over activations of the model itself: two Gaussians, the model's own features.
The kernel distance here is of another form, without Gaussians, and is taken over features of another network.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument

Rows = NDArray[np.float32] | NDArray[np.float64]

MIN_ROWS = 2
RESAMPLES = 1000
DEGREE = 3
NEAR = 0.25
"""Two sounds nearer than this share of what real ones usually are apart count as one: standardised spectrograms that
near correlate above 0.94."""


@dataclass(frozen=True)
class KernelDistance:
    """An unbiased kernel distance between `row_count` rows and `reference_row_count` real ones; it may be below 0.

    The interval holds 95 % of the distances when both are drawn again. `noise_floor` and `noise_floor_high` (median
    and 95th percentile) are what `floor_row_count` real rows score against as many others.
    """

    distance: float
    interval_low: float
    interval_high: float
    noise_floor: float
    noise_floor_high: float
    row_count: int
    reference_row_count: int
    floor_row_count: int


@dataclass(frozen=True)
class Diversity:
    """How much the rows of a batch differ among each other.

    `ratio` is their mean distance over that of real ones; `near_duplicate_count` of the `row_count` rows have another
    row nearer than `NEAR` of it.
    """

    ratio: float
    near_duplicate_count: int
    row_count: int


def kernel_distance(rows: Rows, reference: Rows) -> float:
    """Squared maximum mean discrepancy between `rows` [M, D] and `reference` [N, D] under (x·y / D + 1)³, unbiased.

    Raises: ValueError for fewer than two rows, or when D differs.
    Source: Bińkowski et al., ICLR 2018 (the "kernel Inception distance"); Gretton et al., JMLR 13 (2012), lemma 6.
    """
    _check(rows, reference)
    return float(_discrepancies(rows, reference, np.ones((1, len(rows))), np.ones((1, len(reference))))[0])


def measure_kernel_distance(rows: Rows, reference: Rows, seed: int) -> KernelDistance:
    """The kernel distance with its interval and what real rows score: as many as `rows` [M, D] has where the
    `reference` [N, D] has twice as many, else its halves.

    Raises: ValueError for fewer than two rows, fewer than four in the reference, or when D differs.
    """
    _check(rows, reference)
    if len(reference) < 2 * MIN_ROWS:
        raise ValueError(f"a noise floor needs at least {2 * MIN_ROWS} real rows, got {len(reference)}")
    rng = np.random.default_rng(seed)
    drawn = _discrepancies(rows, reference, _redrawn(len(rows), rng), _redrawn(len(reference), rng))
    size = min(len(rows), len(reference) // 2)
    left, right = _split(len(reference), size, rng)
    floor = _discrepancies(reference, reference, left, right)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    median, floor_high = np.percentile(floor, [50, 95])
    return KernelDistance(
        distance=kernel_distance(rows, reference),
        interval_low=float(low),
        interval_high=float(high),
        noise_floor=float(median),
        noise_floor_high=float(floor_high),
        row_count=len(rows),
        reference_row_count=len(reference),
        floor_row_count=size,
    )


def diversity(spectrograms: Rows, real: Rows) -> Diversity:
    """How much `spectrograms` [M, bands, frames] differ among each other, in units of how much `real` ones do.

    Each band is standardised by the real ones; the distance between two is Euclidean.

    Raises: ValueError for fewer than two of either, or another shape.
    """
    flat, flat_real = (each.reshape(len(each), -1) for each in (spectrograms, real))
    _check(flat, flat_real)
    mean, deviation = real.mean(axis=(0, 2), keepdims=True), real.std(axis=(0, 2), keepdims=True)
    deviation = np.where(deviation > 0, deviation, 1.0)
    apart, apart_real = (
        _distances(((each - mean) / deviation).reshape(len(each), -1)) for each in (spectrograms, real)
    )
    usual = float(apart_real[np.triu_indices(len(real), 1)].mean())
    if not usual > 0:
        raise InvalidArgument("recordings", "their excerpts are all the same; give other recordings")
    np.fill_diagonal(apart, np.inf)
    ratio = float(apart[np.triu_indices(len(apart), 1)].mean()) / usual
    return Diversity(ratio, int((apart.min(axis=1) < NEAR * usual).sum()), len(apart))


def _discrepancies(
    rows: Rows, reference: Rows, weights: NDArray[np.float64], reference_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The discrepancy [R] for each of R weights of the rows, [R, M] and [R, N]; a row is never paired with itself."""
    across = ((weights @ _kernel(rows, reference)) * reference_weights).sum(axis=1)
    across /= weights.sum(axis=1) * reference_weights.sum(axis=1)
    within = _within(rows, weights) + _within(reference, reference_weights)
    return np.asarray(within - 2.0 * across)


def _within(rows: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the kernel over pairs of different rows [R]; NaN where a single row has all the weight."""
    kernel = _kernel(rows, rows)
    np.fill_diagonal(kernel, 0.0)
    pairs = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
    total = ((weights @ kernel) * weights).sum(axis=1)
    return np.asarray(np.divide(total, pairs, out=np.full_like(total, np.nan), where=pairs > 0))


def _kernel(left: Rows, right: Rows) -> NDArray[np.float64]:
    product = left.astype(np.float64) @ right.astype(np.float64).T
    return np.asarray((product / left.shape[1] + 1.0) ** DEGREE)


def _redrawn(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each of `count` rows is drawn, in RESAMPLES draws of as many with replacement."""
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def _split(count: int, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RESAMPLES pairs of disjoint samples of `size` rows each, as weights [RESAMPLES, count]."""
    order = rng.permuted(np.tile(np.arange(count), (RESAMPLES, 1)), axis=1)
    return (order < size).astype(np.float64), ((order >= size) & (order < 2 * size)).astype(np.float64)


def _distances(rows: Rows) -> NDArray[np.float64]:
    """Euclidean distances [M, M] between `rows` [M, D]."""
    values = rows.astype(np.float64)
    squares = np.square(values).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None] - 2.0 * values @ values.T, 0.0)))


def _check(rows: Rows, reference: Rows) -> None:
    if min(len(rows), len(reference)) < MIN_ROWS or rows.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"rows have shape {rows.shape}, the reference {reference.shape}; both need at least {MIN_ROWS} rows of one "
            "size"
        )
