"""`earwitness corpus replay`: a corpus by one command, left alone when complete; what it refuses.

And what is made of it: a detector and a generator, exported and explained by services that know nothing of speech.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earwitness.cli.app import app
from earwitness.training.checkpoint import load_checkpoint
from earwitness.training.export import verify
from tests.integration.cli.conftest import Outcome, Run
from tests.integration.cli.served import served


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


PROFILE = "log-power-256@1"
"""Bulbul's front end."""
SENSES = {"maximise": ("top", "genuine"), "minimise": ("bottom", "spoof")}


def test_a_detector_and_a_generator_of_it_are_exported_and_explained(
    run: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("-c", corpus, "--threads", 1, "--json")
    detector = run("train", "replay", "--network", "bulbul", "--epochs", 1, *common, "-o", tmp_path / "bulbul").json()
    gan = (
        "train", "gan", "--updates", 2, "--batch-size", 2, "--channels", 16, "--critic-channels", 4,
        "--detector", detector["checkpoint"], "-o", tmp_path / "gan", *common,
    )  # fmt: skip
    assert "name the front end" in run(*gan).error()
    generator = run(*gan, "--features", PROFILE).json()["checkpoint"]
    judge = run("train", "replay", "--network", "bulbul", "--epochs", 1, "--seed", 1, *common, "-o", tmp_path / "other")
    measure = ("--classifier", judge.json()["checkpoint"], "-c", corpus, "--excerpts", 70, "--json")
    best = run("evaluate", "checkpoints", tmp_path / "gan", *measure).json()["checkpoint"]
    report = run("evaluate", "generator", best, *measure).json()
    assert report["layer"] == "fc10"
    assert 0 < report["fid_training"] < report["fid"]

    # Fewer rows than in an export, for time.
    monkeypatch.setattr(verify, "BATCHES", (1, 16))
    models = tmp_path / "models"
    words = ("export", "heard", "-g", generator, "-c", detector["checkpoint"], "--model-repository", models)
    metadata = run(*words, "--json").json()["metadata"]
    assert (metadata["sample_rate_hz"], metadata["spectrogram_shape"]) == (16_000, [129, 100])
    with served(tmp_path / "stack", models) as stack:
        data = ("--data", stack.data, "--json")
        for sense, (end, meaning) in SENSES.items():
            run("reference", "build", end, corpus / "ASVspoof2017_V2_dev", "-m", "heard", f"--{end}", 8, *data).json()
            out = tmp_path / sense
            explained = ("explain", "heard", f"--{sense}", "-n", 2, "--steps", 3, "-r", end, "-o", out)
            assert run(*explained, *data).json()["score"]["distance"] >= 0
            assert meaning in (out / "index.html").read_text()
            waveform, rate_hz = soundfile.read(out / "000.wav")
            assert rate_hz == 16_000
            assert len(waveform) == 99 * 160 + 1
            with np.load(out / "explanations.npz") as arrays:
                assert arrays["spectrograms"].shape == (2, 129, 100)
                assert arrays["layer_activations"].shape == (2, 2)
