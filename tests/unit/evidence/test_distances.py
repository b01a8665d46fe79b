import itertools

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.evidence.distances import NEAR, diversity, kernel_distance, measure_kernel_distance

RNG = np.random.default_rng(0)


def slow_kernel_distance(rows: np.ndarray, reference: np.ndarray) -> float:
    """Bińkowski 2018, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(values: np.ndarray) -> float:
        pairs = [kernel(x, y) for x, y in itertools.permutations(values, 2)]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in rows for y in reference]
    return within(rows) + within(reference) - 2 * sum(across) / len(across)


def test_kernel_distance_is_that_of_the_formula() -> None:
    rows, reference = RNG.standard_normal((5, 3)), RNG.standard_normal((7, 3)) + 1
    assert kernel_distance(rows, reference) == pytest.approx(slow_kernel_distance(rows, reference))


def test_kernel_distance_is_unbiased_whatever_the_count() -> None:
    """Over many samples of one distribution it is 0 on average, where a Fréchet distance is far above."""
    rng = np.random.default_rng(1)
    for count in (4, 16):
        found = [kernel_distance(*rng.standard_normal((2, count, 4))) for _ in range(600)]
        assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_interval_holds_the_distance_and_the_floor_is_about_zero() -> None:
    rng = np.random.default_rng(2)
    reference = rng.standard_normal((100, 8))
    real = measure_kernel_distance(rng.standard_normal((50, 8)), reference, seed=0)
    apart = measure_kernel_distance(rng.standard_normal((50, 8)) + 1, reference, seed=0)
    for each in (real, apart):
        assert each.interval_low < each.distance < each.interval_high
        assert abs(each.noise_floor) < each.noise_floor_high
        assert (each.row_count, each.reference_row_count, each.floor_row_count) == (50, 100, 50)
    assert real.distance < real.noise_floor_high < apart.interval_low


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """The truth being the distance of many rows; 95 % nominal, fewer for few rows."""
    rng = np.random.default_rng(3)
    truth = kernel_distance(rng.standard_normal((2000, 2)), rng.standard_normal((2000, 2)) + 0.7)
    held = 0
    for seed in range(30):
        found = measure_kernel_distance(rng.standard_normal((40, 2)), rng.standard_normal((80, 2)) + 0.7, seed)
        held += found.interval_low <= truth <= found.interval_high
    assert held >= 25


def test_floor_is_of_halves_where_there_are_few_real_rows() -> None:
    found = measure_kernel_distance(RNG.standard_normal((50, 2)), RNG.standard_normal((9, 2)), seed=0)
    assert found.floor_row_count == 4


def test_same_seed_same_figures() -> None:
    rows, reference = RNG.standard_normal((6, 3)), RNG.standard_normal((8, 3))
    assert measure_kernel_distance(rows, reference, 5) == measure_kernel_distance(rows, reference, 5)


def slow_diversity(spectrograms: np.ndarray, real: np.ndarray) -> float:
    def standardised(values: np.ndarray) -> np.ndarray:
        out = np.empty_like(values)
        for band in range(values.shape[1]):
            out[:, band] = (values[:, band] - real[:, band].mean()) / real[:, band].std()
        return out

    def mean_distance(values: np.ndarray) -> float:
        return float(np.mean([np.linalg.norm(x - y) for x, y in itertools.combinations(standardised(values), 2)]))

    return mean_distance(spectrograms) / mean_distance(real)


def test_diversity_is_that_of_the_formula() -> None:
    scales = np.array([1.0, 50.0, 0.01])[None, :, None]
    spectrograms, real = RNG.standard_normal((5, 3, 4)) * scales, RNG.standard_normal((6, 3, 4)) * scales + 2
    assert diversity(spectrograms, real).ratio == pytest.approx(slow_diversity(spectrograms, real))
    assert diversity(real, real).ratio == pytest.approx(1)
    assert diversity(2 * real, real).ratio == pytest.approx(2)


def test_near_duplicates_are_counted() -> None:
    rng = np.random.default_rng(4)
    real = rng.standard_normal((20, 10, 30))
    different = rng.standard_normal((4, 10, 30))
    nearly = different[0] + 0.5 * NEAR * rng.standard_normal((10, 30))
    assert diversity(different, real).near_duplicate_count == 0
    assert diversity(np.concatenate([different, nearly[None], different[:1]]), real).near_duplicate_count == 3
    collapsed = diversity(np.repeat(different[:1], 5, axis=0), real)
    assert (collapsed.near_duplicate_count, collapsed.row_count) == (5, 5)
    assert collapsed.ratio == pytest.approx(0, abs=1e-6)


def test_a_silent_band_does_not_count() -> None:
    real = RNG.standard_normal((5, 2, 3))
    real[:, 0] = -7
    assert diversity(real, real).ratio == pytest.approx(1)


def test_too_few_or_alike_is_refused() -> None:
    rows = RNG.standard_normal((5, 3))
    with pytest.raises(ValueError, match="at least 2 rows"):
        kernel_distance(rows[:1], rows)
    with pytest.raises(ValueError, match="of one size"):
        kernel_distance(rows[:, :2], rows)
    with pytest.raises(ValueError, match="at least 4 real rows, got 3"):
        measure_kernel_distance(rows, rows[:3], 0)
    with pytest.raises(InvalidArgument, match="all the same"):
        diversity(RNG.standard_normal((3, 2, 2)), np.ones((3, 2, 2)))
