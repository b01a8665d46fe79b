"""Equal error rates against the plain definition in whole fractions, against PAV, and against cases done by hand."""

import math
import time
from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from earwitness.detection.eer import RankedTrials, UndefinedEer, convex_hull_eers, equal_error_rate

Point = tuple[Fraction, Fraction]
TOLERANCE = 4e-16
"""What the roundings of the last division may add up to."""


def points(scores: list[int], genuine: list[bool]) -> list[Point]:
    """(Pmiss, Pfa) at every threshold, counted trial by trial."""
    trials = list(zip(scores, genuine, strict=True))
    bona = [score for score, own in trials if own]
    spoof = [score for score, own in trials if not own]
    return [
        (Fraction(sum(s < t for s in bona), len(bona)), Fraction(sum(s >= t for s in spoof), len(spoof)))
        for t in [*sorted(set(scores)), max(scores) + 1]
    ]


def lowest_crossing(roc: list[Point]) -> Fraction:
    """The lowest point of Pmiss = Pfa on any chord between two thresholds: O(n²), no hull is built."""
    best = Fraction(1)
    for (miss_a, alarm_a), (miss_b, alarm_b) in combinations_with_replacement(roc, 2):
        a, b = miss_a - alarm_a, miss_b - alarm_b
        if a * b > 0:
            continue
        best = min(best, min(miss_a, miss_b) if a == b else miss_a + a / (a - b) * (miss_b - miss_a))
    return best


def nearest(roc: list[Point]) -> Fraction:
    miss, alarm = min(roc, key=lambda point: abs(point[0] - point[1]))
    return (miss + alarm) / 2


def by_pav(scores: np.ndarray, genuine: np.ndarray) -> float:
    """As the BOSARIS toolkit does it: isotonic regression of the classes gives the hull's vertices."""
    place = np.unique(scores, return_inverse=True)[1]
    size = np.bincount(place).astype(float)
    bona = np.bincount(place, genuine)
    vertices = np.asarray(isotonic_regression(bona / size, weights=size).blocks)
    miss = np.concatenate([[0], np.cumsum(bona)])[vertices] / genuine.sum()
    alarm = 1 - np.concatenate([[0], np.cumsum(size - bona)])[vertices] / (~genuine).sum()
    after = int(np.argmax(miss >= alarm))
    a, b = (miss - alarm)[after - 1], (miss - alarm)[after]
    return float(miss[after - 1] + a / (a - b) * (miss[after] - miss[after - 1]))


def assert_exact(scores: list[int], genuine: list[bool]) -> None:
    roc, found = points(scores, genuine), equal_error_rate(scores, genuine)
    assert abs(found.convex_hull - lowest_crossing(roc)) <= TOLERANCE
    assert abs(found.nearest_threshold - nearest(roc)) <= TOLERANCE
    assert (found.genuine, found.spoof) == (sum(genuine), len(genuine) - sum(genuine))


def stepwise(trials: list[tuple[int, bool]]) -> float:
    """As the challenges' scripts step, from one trial to the next in a given order."""
    genuine = [own for _, own in trials]
    misses = [sum(genuine[:at]) / sum(genuine) for at in range(len(trials) + 1)]
    alarms = [genuine[at:].count(False) / genuine.count(False) for at in range(len(trials) + 1)]
    at = int(np.argmin(np.abs(np.subtract(misses, alarms))))
    return (misses[at] + alarms[at]) / 2


def test_both_orders_of_equal_scores_are_told() -> None:
    rng = np.random.default_rng(3)
    genuine = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + genuine).astype(int)
    found, trials = equal_error_rate(scores, genuine), list(zip(scores.tolist(), genuine.tolist(), strict=True))
    assert found.ties is not None
    assert found.ties.count == sum(
        any(score == other and own != theirs for other, theirs in trials) for score, own in trials
    )
    first = stepwise(sorted(trials, key=lambda each: (each[0], not each[1])))
    last = stepwise(sorted(trials, key=lambda each: (each[0], each[1])))
    assert (found.ties.genuine_first, found.ties.spoofs_first) == pytest.approx((first, last), abs=1e-12)
    assert found.ties_matter
    assert (first - found.nearest_threshold, found.nearest_threshold - last) == pytest.approx((0.03, 0.03), abs=0.005)


def test_ties_within_a_class_or_of_no_account_are_none() -> None:
    assert equal_error_rate([1, 1, 2, 2], [False, False, True, True]).ties is None
    scores = [*range(1000), 5000, *range(2000, 3000), 5000]
    found = equal_error_rate(scores, [False] * 1001 + [True] * 1001)
    assert found.ties is not None
    assert found.ties.count == 2
    assert not found.ties_matter


