"""Smoothing, threshold and figures against numbers worked out by hand; every file on its own; songs beside a corpus."""

import csv
import json
import math
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from earwitness.training.checkpoint import load_checkpoint
from earwitness.training.corpus import DatasetError, open_corpus
from earwitness.training.evaluate import Figures, Scored, best_threshold, evaluate_classifier, figures, frame_scores
from earwitness.training.export.detector_figures import singing_figures
from earwitness.training.train_svd import SvdTrainingConfig, train_svd
from tests.helpers.recordings import sound, write_audio


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


@pytest.fixture(scope="module")
def checkpoint(easy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SvdTrainingConfig(
        easy_corpus, tmp_path_factory.mktemp("run"), epochs=1, updates_per_epoch=8, batch_size=8,
        excerpts_per_segment=2, learning_rate=0.003, threads=1,
    )  # fmt: skip
    return train_svd(config)


def test_every_file_has_its_figures_and_all_together_their_intervals(
    easy_corpus: Path, checkpoint: Path, tmp_path: Path
) -> None:
    for number in range(2):
        write_audio(tmp_path / f"songs/audio/song {number}.ogg", sound(number))
        (tmp_path / "songs/words").mkdir(exist_ok=True)
        (tmp_path / f"songs/words/song {number}.csv").write_text("word_start,word_end\n1.0,2.5\n")
    report = evaluate_classifier(checkpoint, easy_corpus, tmp_path / "songs")
    assert report.warnings == ()
    assert [(each.part, each.name) for each in report.files if each.part != "validation"] == [
        *(("test", f"clip 0000{number}") for number in range(4)), ("songs", "song 0"), ("songs", "song 1"),
    ]  # fmt: skip
    assert report.songs == {each.name: each.figures for each in report.files if each.part == "songs"}
    network, _ = load_checkpoint(checkpoint, "svdnet")
    first = frame_scores(network, open_corpus(easy_corpus).open("test"), 0)  # type: ignore[arg-type]
    tested = [each.figures for each in report.files if each.part == "test"]
    assert str(tested[0]) == str(figures([first], report.threshold))
    assert sum(each.frames for each in tested) == report.test.frames
    assert sum(each.error * each.frames for each in tested) == pytest.approx(report.test.error * report.test.frames)
    assert {part: each.files for part, each in report.intervals.items()} == {"validation": 4, "test": 4, "songs": 2}
    assert report.intervals["test"].error.low <= report.test.error <= report.intervals["test"].error.high
    report.write_files(tmp_path / "tables/files.csv")
    with (tmp_path / "tables/files.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["part", "file", *(each.name for each in fields(Figures))]
    assert [(row["part"], row["file"]) for row in rows] == [(each.part, each.name) for each in report.files]
    assert all(float(row["error"]) == each.figures.error for row, each in zip(rows, report.files, strict=True))
    assert math.isnan(tested[1].auroc)


def test_a_detector_of_another_corpus_is_told(easy_corpus: Path, checkpoint: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(easy_corpus, tmp_path / "corpus"))
    manifest = json.loads((corpus / "manifest.json").read_text())
    (corpus / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "other"}))
    report = evaluate_classifier(checkpoint, corpus)
    assert report.warnings == ("the detector was trained on another corpus, or another version of this one",)
    assert next(iter(singing_figures(report, {}).table.rows)) == "test"


def test_validation_of_one_class_chooses_no_threshold(easy_corpus: Path, checkpoint: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(easy_corpus, tmp_path / "corpus"))
    labels = np.load(corpus / "valid/labels.npy")
    np.save(corpus / "valid/labels.npy", np.zeros_like(labels))
    with pytest.raises(DatasetError, match="validation split holds one class only"):
        evaluate_classifier(checkpoint, corpus)
    with pytest.raises(DatasetError, match="gone: no such folder"):
        evaluate_classifier(checkpoint, easy_corpus, tmp_path / "gone")


def test_every_kind_of_voice_is_measured_beside_all_without_and_imitations_beside_all_voices(
    easy_corpus: Path, checkpoint: Path, tmp_path: Path
) -> None:
    assert evaluate_classifier(checkpoint, easy_corpus).kinds == {}
    corpus = Path(shutil.copytree(easy_corpus, tmp_path / "corpus"))
    path = corpus / "test/clips.json"
    stored = json.loads(path.read_text())
    for clip, kind in zip(stored["clips"], ("sung", "", "rapped", "imitating"), strict=True):
        clip["facts"]["kind"] = kind
    path.write_text(json.dumps(stored))
    report = evaluate_classifier(checkpoint, corpus)
    network, _ = load_checkpoint(checkpoint, "svdnet")
    clips = [frame_scores(network, open_corpus(corpus).open("test"), number) for number in range(4)]  # type: ignore[arg-type]
    expected = {"rapped": [2, 1, 3], "sung": [0, 1, 3], "imitating": [0, 2, 3]}
    assert {kind: str(each) for kind, each in report.kinds.items()} == {
        kind: str(figures([clips[number] for number in numbers], report.threshold))
        for kind, numbers in expected.items()
    }
    rows = list(singing_figures(report, {}).table.rows)
    assert "test, rapped voices only" in rows
    assert "test, all voices against instruments that imitate them" in rows
