"""The DET curve's corners against counting, and the picture's marks where the figures say."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from earwitness.detection.det import Curve, det_curve, det_figure, draw_det
from earwitness.detection.eer import UndefinedEer, equal_error_rate


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


def test_the_axes_are_normal_deviates() -> None:
    """Two Gaussians of one variance make a straight line, parallel to the other diagonal; marks lie on the first."""
    apart, places = 2.0, ndtri((np.arange(20_000) + 0.5) / 20_000)
    scores = np.concatenate([places + apart, places])
    genuine = np.arange(len(scores)) < len(places)
    (axes,) = det_figure({"gaussian": Curve(scores, genuine), "noisy": Curve(*scored(3, 1.0))}).axes
    line, hull, nearest, _, hull_of_noisy, nearest_of_noisy, diagonal = axes.get_lines()
    across, up = line.get_data()
    seen = (np.abs(across) < 3) & (np.abs(up) < 3)
    assert seen.sum() > 10_000
    np.testing.assert_allclose((across + up)[seen], -apart, atol=0.01)
    for mark, rate in (
        (hull, ndtr(-apart / 2)),
        (nearest, ndtr(-apart / 2)),
        (hull_of_noisy, equal_error_rate(*scored(3, 1.0)).convex_hull),
        (nearest_of_noisy, equal_error_rate(*scored(3, 1.0)).nearest_threshold),
    ):
        np.testing.assert_allclose(np.ravel(mark.get_data()), ndtri(rate), atol=1e-3)
    low, high = axes.get_xlim()
    np.testing.assert_array_equal(diagonal.get_data(), [[low, high], [low, high]])
    assert axes.get_ylim() == (low, high)
    for axis in (axes.xaxis, axes.yaxis):
        percents = [float(label.get_text()) for label in axis.get_ticklabels()]
        np.testing.assert_allclose(axis.get_ticklocs(), ndtri(np.array(percents) / 100))
        assert {1, 10, 40} <= set(percents)
        assert low <= min(axis.get_ticklocs()) < max(axis.get_ticklocs()) <= high


def test_one_class_has_no_curve(tmp_path: Path) -> None:
    with pytest.raises(UndefinedEer):
        draw_det(tmp_path / "det.png", {"a": Curve(np.zeros(3), np.ones(3, bool))})
    assert not list(tmp_path.iterdir())
