"""The DET curve's corners against counting, and the picture's marks where the figures say."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from earwitness.detection.det import Curve, det_curve, draw_det
from earwitness.detection.eer import UndefinedEer


def scored(seed: int, apart: float, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    genuine = np.random.default_rng(0).random(500) < 0.4
    return np.round(np.random.default_rng(seed).normal(size=500) + apart * genuine, decimals), genuine


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_corners_span_every_threshold(decimals: int) -> None:
    """Between its corners the curve runs level, upright, or (ties of both classes) straight."""
    scores, genuine = scored(1, 1.0, decimals)
    false_alarms, misses = det_curve(scores, genuine)
    assert (false_alarms[0], misses[0], false_alarms[-1], misses[-1]) == (1, 0, 0, 1)
    thresholds = np.unique(scores)
    for threshold in thresholds:
        alarm, miss = np.mean(scores[~genuine] >= threshold), np.mean(scores[genuine] < threshold)
        ahead = np.flatnonzero((false_alarms <= alarm + 1e-12) & (misses >= miss - 1e-12))[0]
        spanned = (false_alarms[ahead - 1] if ahead else 1.0, misses[ahead - 1] if ahead else 0.0)
        on_corner = np.allclose((alarm, miss), (false_alarms[ahead], misses[ahead]))
        on_step = np.isclose(alarm, spanned[0]) == np.isclose(spanned[0], false_alarms[ahead])
        assert on_corner or on_step
    assert len(false_alarms) <= len(thresholds) + 1


def test_separated_scores_have_three_corners() -> None:
    false_alarms, misses = det_curve(np.array([4.0, 1, 2, 5]), np.array([True, False, False, True]))
    assert false_alarms.tolist() == [1, 0, 0]
    assert misses.tolist() == [0, 0, 1]


@pytest.mark.parametrize("apart", [[2.0, 1.0, 0.1], [9.0], [0.0], [-2.0]])
def test_systems_are_drawn_in_colours_of_their_own(tmp_path: Path, apart: list[float]) -> None:
    systems = {f"system {place}": Curve(*scored(place, each)) for place, each in enumerate(apart)}
    draw_det(tmp_path / "new" / "det.png", systems)
    picture = matplotlib.image.imread(tmp_path / "new" / "det.png")[..., :3]
    colours = np.array([[0x1F, 0x77, 0xB4], [0xFF, 0x7F, 0x0E], [0x2C, 0xA0, 0x2C]])[: len(apart)] / 255
    for colour in colours:
        assert (np.abs(picture - colour).max(axis=-1) < 0.1).sum() > 60
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["det.png"]


def test_one_class_has_no_curve(tmp_path: Path) -> None:
    with pytest.raises(UndefinedEer):
        draw_det(tmp_path / "det.png", {"a": Curve(np.zeros(3), np.ones(3, bool))})
    assert not list(tmp_path.iterdir())
