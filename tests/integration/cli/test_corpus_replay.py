"""`earwitness corpus replay`: a corpus by one command, left alone when complete; what it refuses."""

from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from earwitness.cli.app import app
from earwitness.training.checkpoint import load_checkpoint
from tests.integration.cli.conftest import Outcome, Run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small corpus, made by the command."""
    folder = tmp_path_factory.mktemp("replay")
    result = CliRunner().invoke(app, ["corpus", "replay", str(folder), "--size", "small", "-j", "2", "--json"])
    document = Outcome(result.exit_code, result.stdout, result.stderr).json()
    assert [document["splits"][split]["trials"] for split in ("train", "dev", "eval")] == [16, 16, 24]
    return folder


def test_protocol_and_audio_fit_together(corpus: Path) -> None:
    lines = (corpus / "protocol_V2/ASVspoof2017_V2_eval.trl.txt").read_text().splitlines()
    for line in lines:
        assert soundfile.info(corpus / "ASVspoof2017_V2_eval" / line.split()[0]).frames > 16_000


def test_complete_corpus_is_shown_and_left_as_it_is(run: Run, corpus: Path) -> None:
    before = (corpus / "trials.jsonl").stat().st_mtime_ns
    shown = run("corpus", "replay", corpus, "--size", "small")
    assert shown.exit_code == 0
    assert "4 hifi, 4 laptop, 4 phone, 4 portable" in shown.stdout
    assert (corpus / "trials.jsonl").stat().st_mtime_ns == before


def test_wrong_input_is_one_line(run: Run, corpus: Path, tmp_path: Path) -> None:
    assert "holds another corpus" in run("corpus", "replay", corpus, "--size", "small", "--seed", 1).error()
    assert "10 trials are too few: give at least 464" in run("corpus", "replay", tmp_path, "--size", 10).error()
    (tmp_path / "notes.txt").write_text("mine")
    assert "something else" in run("corpus", "replay", tmp_path, "--size", "small").error()
    assert "notes.txt" in run("corpus", "replay", tmp_path / "notes.txt", "--size", "small").error()
    assert "nowhere" in run("corpus", "replay", tmp_path / "new", "--speech", tmp_path / "nowhere").error()


def test_a_detector_trains_on_it_and_a_second_call_changes_nothing(run: Run, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("train", "replay", "--network", "bulbul", "--more-data", "--epochs", 1, "--threads", 1, "-c", corpus)
    trained = run(*words, "-o", folder, "--json").json()
    meta = load_checkpoint(Path(trained["checkpoint"]), "replay")[1]
    assert meta.arguments["network"] == "bulbul"
    assert meta.training["config"]["more_data"] is True
    before = (folder / "curves.csv").read_bytes()
    assert run(*words, "-o", folder, "--json").json() == trained
    assert (folder / "curves.csv").read_bytes() == before
    assert "'mel' is unknown" in run(*words, "-o", tmp_path / "x", "--features", "mel").error()
    assert "nowhere" in run("train", "replay", "-c", tmp_path / "nowhere", "-o", tmp_path / "x").error()
    assert not (tmp_path / "x").exists()
