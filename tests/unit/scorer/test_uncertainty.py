"""Interval and noise floor: equal to their slow definitions, and sane as statistics."""

import numpy as np
import pytest

from earwitness.scorer.frechet import Factored, Gaussian, centre, factor, frechet_distance
from earwitness.scorer.uncertainty import (
    MIN_RESAMPLES,
    RESAMPLES,
    UNIT_RESAMPLES,
    Interval,
    bootstrap_distances,
    interval_of,
    noise_floor,
)


def reference_of(size: int, seed: int = 0) -> Factored:
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((size, size)) / np.sqrt(size)
    return factor(Gaussian(10**5, generator.standard_normal(size), matrix @ matrix.T + 0.1 * np.eye(size)))


def draw(reference: Factored, count: int, generator: np.random.Generator) -> np.ndarray:
    covariance = reference.root @ reference.root.T  # which has many roots: the draws are not to depend on which it is
    values, vectors = np.linalg.eigh(covariance)
    return generator.standard_normal((count, len(values))) @ (vectors * np.sqrt(values.clip(0))).T + reference.mean


def resampled(rows: np.ndarray, reference: Factored, seed: int, batch_count: int = 1) -> np.ndarray:
    estimate = frechet_distance(rows, reference).distance
    return bootstrap_distances(centre(rows, reference), reference, estimate, seed, batch_count)


def interval(rows: np.ndarray, reference: Factored, seed: int) -> Interval:
    return interval_of(resampled(rows, reference, seed))


@pytest.mark.parametrize(("count", "size"), [(30, 1), (40, 6), (12, 40), (40, 40)])
def test_resamples_are_those_of_the_rows(count: int, size: int) -> None:
    """Against resampling the rows themselves; both routes (fewer rows than dimensions, and more)."""
    generator = np.random.default_rng(size)
    reference = reference_of(size)
    rows = draw(reference, count, generator) * 1.3 + 0.2
    got = resampled(rows, reference, seed=5)
    same_draws = np.random.default_rng(5)
    distances = np.array(
        [frechet_distance(rows[same_draws.integers(count, size=count)], reference).distance for _ in range(len(got))]
    )
    expected = distances - (np.mean(distances) - frechet_distance(rows, reference).distance)
    assert len(got) == (UNIT_RESAMPLES if size == 1 else RESAMPLES)
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)
    found = interval(rows, reference, seed=5)
    assert (found.low, found.high) == pytest.approx(tuple(np.maximum(0, np.percentile(expected, [2.5, 97.5]))))


def test_very_many_rows_have_fewer_resamples_in_blocks() -> None:
    reference = reference_of(1)
    rows = draw(reference, 200_000, np.random.default_rng(0))
    several = resampled(rows, reference, seed=1)
    assert MIN_RESAMPLES < len(several) < UNIT_RESAMPLES
    few = resampled(rows, reference, seed=1, batch_count=100)
    assert len(few) == MIN_RESAMPLES
    # The same draws: they differ by their mean alone.
    assert np.ptp(several[:MIN_RESAMPLES] - few) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("size", "shift"), [(1, 1.0), (8, 0.5), (40, 0.5)])
def test_the_interval_covers_the_expected_distance(size: int, shift: float) -> None:
    """Percentiles of the resamples as they are would cover nothing at 40 dimensions: each is biased upwards."""
    generator = np.random.default_rng(size)
    reference = reference_of(size)
    batches = [draw(reference, 50, generator) + shift for _ in range(40)]
    expected = np.mean([frechet_distance(rows, reference).distance for rows in batches])
    intervals = [interval(rows, reference, seed) for seed, rows in enumerate(batches)]
    covered = np.mean([each.low <= expected <= each.high for each in intervals])
    assert covered >= 0.85


@pytest.mark.parametrize(("count", "size"), [(2, 1), (50, 1), (50, 6), (16, 40), (41, 40), (42, 40)])
def test_the_noise_floor_is_what_batches_of_the_reference_score(count: int, size: int) -> None:
    generator = np.random.default_rng(1)
    reference = reference_of(size)
    distances = [frechet_distance(draw(reference, count, generator), reference).distance for _ in range(600)]
    floor = noise_floor(reference, count, seed=0)
    median, high = np.percentile(distances, [50, 95])
    # 200 draws against 600: one dimension has long tails.
    assert floor.median == pytest.approx(median, rel=0.3 if size == 1 else 0.05)
    assert floor.high == pytest.approx(high, rel=0.4 if size == 1 else 0.08)


def test_the_noise_floor_sinks_with_more_rows() -> None:
    reference = reference_of(20)
    floors = [noise_floor(reference, count, seed=0).median for count in (4, 16, 64, 256)]
    assert floors == sorted(floors, reverse=True)


def test_the_same_seed_gives_the_same_and_another_one_another() -> None:
    reference = reference_of(5)
    rows = draw(reference, 20, np.random.default_rng(0))
    assert interval(rows, reference, 1) == interval(rows, reference, 1)
    assert interval(rows, reference, 1) != interval(rows, reference, 2)
    assert noise_floor(reference, 20, 1) == noise_floor(reference, 20, 1)
    assert noise_floor(reference, 20, 1) != noise_floor(reference, 20, 2)


def test_a_reference_without_spread_has_no_noise() -> None:
    reference = factor(Gaussian(10, np.ones(3), np.zeros((3, 3))))
    floor = noise_floor(reference, 10, seed=0)
    assert (floor.median, floor.high) == (0.0, 0.0)
    found = interval(np.full((10, 3), 2.0), reference, seed=0)
    assert (found.low, found.high) == pytest.approx((3.0, 3.0))


def test_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        noise_floor(reference_of(3), 1, seed=0)
