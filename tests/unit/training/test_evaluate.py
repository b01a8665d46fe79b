"""Smoothing, threshold and figures against numbers worked out by hand; words to frames."""

import numpy as np
import pytest

from earwitness.training.evaluate import Scored, best_threshold, figures
from earwitness.training.real_songs import vocal_frames


def scored(scores: list[float], labels: list[int]) -> Scored:
    return Scored(np.array(scores, np.float32), np.array(labels, bool))


def test_threshold_lies_halfway_where_most_are_right() -> None:
    assert best_threshold(scored([0.1, 0.4, 0.3, 0.9], [0, 1, 0, 1])) == pytest.approx(0.35)
    assert best_threshold(scored([0.5, 0.5, 0.5], [1, 1, 0])) < 0.5
    assert best_threshold(scored([0.5, 0.5, 0.5], [0, 1, 0])) > 0.5


def test_smoothing_removes_what_is_shorter_than_half_the_window() -> None:
    scores = np.zeros(300, np.float32)
    scores[100:120] = 1.0
    scores[200:260] = 1.0
    smooth = Scored(scores, scores > 0).smoothed().scores
    assert smooth[100:120].max() == 0.0
    assert smooth[205:255].min() == 1.0


def test_figures_count_frames() -> None:
    # 80 frames each: hit, miss, false alarm, rejection ×2; constant over more than the smoothing window.
    parts = [scored([value] * 80, [label] * 80) for value, label in ((0.9, 1), (0.2, 1), (0.8, 0), (0.1, 0), (0.1, 0))]
    found = figures(parts, 0.5)
    assert found.frames == 400
    assert found.error == pytest.approx(0.4)
    assert (found.precision, found.recall, found.f1) == pytest.approx((0.5, 0.5, 0.5))
    assert found.specificity == pytest.approx(2 / 3)
    assert found.auroc == pytest.approx(5 / 6)


def test_short_gaps_between_words_count_as_sung() -> None:
    words = np.array([[1.0, 2.0], [2.2, 3.0], [3.5, 4.0]])
    times = np.array([0.5, 1.5, 2.1, 2.9, 3.2, 3.6, 4.0])
    np.testing.assert_array_equal(vocal_frames(words, times), [False, True, True, True, False, True, False])
