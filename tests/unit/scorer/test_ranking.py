"""Rankings: the order, how probable the best is the best, and who leaves the real data's range."""

import numpy as np
import pytest

from earwitness.scorer.collect import Frozen, collector
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.frechet import frechet_distance
from earwitness.scorer.ranking import Yardstick, probability_lowest, rank
from earwitness.scorer.score import score_batch
from earwitness.scorer.uncertainty import noise_floor
from earwitness.vocabulary.reference import ALL, Selection
from earwitness.vocabulary.score import RankedBatch

ROWS = 50


def frozen_of(rows: np.ndarray, selection: Selection = ALL) -> Frozen:
    collected = collector(selection, rows.shape[1])
    collected.add_rows(rows.astype(np.float32), "s", 0)
    return collected.frozen()


def real(count: int = 400, units: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, units))


def ranked(batches: dict[str, np.ndarray], frozen: Frozen, seed: int = 0) -> dict[str, RankedBatch]:
    row_count = len(next(iter(batches.values())))
    floor = noise_floor(frozen.gaussian, row_count, seed)
    yardstick = Yardstick(frozen, DataRange.of(frozen, ALL), floor, seed, len(batches))
    found = rank([yardstick.measure(name, rows) for name, rows in batches.items()])
    assert [each.rank for each in found] == list(range(1, len(batches) + 1))
    assert sum(each.probability_best for each in found) == pytest.approx(1)
    return {each.id: each for each in found}


@pytest.mark.parametrize("units", [1, 8, 64])
def test_a_clear_winner_is_the_best_for_sure(units: int) -> None:
    frozen = frozen_of(real(units=units))
    batches = {f"off by {shift}": real(ROWS, units, seed=1) + shift for shift in (3, 0, 50, 1.5)}
    found = ranked(batches, frozen)
    assert list(found) == ["off by 0", "off by 1.5", "off by 3", "off by 50"]
    assert found["off by 0"].probability_best == 1
    assert found["off by 50"].probability_best == 0


@pytest.mark.parametrize("units", [1, 8])
def test_identical_batches_share_alike_in_the_order_of_ids(units: int) -> None:
    rows = real(ROWS, units, seed=1)
    found = ranked({"c": rows, "a": rows.copy(), "far": rows + 9, "b": rows.copy()}, frozen_of(real(units=units)))
    assert list(found) == ["a", "b", "c", "far"]
    assert [found[each].probability_best for each in "abc"] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("units", [1, 8])
def test_scores_are_those_of_batches_scored_alone(units: int) -> None:
    frozen = frozen_of(real(units=units))
    batches = {str(seed): real(ROWS, units, seed) * 1.2 for seed in range(1, 6)}
    found = ranked(batches, frozen, seed=7)
    floor = noise_floor(frozen.gaussian, ROWS, 7)
    for name, rows in batches.items():
        assert found[name].score == score_batch(rows, frozen, floor, seed=7)


def test_one_dimension_is_the_formula_of_the_paper() -> None:
    rows, reference = real(ROWS, seed=1) * 2 + 0.3, real()
    found = ranked({"one": rows}, frozen_of(reference))["one"]
    single = reference.astype(np.float32).astype(float)
    expected = (rows.mean() - single.mean()) ** 2 + (rows.std(ddof=1) - single.std(ddof=1)) ** 2
    assert found.score.distance == pytest.approx(expected)
    assert found.probability_best == 1


def test_the_order_of_the_batches_does_not_matter() -> None:
    frozen = frozen_of(real())
    batches = {str(seed): real(ROWS, 1, seed) for seed in range(1, 8)}
    forwards = ranked(batches, frozen)
    backwards = ranked(dict(reversed(batches.items())), frozen)
    assert list(forwards.items()) == list(backwards.items())


def test_probabilities_are_those_of_resampled_seeds() -> None:
    """Against the definition: the same rows drawn from every batch, each distance less its batch's mean bias."""
    frozen = frozen_of(real(units=3))
    batches = {str(seed): real(20, 3, seed) * 1.1 for seed in range(1, 6)}
    found = ranked(batches, frozen, seed=4)
    generator = np.random.default_rng(4)
    draws = [generator.integers(20, size=20) for _ in range(200)]
    table = np.array(
        [[frechet_distance(rows[drawn], frozen.gaussian).distance for drawn in draws] for rows in batches.values()]
    )
    estimates = [frechet_distance(rows, frozen.gaussian).distance for rows in batches.values()]
    table += (estimates - table.mean(axis=1))[:, np.newaxis]
    share = np.bincount(table.argmin(axis=0), minlength=5) / 200
    assert [found[each].probability_best for each in batches] == pytest.approx(list(share))


