"""What batches are ranked by: places, medians, resamples that hold the same rows, and the real range as a limit."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.scorer.collect import Frozen, collector
from earwitness.scorer.criteria import Measures, combined, median_measures, places
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.ranking import Candidate, Yardstick, distance_measures, rank
from earwitness.scorer.uncertainty import noise_floor
from earwitness.vocabulary.reference import ALL
from earwitness.vocabulary.score import Criterion

ROWS = 40


def drawn(count: int = ROWS, units: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, units))


def frozen_of(rows: np.ndarray) -> Frozen:
    collected = collector(ALL, rows.shape[1])
    collected.add_rows(rows, "s", 0)
    return collected.frozen()


def candidates(batches: dict[str, np.ndarray], frozen: Frozen) -> list[Candidate]:
    yardstick = Yardstick(frozen, DataRange.of(frozen), noise_floor(frozen.gaussian, ROWS, 0), 0, len(batches))
    return [yardstick.measure(name, rows) for name, rows in batches.items()]


def test_places_are_shared_by_equals() -> None:
    values = np.array([[3.0, 1.0], [1.0, 1.0], [3.0, 1.0], [0.0, np.inf]])
    np.testing.assert_array_equal(places(values), [[3.5, 2], [2, 2], [3.5, 2], [1, 4]])


def test_one_layer_is_its_value_and_several_are_sums_of_places() -> None:
    one = [Measures(np.array([value]), np.array([[value, -value]])) for value in (7.0, 5.0)]
    values, resampled = combined(one)
    assert values.tolist() == [7, 5]
    assert resampled.tolist() == [[7, -7], [5, -5]]
    other = [Measures(np.array([value]), np.array([[value, value, 9.0]])) for value in (1.0, 100.0)]
    values, resampled = combined([Measures.joined(pair) for pair in zip(one, other, strict=True)])
    assert values.tolist() == [3, 3]  # (2 + 1), (1 + 2), however far 100 is from 1
    assert resampled.tolist() == [[3, 2], [3, 4]]


def test_medians_resample_the_rows_that_distances_resample() -> None:
    """A batch of which one row stands out: whether a resample holds it shows in both."""
    values = np.zeros((ROWS, 1))
    values[0] = 1e6
    distances = median_measures(np.concatenate([values, values], axis=1), seed=5, batch_count=1)
    generator = np.random.default_rng(5)
    expected = [np.median(values[generator.integers(ROWS, size=ROWS), 0]) for _ in range(200)]
    np.testing.assert_array_equal(distances.resampled, [expected, expected])
    frozen = frozen_of(drawn(units=1))
    found = distance_measures(values, frozen, 5, 1).resampled[0]
    assert found.shape == (2000,)
    generator = np.random.default_rng(5)
    holds = np.array([(generator.integers(ROWS, size=ROWS) == 0).any() for _ in range(2000)])
    assert found[holds].min() > found[~holds].max()
    wide = np.repeat(values, 3, axis=1)
    several = distance_measures(wide, frozen_of(drawn()), 5, 1).resampled[0]
    assert several.shape == (200,)
    assert several[holds[:200]].min() > several[~holds[:200]].max()


def test_medians_are_those_of_each_layer() -> None:
    distances = np.abs(drawn(count=7))
    found = median_measures(distances, seed=0, batch_count=3)
    np.testing.assert_array_equal(found.values, np.median(distances, axis=0))
    assert (found.resampled.min(axis=1) >= distances.min(axis=0)).all()
    many = np.abs(drawn(count=200_000, units=2))
    assert median_measures(many, 0, 1000).resampled.shape == (2, 20)


def test_the_published_order_is_by_distance_alone_and_a_criterion_has_the_range_as_a_limit() -> None:
    frozen = frozen_of(np.linspace(-1, 1, 200)[:, np.newaxis])
    inside, outside = np.full((ROWS, 1), 0.9), np.linspace(-2.4, 2.4, ROWS)[:, np.newaxis]
    found = candidates({"inside": inside, "outside": outside, "far": outside + 90}, frozen)
    assert [each.leaves_range for each in found] == [False, True, True]
    published = rank(found)
    assert [each.id for each in published] == ["outside", "inside", "far"]
    assert published == rank(found, Criterion(outside_range_allowed=True))
    limited = rank(found, Criterion())
    assert [(each.rank, each.id) for each in limited] == [(1, "inside"), (2, "outside"), (3, "far")]
    assert [each.probability_best for each in limited] == [1, 0, 0]
    assert {each.id: each.criterion_value for each in limited} == {each.id: each.score.distance for each in published}
    assert [each.id for each in rank(found[1:], Criterion())] == ["outside", "far"]
    assert rank(found[1:], Criterion())[0].probability_best == 1


def test_equal_ones_go_by_id_and_share_the_probability() -> None:
    rows = drawn()
    found = candidates({"b": rows, "a": rows, "c": rows + 3}, frozen_of(drawn(200, seed=1)))
    measured = [replace(each, measures=Measures(np.ones(2), np.ones((2, 30)))) for each in found]
    ranked = rank(measured, Criterion("nearness"))
    assert [each.id for each in ranked] == ["a", "b", "c"]
    assert [each.probability_best for each in ranked] == pytest.approx([0.5, 0.5, 0])
    assert [each.criterion_value for each in ranked] == [4, 4, 4]
