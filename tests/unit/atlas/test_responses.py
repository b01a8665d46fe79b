"""What stands for a unit, what of it is shown, and that its score is the scorer's."""

import numpy as np
import pytest

from earwitness.atlas.responses import Heard, Scorer, layout_of, nearest_rows, real_rows, shown_rows
from earwitness.client.values import Sense
from earwitness.scorer.collect import Frozen
from earwitness.scorer.frechet import factor_rows
from earwitness.scorer.score import score_batch
from earwitness.scorer.uncertainty import noise_floor

RNG = np.random.default_rng(1)
LAYOUT = layout_of([("a", 3), ("b", 2)])


def _heard(counts: tuple[int, ...] = (40, 25, 60)) -> Heard:
    return Heard.of(LAYOUT, [RNG.standard_normal((count, 5)).astype(np.float32) for count in counts])


@pytest.mark.parametrize("sense", ["maximise", "minimise"])
def test_shown_excerpts_are_the_most_extreme_that_share_no_audio(sense: Sense) -> None:
    heard = _heard()
    sign = 1 if sense == "maximise" else -1
    values = sign * heard.activations[:, 2]
    found = shown_rows(heard, 2, sense, 6)
    assert values[found[0]] == values.max()
    assert (np.diff(values[found]) <= 0).all()
    for row in np.argsort(-values)[:30]:  # each is shown, less extreme, or beside one that is more extreme
        beside = [
            other
            for other in found
            if heard.recording[other] == heard.recording[row] and abs(heard.place[other] - heard.place[row]) < 2
        ]
        assert beside or values[row] <= values[found[-1]]
        assert row not in found or beside == [row]


def test_at_most_50_and_half_of_the_excerpts_stand_for_a_unit() -> None:
    assert len(real_rows(_heard((400,)), 0, "maximise")) == 50
    assert len(real_rows(_heard((30,)), 0, "maximise")) == 15
    few = _heard((3,))
    assert set(real_rows(few, 0, "minimise")) == set(np.argsort(few.activations[:, 0])[:2])


def test_what_looks_like_real_excerpts_in_all_layers_is_kept() -> None:
    heard = _heard()
    real = real_rows(heard, 0, "maximise")
    like = heard.activations[real[:3]] + np.float32(0.01)
    unlike = like + np.array([0, 9, 9, 9, 9], np.float32)  # as active in the unit, and like nothing else
    assert nearest_rows(heard, real, np.concatenate([unlike, like]), 3) == [3, 4, 5]


@pytest.mark.parametrize("sense", ["maximise", "minimise"])
def test_a_score_is_that_of_the_scorer(sense: Sense) -> None:
    real, explained = (7 + 0.2 * RNG.standard_normal((2, 50))).astype(np.float32)
    explained = explained[:8] + np.float32(0.1)
    found = Scorer(8, 50).score(explained, real, sense)
    rows = real[:, np.newaxis].astype(np.float64)
    frozen = Frozen.of(factor_rows(rows), rows.min(axis=0), rows.max(axis=0))
    floor = noise_floor(frozen.gaussian, 8, 0)
    expected = score_batch(explained[:, np.newaxis], frozen, floor, 0)
    assert found.distance == pytest.approx(expected.distance)
    assert (found.interval_low, found.interval_high) == pytest.approx((expected.interval_low, expected.interval_high))
    assert (found.noise_floor, found.noise_floor_high) == pytest.approx((floor.median, floor.high))
    beyond = explained > real.max() if sense == "maximise" else explained < real.min()
    assert found.outside_range_ratio == beyond.mean()