def test_what_seeds_share_is_no_doubt() -> None:
    """Batches that follow their seeds differ by a little, always: drawn one by one they could not be told apart."""
    frozen = frozen_of(real())
    start = real(ROWS, seed=1) + 1
    found = ranked({"near": start, "farther": start + 0.05}, frozen)
    assert found["near"].probability_best > 0.99
    apart = ranked({"near": start, "farther": np.roll(start, ROWS // 2, axis=0)[::-1] + 0.05}, frozen)
    assert apart["near"].probability_best < 0.8


def test_probabilities_are_calibrated() -> None:
    """Of two settings equally good in truth neither is the surer one in the long run; of unequal ones the better is
    called so about as often as it has the lower distance."""
    frozen = frozen_of(real(10_000))
    chances = []
    for seed in range(60):
        left, right = (real(ROWS, seed=100 + 2 * seed + side) + 0.5 for side in (0, 1))
        chances.append(ranked({"left": left, "right": right}, frozen)["left"].probability_best)
    assert np.mean(chances) == pytest.approx(0.5, abs=0.1)
    # Uniform when the truth is a tie: as often above 3/4 as a quarter of the time.
    assert np.mean(np.array(chances) > 0.75) == pytest.approx(0.25, abs=0.15)


def test_probability_of_the_lowest_by_hand() -> None:
    distances = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 1.0, 5.0], [9.0, 2.0, 9.0, 9.0]])
    assert probability_lowest(distances) == pytest.approx([(1 + 1 / 3 + 1) / 4, (1 / 3 + 1) / 4, 1 / 12])


def leaves(limits: DataRange, rows: np.ndarray) -> bool:
    return limits.outside_ratio(rows) > 0.5


def test_the_range_is_left_by_more_than_half_of_the_rows() -> None:
    frozen = frozen_of(np.array([[0, 10], [1, 20], [0.5, 15]]))
    limits = DataRange.of(frozen, ALL)
    inside = np.array([[0.0, 10], [1, 20], [0.2, 12]])
    for value, left in ((1.0, False), (1.1, True), (0.0, False), (-0.1, True)):
        rows = inside.copy()
        rows[:, 0] = value
        assert leaves(limits, rows) is left
        assert leaves(limits.unit(0), rows[:, :1]) is left
        assert not leaves(limits.unit(1), rows[:, 1:])
    few_outside = np.concatenate([inside, inside + 100])[:5]
    assert limits.outside_ratio(few_outside) == pytest.approx(2 / 5)
    both_ends = np.array([[-9.0, 15], [0.5, 15], [9, 15]])  # the median is inside, two of three rows are not
    assert limits.outside_ratio(both_ends) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("kind", "free", "bound"), [("top", -1, 1), ("bottom", 1, -1)])
def test_selected_rows_tell_only_how_far_their_unit_goes(kind: str, free: int, bound: int) -> None:
    selection = Selection(kind, 1, 50)  # type: ignore[arg-type]
    limits = DataRange.of(frozen_of(real(400, 3), selection), selection)
    rows = np.zeros((ROWS, 3))
    rows[:, 1] = 100 * free
    assert limits.outside_ratio(rows) == 0
    assert limits.unit(1).outside_ratio(rows[:, 1:2]) == 0
    rows[:, 1] = 100 * bound
    assert limits.outside_ratio(rows) == 1
    rows[:, 1] = 0
    rows[:, 2] = 100 * bound  # what another unit does elsewhere, those rows do not show
    assert limits.outside_ratio(rows) == 0
    assert limits.unit(2).outside_ratio(rows[:, 2:]) == 0


def test_a_ranking_has_one_word_for_the_range() -> None:
    """Whatever lies below the top rows is no more outside in the one figure than in the other."""
    selection = Selection("top", 0, 50)
    frozen = frozen_of(real(400), selection)
    limits, floor = DataRange.of(frozen, selection), noise_floor(frozen.gaussian, ROWS, 0)
    yardstick = Yardstick(frozen, limits, floor, 0, 6)
    shifts = (-50, 0, 2, 3, 4, 50)
    found = rank([yardstick.measure(str(shift), real(ROWS, seed=1) + shift) for shift in shifts])
    outside = {int(each.id): each.score.outside_range_ratio for each in found}
    assert outside[-50] == outside[0] == 0
    assert 0 < outside[2] < 0.5 < outside[4] < outside[50] == 1
    assert {int(each.id): each.leaves_range for each in found} == {
        shift: share > 0.5 for shift, share in outside.items()
    }


def test_real_audio_does_not_leave_its_own_range() -> None:
    """Although nearly every row of 64 units has some unit beyond the range of 50 others."""
    frozen = frozen_of(real(50, 64))
    limits = DataRange.of(frozen, ALL)
    batches = [real(ROWS, 64, seed) for seed in range(1, 51)]
    outside = np.mean([((rows < frozen.minimum) | (rows > frozen.maximum)).any(axis=1).mean() for rows in batches])
    assert outside > 0.8
    assert max(map(limits.outside_ratio, batches)) < 0.3
