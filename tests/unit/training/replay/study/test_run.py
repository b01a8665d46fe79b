"""What a study does when a run cannot be finished, and which settings it refuses."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.datasets import SpoofingCorpus
from earwitness.training.replay.detector import ReplayDetector
from earwitness.training.replay.study import StudyConfig, run_study
from earwitness.training.replay.study.config import Cell
from earwitness.training.replay.utterances import Utterance


def test_a_run_that_diverges_is_told_and_the_others_go_on(telltale: SpoofingCorpus, tmp_path: Path) -> None:
    config = StudyConfig(tmp_path, ("bulbul", "pindrop"), (False,), epochs=1, learning_rate=1e30, workers=0, threads=1)
    first, last = run_study(config, telltale, resamples=100)
    assert first.pending["pindrop-s0"] == "is still to come"
    assert set(last.pending) == {"bulbul-s0", "pindrop-s0"}
    assert all("lower the learning rate" in said for said in last.pending.values())
    assert last.rows == []


def test_parts_are_resampled_apart_and_alterations_alike(
    telltale: SpoofingCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every split has four speakers, and here the same scores."""

    def scores(_self: ReplayDetector, utterances: list[Utterance], *_args: object, **_kwargs: object) -> np.ndarray:
        noise = np.random.default_rng(0).normal(size=len(utterances))
        return noise + [each.genuine for each in utterances]

    monkeypatch.setattr(ReplayDetector, "scores", scores)
    config = StudyConfig(tmp_path, ("bulbul",), (False,), epochs=1, workers=0, threads=1)
    (study,) = run_study(config, telltale, shortcuts=True, resamples=100)
    (row,) = study.rows
    assert row.gap is not None
    assert row.gap.change.value == 0
    assert row.gap.change.interval.low < 0 < row.gap.change.interval.high
    altered = row.shortcut("at-8-khz")
    assert altered is not None
    assert not altered[1].resamples.any()


def test_runs_are_named_and_ordered(tmp_path: Path) -> None:
    config = StudyConfig(tmp_path, ("compact", "bulbul", "compact"), (True, False), seeds=2, patience=3)
    assert [cell.run_name(seed) for cell, seed in config.runs()] == [
        *("compact-s0", "bulbul-s0", "compact-more-s0", "bulbul-more-s0"),
        *("compact-s1", "bulbul-s1", "compact-more-s1", "bulbul-more-s1"),
    ]
    training = config.training(Cell("compact", True), 1)
    assert (training.network, training.more_data, training.seed, training.patience) == ("compact", True, 1, 3)
    wide = {more: config.training(Cell("stc_lcnn", more), 0).profile.name for more in (False, True)}
    assert wide == {False: "log-power-2048@1", True: "log-power-2048-100f@1"}
    assert (training.epochs, training.cache) == (100, tmp_path / "spectrograms")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"networks": ()}, "networks: got none"),
        ({"networks": ("tiny",)}, "network: got 'tiny', expected one of"),
        ({"more_data": ()}, "more_data: got none"),
        ({"seeds": 0}, "seeds: got 0"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"learning_rate": -1.0}, "learning_rate: got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, settings: dict, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        StudyConfig(tmp_path, **settings)
