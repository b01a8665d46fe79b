"""What a card tells of a replay detector: error rates with intervals, by split and by kind of room and device."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.detection.bootstrap import EerIntervals
from earwitness.detection.eer import Eer
from earwitness.detection.intervals import Interval
from earwitness.detection.report import Figures
from earwitness.errors import InvalidArgument
from earwitness.training.export.detector_figures import MEASURES, Material, Splits, replay_figures
from earwitness.training.replay.evaluation import SplitReport
from earwitness.training.run_folder import silent


def split(rate: float) -> SplitReport:
    sure = EerIntervals(Interval(rate - 0.01, rate + 0.01), Interval(rate - 0.02, rate + 0.02))
    figures = Figures(20, 30, Eer(rate, rate + 0.005, 0.5, 20, 30), intervals=sure)
    one_class = Figures(0, 30, None, "all replayed")
    groups = {"playback kind": {"phone": figures, "hifi": one_class}, "playback": {"P07-phone": figures}}
    return SplitReport([], np.empty(0), figures, groups)


def test_rates_of_splits_and_kinds_and_of_other_detectors_beside() -> None:
    mine: Splits = {"dev": split(0.1), "eval": split(0.2)}
    figures = replay_figures(mine, {"bulbul": {"eval": split(0.3)}})
    assert figures.table.columns == ("EER, convex hull", "EER, nearest threshold", "genuine", "replayed")
    rate = ("0.200 (0.190–0.210)", "0.205 (0.180–0.220)", "20", "30")
    assert [*figures.table.rows] == [
        "dev", "dev, playback phone", "dev, playback hifi", "eval", "eval, playback phone", "eval, playback hifi",
    ]  # fmt: skip
    assert figures.table.rows["eval"] == figures.table.rows["eval, playback phone"] == rate
    assert figures.table.rows["eval, playback hifi"] == ("undefined", "undefined", "0", "30")
    assert figures.beside is not None
    assert figures.beside.rows == {
        "this one: dev": ("0.100 (0.090–0.110)",),
        "this one: eval": rate[:1],
        "bulbul: eval": ("0.300 (0.290–0.310)",),
    }
    assert replay_figures(mine, {}).beside is None
    assert "that neither has" in figures.words
    doubted = replay_figures(mine, {}, ("the detector was trained on another corpus",))
    assert "that neither has" not in doubted.words
    assert doubted.warnings == ("the detector was trained on another corpus",)


def test_songs_are_refused_for_replay_detectors(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="songs"):
        MEASURES["replay"](tmp_path / "best.pt", {}, Material(tmp_path, tmp_path / "songs", tmp_path), silent)
