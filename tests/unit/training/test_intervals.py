"""Bootstrap intervals against scikit-learn on the resampled frames, and against what is known of the mean."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from earwitness.training.evaluate import Scored
from earwitness.training.intervals import Intervals, _aurocs, bootstrap


def files(count: int, seed: int, spread: float = 1.0) -> list[Scored]:
    """Files of different lengths whose scores follow the labels, each file off by its own amount."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        labels = rng.random(rng.integers(50, 400)) < rng.random()
        scores = labels + rng.normal(0, 1, len(labels)) + rng.normal(0, spread)
        made.append(Scored(scores.astype(np.float32), labels))
    return made


def test_auroc_of_a_resample_is_that_of_its_frames() -> None:
    parts = files(7, 1)
    rng = np.random.default_rng(2)
    weights = rng.multinomial(7, np.full(7, 1 / 7), size=5)
    for row, found in zip(weights, _aurocs(parts, weights.astype(float)), strict=True):
        drawn = Scored.joined([part for part, times in zip(parts, row, strict=True) for _ in range(times)])
        assert found == pytest.approx(roc_auc_score(drawn.labels, drawn.scores), abs=2e-4)


def test_few_different_scores_are_ranked_exactly() -> None:
    parts = [Scored(np.array([0, 1, 1, 2], np.float32), np.array([0, 0, 1, 1], bool))]
    assert _aurocs(parts, np.ones((1, 1)))[0] == pytest.approx(roc_auc_score([0, 0, 1, 1], [0, 1, 1, 2]))


def test_interval_of_the_error_is_that_of_a_mean_over_files() -> None:
    """100 files, each all right or all wrong: the standard error of the mean is known."""
    wrong = np.arange(100) < 30
    parts = [Scored(np.full(80, not each, np.float32), np.ones(80, bool)) for each in wrong]
    found = bootstrap(parts, 0.5)
    half_width = 1.96 * np.sqrt(0.3 * 0.7 / 100)
    assert found.error.low == pytest.approx(0.3 - half_width, abs=0.02)
    assert found.error.high == pytest.approx(0.3 + half_width, abs=0.02)
    assert found.files == 100
    assert np.isnan(found.auroc.low)


def widths(found: Intervals) -> Sequence[float]:
    return [each.high - each.low for each in (found.error, found.auroc, found.f1)]


def test_intervals_hold_the_figure_narrow_with_files_and_repeat() -> None:
    few, many = files(8, 3), files(200, 3)
    found = bootstrap(few, 0.5)
    joined = Scored.joined(few)
    assert found.auroc.low < joined.auroc() < found.auroc.high
    assert found.error.low < float(((joined.scores >= 0.5) != joined.labels).mean()) < found.error.high
    assert all(narrow < wide for narrow, wide in zip(widths(bootstrap(many, 0.5)), widths(found), strict=True))
    assert bootstrap(few, 0.5) == found != bootstrap(few, 0.5, seed=1)


def test_a_single_file_has_no_interval() -> None:
    found = bootstrap(files(1, 0), 0.5)
    assert found.files == 1
    assert all(np.isnan(width) for width in widths(found))
