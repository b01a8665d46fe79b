"""A score carries what is needed to judge its distance."""

import numpy as np
import pytest

from earwitness.scorer.collect import collector
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.frechet import frechet_distance
from earwitness.scorer.score import score_batch
from earwitness.scorer.uncertainty import noise_floor
from earwitness.vocabulary.reference import ALL


@pytest.mark.parametrize(("count", "deficient"), [(3, True), (4, True), (5, False), (30, False)])
def test_all_parts(count: int, deficient: bool) -> None:
    generator = np.random.default_rng(0)
    collected = collector(ALL, 4)
    collected.add_rows(generator.standard_normal((200, 4)).astype(np.float32), "s", 0)
    frozen = collected.frozen()
    rows = (generator.standard_normal((count, 4)) + 1).astype(np.float32)
    floor = noise_floor(frozen.gaussian, count, 0)
    score = score_batch(rows, frozen, floor, seed=0)
    found = frechet_distance(rows, frozen.gaussian)
    assert (score.distance, score.mean_term) == (found.distance, found.mean_term)
    assert (score.covariance_term, score.rank) == (found.covariance_term, found.rank)
    assert (score.row_count, score.reference_row_count, score.dimension_count) == (count, 200, 4)
    assert score.rank_deficient is deficient
    assert (score.noise_floor, score.noise_floor_high) == (floor.median, floor.high)
    assert score.interval_low <= score.distance <= score.interval_high


def test_rows_outside_of_the_range() -> None:
    collected = collector(ALL, 2)
    collected.add_rows(np.array([[0, 10], [1, 20], [0.5, 15]], dtype=np.float32), "s", 0)
    frozen = collected.frozen()
    rows = np.array([[0, 10], [1, 20], [1.1, 15], [0.5, 9.9], [2, 30]])
    assert DataRange.of(frozen).outside_ratio(rows) == pytest.approx(2 / 5)
    assert [DataRange.of(frozen).unit(unit).outside_ratio(rows[:, [unit]]) for unit in (0, 1)] == [2 / 5, 2 / 5]
    assert score_batch(rows, frozen, noise_floor(frozen.gaussian, 5, 0), seed=0).outside_range_ratio == 2 / 5