@pytest.mark.parametrize("levels", [2, 3, 7, 1000])
def test_random_scores_with_ties_are_exact(levels: int) -> None:
    for seed in range(120):
        rng = np.random.default_rng((levels, seed))
        genuine = np.concatenate([[True, False], rng.random(rng.integers(0, 35)) < rng.uniform(0.1, 0.9)])
        spread = genuine * rng.uniform(-1, 2)
        scores = np.floor(levels * (rng.normal(size=len(genuine)) / 4 + spread)).astype(int)
        assert_exact(scores.tolist(), genuine.tolist())


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30))
def test_any_scores_are_exact(trials: list[tuple[int, bool]]) -> None:
    scores, genuine = [score for score, _ in trials], [own for _, own in trials]
    if len(set(genuine)) == 2:
        assert_exact(scores, genuine)
    else:
        with pytest.raises(UndefinedEer):
            equal_error_rate(scores, genuine)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_thousands_of_scores_as_by_isotonic_regression(decimals: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng((decimals, seed))
        genuine = rng.random(5000) < 0.1
        scores = np.round(rng.normal(size=5000) + 2 * genuine, decimals)
        assert equal_error_rate(scores, genuine).convex_hull == pytest.approx(by_pav(scores, genuine), abs=1e-14)


@pytest.mark.parametrize(
    ("genuine", "spoof", "hull", "nearest_threshold"),
    [
        ([1, 2], [-2, -1], 0, 0),
        ([0, 0, 0], [0, 0], 1 / 2, 1 / 2),
        ([-2, -1], [1, 2], 1 / 2, 1),
        # 2 and 3 are the wrong way round: the chord from (Pmiss, Pfa) = (0, 1/2) to (1/2, 0), and a threshold on it.
        ([2, 4], [1, 3], 1 / 4, 1 / 2),
        # One of three genuine below one of two spoofs: from (0, 1/2) to (1/3, 0), crossing at 1/5.
        ([2, 4, 5], [1, 3], 1 / 5, 5 / 12),
        # A tie of one each: from (0, 1/2) to (1/2, 0), no threshold in between.
        ([1, 2], [0, 1], 1 / 4, 1 / 4),
    ],
)
def test_by_hand(genuine: list[int], spoof: list[int], hull: float, nearest_threshold: float) -> None:
    found = equal_error_rate(genuine + spoof, [True] * len(genuine) + [False] * len(spoof))
    assert found.convex_hull == pytest.approx(hull, abs=TOLERANCE)
    assert found.nearest_threshold == pytest.approx(nearest_threshold, abs=TOLERANCE)


def test_the_threshold_is_where_the_errors_are_nearest() -> None:
    rng = np.random.default_rng(5)
    genuine = rng.random(400) < 0.5
    scores = rng.normal(size=400) + genuine
    found = equal_error_rate(scores, genuine)
    misses = np.mean(scores[genuine] < found.threshold)
    false_alarms = np.mean(scores[~genuine] >= found.threshold)
    assert (misses + false_alarms) / 2 == pytest.approx(found.nearest_threshold, abs=TOLERANCE)
    assert abs(misses - false_alarms) < 2 / 180


def test_neither_order_nor_scale_nor_repetition_matters_and_the_classes_mirror() -> None:
    rng = np.random.default_rng(6)
    genuine = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + genuine, 1)
    found, order = equal_error_rate(scores, genuine), rng.permutation(300)
    assert equal_error_rate(scores[order], genuine[order]) == found
    assert equal_error_rate(8 * scores, genuine).convex_hull == found.convex_hull
    assert equal_error_rate(-scores, ~genuine).convex_hull == pytest.approx(found.convex_hull, abs=TOLERANCE)
    doubled = equal_error_rate(np.tile(scores, 2), np.tile(genuine, 2))
    assert doubled.convex_hull == pytest.approx(found.convex_hull, abs=TOLERANCE)


def test_weights_count_trials_as_often() -> None:
    rng = np.random.default_rng(7)
    genuine = rng.random(60) < 0.5
    scores = rng.integers(0, 12, 60) + 3 * genuine
    weights = rng.integers(0, 4, (25, 60))
    hulls = convex_hull_eers(*RankedTrials.of(scores, genuine).errors(weights.astype(float)))
    for row, found in zip(weights, hulls, strict=True):
        repeated = equal_error_rate(np.repeat(scores, row), np.repeat(genuine, row))
        assert found == pytest.approx(repeated.convex_hull, abs=TOLERANCE)


def test_a_resample_of_one_class_has_none() -> None:
    trials = RankedTrials.of([1, 2, 3], [False, True, True])
    found = convex_hull_eers(*trials.errors(np.array([[1.0, 0, 0], [0, 1, 1], [1, 1, 0]])))
    assert [math.isnan(each) for each in found] == [True, True, False]


def test_a_million_scores_take_less_than_two_seconds() -> None:
    rng = np.random.default_rng(8)
    genuine = rng.random(10**6) < 0.1
    scores = rng.normal(size=10**6) + genuine
    before = time.process_time()
    found = equal_error_rate(scores, genuine)
    assert time.process_time() - before < 2
    assert found.convex_hull == pytest.approx(0.3085, abs=2e-3)


@pytest.mark.parametrize(
    ("scores", "genuine", "said"),
    [
        ([1, 2], [True, True], "all 2 trials are genuine; an equal error rate needs"),
        ([1], [False], "all 1 trials are spoofs"),
        ([], [], "there are no trials"),
        ([1, math.nan, math.inf], [True, False, True], "2 of 3 scores are not finite"),
    ],
)
def test_what_has_no_eer_says_so(scores: list[float], genuine: list[bool], said: str) -> None:
    with pytest.raises(UndefinedEer, match=said):
        equal_error_rate(scores, genuine)


def test_scores_and_classes_must_match() -> None:
    with pytest.raises(ValueError, match=r"scores \(2,\) and genuine \(3,\)"):
        equal_error_rate([1, 2], [True, False, True])
