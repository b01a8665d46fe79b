"""Bootstrap intervals: against resampling trial by trial, against the truth, and with speakers in place of trials."""

from statistics import NormalDist

import numpy as np
import pytest

from earwitness.detection import bootstrap
from earwitness.detection.bootstrap import eer_intervals
from earwitness.detection.eer import RankedTrials, equal_error_rate


def trials(count: int, seed: int, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    genuine = np.arange(count) < share * count
    return rng.normal(size=count) + 2 * genuine, genuine


def test_intervals_hold_the_true_rate_about_as_often_as_they_say() -> None:
    """Two Gaussians 2 apart cross at Φ(-1)."""
    truth = NormalDist().cdf(-1)
    found = [eer_intervals(RankedTrials.of(*trials(600, seed)), None, 200) for seed in range(100)]
    held = sum(each.nearest_threshold.low <= truth <= each.nearest_threshold.high for each in found)
    assert held >= 88


def test_an_interval_is_that_of_plain_resampling() -> None:
    scores, genuine = trials(300, 1)
    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(600):
        rows = np.concatenate([rng.choice(np.flatnonzero(side), side.sum()) for side in (genuine, ~genuine)])
        drawn.append(equal_error_rate(scores[rows], genuine[rows]).convex_hull)
    found = eer_intervals(RankedTrials.of(scores, genuine), None, 2000).convex_hull
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.012)


def test_speakers_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    speakers = rng.integers(10, size=2000)
    scores, genuine = trials(2000, 3)
    scores = scores + rng.normal(size=10)[speakers]
    ranked = RankedTrials.of(scores, genuine)
    by_trial, by_speaker = (eer_intervals(ranked, units, 300).convex_hull for units in (None, speakers))
    assert by_speaker.high - by_speaker.low > 1.5 * (by_trial.high - by_trial.low)


def test_resamples_of_one_class_are_left_out() -> None:
    """One speaker for each class: half of the resamples hold one of them only, the others all trials."""
    ranked = RankedTrials.of([1, 2, 0, 3], [True, True, False, False])
    found = eer_intervals(ranked, np.array([0, 0, 1, 1]), 50)
    assert found.convex_hull.low == found.convex_hull.high == equal_error_rate([1, 2, 0, 3], [1, 1, 0, 0]).convex_hull


def test_resamples_repeat_by_seed_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, genuine = trials(100, 4)
    ranked, speakers = RankedTrials.of(scores, genuine), np.arange(100) % 9
    found = eer_intervals(ranked, speakers, 40)
    assert eer_intervals(ranked, speakers, 40, seed=1) != found
    monkeypatch.setattr(bootstrap, "BLOCK_VALUES", 300)
    assert eer_intervals(ranked, speakers, 40) == found


def test_two_systems_are_resampled_alike() -> None:
    scores, genuine = trials(200, 5)
    assert eer_intervals(RankedTrials.of(scores, genuine), None, 100) == eer_intervals(
        RankedTrials.of(3 * scores - 1, genuine), None, 100
    )


def test_the_interval_of_the_hull_ends_where_the_hull_does() -> None:
    """Of scores that say nothing the bias alone reaches beyond 0.5."""
    _, genuine = trials(40, 3)
    scores = np.random.default_rng(3).normal(size=40)
    found = eer_intervals(RankedTrials.of(scores, genuine), None, 200)
    assert found.convex_hull.high == 0.5 < found.nearest_threshold.high
