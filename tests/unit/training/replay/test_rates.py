"""Rates with intervals: the same resamples for the same trials, so that differences are paired."""

import numpy as np
import pytest

from earwitness.detection.bootstrap import eer_intervals
from earwitness.detection.eer import RankedTrials, UndefinedEer, equal_error_rate
from earwitness.detection.report import numbered
from earwitness.training.replay.rates import Estimate, eer_estimate, mean_of
from earwitness.training.replay.wording import points, rate
from tests.helpers.trials import made_scores, made_trials

TRIALS = made_trials()
SCORES = np.array(list(made_scores(TRIALS).values()))
GENUINE = [bool(trial.genuine) for trial in TRIALS]


def test_an_estimate_is_the_detection_rooms_figure() -> None:
    found = eer_estimate(SCORES, TRIALS, 50, 3)
    assert found.value == equal_error_rate(SCORES, GENUINE).convex_hull
    speakers = numbered([trial.speaker for trial in TRIALS])
    assert found.interval == eer_intervals(RankedTrials.of(SCORES, GENUINE), speakers, 50, 3).convex_hull
    assert eer_estimate(SCORES, TRIALS, 0, 3).resamples.size == 0
    with pytest.raises(UndefinedEer, match="all 3 trials are genuine"):
        eer_estimate(np.zeros(3), [trial for trial in TRIALS if trial.genuine][:3], 50, 3)


def test_differences_on_the_same_trials_are_paired() -> None:
    one = eer_estimate(SCORES, TRIALS, 200, 0)
    same = eer_estimate(2 * SCORES + 1, TRIALS, 200, 0) - one
    assert (same.value, same.interval.low, same.interval.high, same.sign) == (0, 0, 0, 0)
    slightly_worse = SCORES + 0.3 * np.random.default_rng(1).standard_normal(len(SCORES))
    paired = eer_estimate(slightly_worse, TRIALS, 200, 0) - one
    apart = eer_estimate(slightly_worse, TRIALS, 200, 1) - one
    assert paired.interval.high - paired.interval.low < apart.interval.high - apart.interval.low


def test_means_signs_and_words() -> None:
    low, high = Estimate(0.1, np.linspace(0.08, 0.12, 1001)), Estimate(0.3, np.linspace(0.26, 0.34, 1001))
    mean = mean_of([low, high])
    assert mean.value == pytest.approx(0.2)
    assert mean.interval.low == pytest.approx((low.interval.low + high.interval.low) / 2)
    assert ((high - low).sign, (low - high).sign, (low - low).sign) == (1, -1, 0)
    assert rate(low) == "10.0 % [8.1, 11.9]"
    assert points(low - high) == "-20.0 points [-21.9, -18.1]"
    assert rate(Estimate(0.5, np.empty(0))) == "50.0 %"
    assert rate(None) == "undefined"
