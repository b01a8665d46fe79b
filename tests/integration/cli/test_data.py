"""Recordings to a trained and evaluated detector by commands alone; and data that are refused, every file by name."""

import csv
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from earwitness.cli.app import app
from tests.helpers.recordings import sound, write_audio, write_jamendo
from tests.helpers.spoofing import write_version_2
from tests.integration.cli.conftest import Run

ONE = ("-j", 1)


@pytest.fixture(scope="module")
def jamendo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jamendo(tmp_path_factory.mktemp("data") / "jamendo")


def test_recordings_train_and_evaluate_like_the_synthetic_corpus(run: Run, jamendo: Path, tmp_path: Path) -> None:
    assert "nothing wrong" in run("data", "check", jamendo, *ONE).stdout
    corpus = tmp_path / "corpus"
    imported = run("data", "import", jamendo, "-o", corpus, "-j", 2, "--source", "tones, CC0", "--json").json()
    assert imported["splits"]["train"]["clips"] == 2
    assert imported["sources"] == ["tones, CC0"]
    assert run("data", "import", jamendo, "-o", corpus, *ONE, "--source", "tones, CC0", "--json").json() == imported
    assert run("data", "check", corpus, "--json").json()["kind"] == "corpus"

    words = ("train", "svd", "-c", corpus, "-o", tmp_path / "svd", "--updates", 2, "--batch-size", 4, "--threads", 1)
    trained = run(*words, "--epochs", 2, "--json").json()
    assert matplotlib.image.imread(tmp_path / "svd/curves.png").ndim == 3
    assert (tmp_path / "svd/curves.csv").read_text().count("\n") == 3
    run("data", "import", jamendo, "-o", corpus, *ONE, "--source", "other", "--force", "--json").json()
    assert "another configuration or corpus" in run(*words, "--epochs", 2).stderr

    table = tmp_path / "files.csv"
    evaluate = ("evaluate", "classifier", trained["checkpoint"], "-c", corpus, "--songs", jamendo, "--table", table)
    report = run(*evaluate, "--json").json()
    assert report["intervals"]["test"]["files"] == 2
    assert len(report["files"]) == 4 + 6
    with table.open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file) if row["part"] == "test"] == [
            "00 - test. song", "01 - test. song",
        ]  # fmt: skip
    shown = run(*evaluate).stdout
    assert "test, worst first" in shown
    assert "01 - test. song" in shown


def test_broken_recordings_are_told_all_at_once(run: Run, jamendo: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(jamendo, tmp_path / "broken"))
    (broken / "audio/00 - train. song.ogg").unlink()
    (broken / "labels/00 - valid. song.lab").write_text("0 4 humming\n")
    write_audio(broken / "audio/00 - test. song.ogg", np.zeros_like(sound(0)))
    checked = run("data", "check", broken, *ONE)
    assert checked.exit_code == 1
    for said in ("00 - train. song.ogg", "unknown word 'humming'", "audio/00 - test. song.ogg", "is silent"):
        assert said in checked.stdout
    assert checked.stderr.startswith(f"error: {broken}: 3 errors in 3 files")
    document = run("data", "check", broken, *ONE, "--vocal", "humming", "--json")
    assert document.exit_code == 1
    assert '"ok": false' in document.stdout
    assert "humming" not in document.stdout

    refused = run("data", "import", broken, "-o", tmp_path / "corpus", *ONE)
    assert (refused.exit_code, refused.stdout) == (1, "")
    lines = refused.stderr.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 4
    assert lines[-1] == f"error: {broken}: 3 errors in 3 files; nothing was imported"
    assert "no complete corpus" in run("train", "svd", "-c", tmp_path / "corpus", "-o", tmp_path / "svd").error()

    left = run("data", "import", broken, "-o", tmp_path / "corpus", *ONE, "--leave-out-broken")
    assert left.exit_code == 0
    assert "left out: audio/00 - test. song.ogg: is silent" in left.stderr
    assert "recordings" in left.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "nowhere"), "nowhere: no such folder"),
        (("import", "nowhere", "-o", "out"), "nowhere: no such folder"),
        (("check", ".", "--features", "mel"), "feature profile 'mel' is unknown"),
        (("check", ".", "--vocal", "la", "--other", "la"), "la cannot mean both"),
        (("check", ".", "--valid-share", "0.6", "--test-share", "0.6"), "shares that leave some of 1"),
    ],
)
def test_wrong_words_are_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in run("data", *words, *ONE).error()
    assert list(tmp_path.iterdir()) == []


def test_three_second_recordings_are_warned_of_and_refused_by_training(run: Run, jamendo: Path, tmp_path: Path) -> None:
    short = Path(shutil.copytree(jamendo, tmp_path / "short"))
    for name, seed in (("00 - train. song.ogg", 1), ("01 - train. song.mp3", 2)):
        write_audio(short / "audio" / name, sound(seed, seconds=2.9))
        (short / "labels" / name).with_suffix(".lab").write_text("0 1 nosing\n1 2.5 sing\n2.5 2.9 nosing\n")
    checked = run("data", "check", short, *ONE)
    assert checked.exit_code == 0
    assert "training by default takes 3.01 s, never from here" in checked.stdout
    assert run("data", "import", short, "-o", tmp_path / "corpus", *ONE).exit_code == 0
    refused = run("train", "svd", "-c", tmp_path / "corpus", "-o", tmp_path / "svd")
    assert refused.exit_code == 1
    assert "its longest clip has" in refused.stderr


def test_help_shows_the_layouts(run: Run) -> None:
    assert app.registered_groups
    shown = run("data", "--help").stdout
    assert "filelists/train" in shown
    assert "annotations/words" in shown


def test_recordings_with_one_label_each_are_checked(run: Run, tmp_path: Path) -> None:
    root = write_version_2(tmp_path / "ASVspoof2017_V2", per_split=60)
    assert "nothing wrong" in run("data", "check", root, *ONE).stdout
    for path in sorted((root / "ASVspoof2017_V2_eval").iterdir())[:53]:
        path.unlink()
    checked = run("data", "check", root, *ONE)
    assert checked.exit_code == 1
    assert "asvspoof2017, version 2; 16000 Hz (127)" in checked.stdout
    for said in ("E_1000001.wav", "E_1000050.wav", "and 3 more: error, missing-audio; --json has all"):
        assert said in checked.stdout
    assert "E_1000051.wav" not in checked.stdout
    assert checked.stderr == f"error: {root}: 53 errors in 53 files; correct them\n"
    document = run("data", "check", root, "--kind", "asvspoof2017", *ONE, "--json")
    assert '"genuine": 30' in document.stdout
    assert "E_1000053.wav" in document.stdout
    assert "make no corpus of labelled frames" in run("data", "import", root, "-o", tmp_path / "out", *ONE).error()
