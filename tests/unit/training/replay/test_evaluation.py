"""A detector on a corpus: the detection room's figures of its scores, by group; what is doubtful about them is said."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.detection.eer import UndefinedEer, equal_error_rate
from earwitness.detection.scores import match_scores, read_scores
from earwitness.training.checkpoint import CheckpointError
from earwitness.training.datasets import SpoofingCorpus, open_spoofing_corpus
from earwitness.training.replay.detector import ReplayDetector
from earwitness.training.replay.evaluation import duplicates, evaluate_replay
from earwitness.training.replay.shortcuts import evaluate_shortcuts


@pytest.fixture(scope="module")
def detector(telltale_checkpoint: Path) -> ReplayDetector:
    return ReplayDetector.load(telltale_checkpoint)


def all_genuine(corpus: SpoofingCorpus, split: str) -> SpoofingCorpus:
    """Without the spoofs of a split."""
    kept = [each for each in corpus.spoken if each.split != split or each.trial.genuine]
    return replace(corpus, spoken=tuple(kept))


def test_figures_by_split_and_group(telltale: SpoofingCorpus, detector: ReplayDetector, tmp_path: Path) -> None:
    report = evaluate_replay(detector, telltale, ("dev", "eval"), resamples=20)
    assert report.warnings == []
    found = report.splits["eval"]
    expected = equal_error_rate(found.scores, [bool(trial.genuine) for trial in found.trials])
    assert found.figures.eer == expected
    assert expected.convex_hull < 0.1
    assert (found.figures.unit, found.figures.units) == ("speakers", 4)
    assert {name: set(groups) for name, groups in found.groups.items()} == {
        "environment kind": {"home"},
        "playback kind": {"phone", "hifi"},
        "recording kind": {"studio"},
        "environment": {"E02-home"},
        "playback": {"P04-phone", "P05-hifi"},
        "recording": {"R03-studio"},
        "speaker": {"M0200", "M0201", "M0202", "M0203"},
    }
    assert (found.groups["playback kind"]["hifi"].genuine, found.groups["playback kind"]["hifi"].spoof) == (12, 6)

    report.write(tmp_path)
    known = {trial.id for trial in found.trials}
    np.testing.assert_array_equal(match_scores(found.trials, read_scores(tmp_path / "eval.txt", known)), found.scores)
    assert (
        json.loads((tmp_path / "report.json").read_text())["splits"]["eval"]["eer_convex_hull"] == expected.convex_hull
    )
    with (tmp_path / "groups.csv").open() as file:
        rows = {(row["split"], row["by"], row["group"]): row for row in csv.DictReader(file)}
    assert float(rows["eval", "", ""]["eer_convex_hull"]) == expected.convex_hull
    assert rows["dev", "playback kind", "phone"]["spoof"] == "6"
    assert (tmp_path / "det.png").is_file()


def test_a_split_of_one_class_has_scores_and_no_rate(
    telltale: SpoofingCorpus, detector: ReplayDetector, tmp_path: Path
) -> None:
    report = evaluate_replay(detector, all_genuine(telltale, "eval"), ("dev", "eval"), resamples=0)
    assert (
        report.splits["eval"].doubt == "all 12 trials are genuine; an equal error rate needs genuine trials and spoofs"
    )
    assert report.to_dict()["splits"]["eval"]["eer_convex_hull"] is None
    assert report.splits["dev"].figures.eer is not None
    assert report.warnings == ["the detector was trained on another corpus, or another version of this one"]
    report.write(tmp_path)
    assert len((tmp_path / "eval.txt").read_text().splitlines()) == 12
    with pytest.raises(UndefinedEer, match="all 12 trials are genuine"):
        evaluate_shortcuts(detector, all_genuine(telltale, "eval"))


def test_recordings_of_two_splits_are_counted(telltale: SpoofingCorpus, tmp_path: Path) -> None:
    assert duplicates(telltale) == []
    root = Path(shutil.copytree(telltale.root, tmp_path / "copy"))
    for number in (1, 2):
        name = f"_100000{number}.wav"
        shutil.copy(root / f"ASVspoof2017_V2_train/T{name}", root / f"ASVspoof2017_V2_eval/E{name}")
    (said,) = duplicates(open_spoofing_corpus(root))
    assert said.startswith("2 recordings in more than one split, by content: ")
    assert "T_1000001 (train) = E_1000001 (eval)" in said


def test_ties_only_are_doubted(telltale: SpoofingCorpus, detector: ReplayDetector) -> None:
    dead = ReplayDetector.load(detector.path)
    for parameter in dead.network.parameters():
        parameter.data.zero_()
    found = evaluate_replay(dead, telltale, ("dev",), resamples=20).splits["dev"]
    assert found.figures.eer is not None
    assert found.figures.eer.convex_hull == 0.5
    assert found.doubt == "all 24 scores are 0: ties only, which tell no trial from another"


def test_a_shortcut_shows_where_it_is_taken_away(telltale: SpoofingCorpus, detector: ReplayDetector) -> None:
    """Replays differ above 7 kHz alone: without it, and at 8 kHz, nothing is left to tell them by."""
    report = evaluate_shortcuts(detector, telltale, resamples=50)
    plain = evaluate_replay(detector, telltale, ("eval",)).splits["eval"].figures.eer
    assert plain is not None
    assert report.untouched.value == plain.convex_hull
    found = {each.name: each for each in report.shortcuts}
    for name in ("below-6-khz", "at-8-khz"):
        assert found[name].difference.value > 0.2
        assert found[name].difference.sign == 1
    for name in ("no-leading-silence", "6-db-louder", "6-db-softer"):
        assert abs(found[name].difference.value) < 0.1
    assert found["at-8-khz"].difference.value == found["at-8-khz"].eer.value - report.untouched.value
    assert set(report.to_dict()["shortcuts"]) == set(found)


def test_something_else_than_a_replay_detector_is_refused(telltale_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.pt").write_bytes(b"no checkpoint")
    for path, said in ((tmp_path / "junk.pt", "not an earwitness checkpoint"), (tmp_path / "no.pt", "no such")):
        with pytest.raises(CheckpointError, match=said):
            ReplayDetector.load(path)
