"""`earwitness study replay`, `evaluate replay` and `evaluate shortcuts`: kept, resumed, and what they refuse."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earwitness.cli.app import app
from tests.helpers.spoofing import write_telltale
from tests.helpers.trials import made_scores, made_trials, write_key, write_score_lines
from tests.integration.cli.conftest import Outcome, Run

SETTINGS = ("--epochs", 4, "--batch-size", 8, "--lr", 8e-4, "--dropout", 0.1, "--threads", 1, "-j", 0)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One to train on, another beside it."""
    folder = tmp_path_factory.mktemp("corpora")
    return write_telltale(folder / "own", 16), write_telltale(folder / "other", 8, seed=1)


@pytest.fixture(scope="module")
def study(corpora: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network with both amounts of data; the run with one window was there before, made by `train replay`."""
    folder = tmp_path_factory.mktemp("study")
    words = [word for word in SETTINGS if word not in ("-j", 0)]
    earlier = folder / "runs/bulbul-s0"
    trained = invoke("train", "replay", "--network", "bulbul", "-c", corpora[0], "-o", earlier, *words)
    assert trained.exit_code == 0, trained.stderr
    before = stamps([earlier / "curves.csv", earlier / "best.pt"])
    shown = studied(corpora[0], folder, "--other", corpora[1])
    assert shown.exit_code == 0, shown.stderr
    assert stamps(list(before)) == before
    assert "With one window the EER changes from dev to eval by " in shown.stdout
    return folder


def invoke(*words: object) -> Outcome:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return Outcome(result.exit_code, result.stdout, result.stderr)


def studied(corpus: Path, out: Path, *words: object) -> Outcome:
    return invoke("study", "replay", "-c", corpus, "-o", out, "-n", "bulbul", *SETTINGS, "--bootstrap", 100, *words)


def stamps(paths: Sequence[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths}


def test_a_study_is_written_and_kept(study: Path, corpora: tuple[Path, Path]) -> None:
    kept = stamps([*study.glob("runs/*/curves.csv"), *study.glob("runs/*/scores/*/*.txt")])
    assert len(kept) == 2 * (1 + 6), "curves, and scores of three splits of two corpora, of two runs"
    document = studied(corpora[0], study, "--other", corpora[1], "--json").json()
    assert stamps(list(kept)) == kept
    assert [(row["network"], row["more_data"], row["parameters"]) for row in document["rows"]] == [
        ("bulbul", False, 65_842),
        ("bulbul", True, 65_842),
    ]
    for row in document["rows"]:
        assert set(row["eer"]) == {"train", "dev", "eval", "other"}
        assert set(row["kinds"]) == {"phone", "hifi"}
        assert row["gap"]["value"] == pytest.approx(row["eer"]["eval"]["value"] - row["eer"]["dev"]["value"])
        assert row["runs"][0]["epochs"] == 4
    assert document["trials"]["other"] == {"genuine": 12, "spoof": 12}
    text = (study / "study.md").read_text()
    assert "| bulbul | 65,842 | one window | 1 | 4 |" in text
    with (study / "study.csv").open() as file:
        rows = {
            (row["more_data"], row["part"], row["group"], row["figure"], row["seed"]): row
            for row in csv.DictReader(file)
        }
    assert float(rows["0", "eval", "", "eer", "mean"]["value"]) == document["rows"][0]["eer"]["eval"]["value"]


def test_more_is_asked_for_later(study: Path, corpora: tuple[Path, Path]) -> None:
    document = studied(corpora[0], study, "--data", "less", "--seeds", 2, "--no-train", "--json").json()
    assert document["pending"] == {"bulbul-s1": "is not trained to the end"}
    assert len(document["rows"][0]["runs"]) == 1
    document = studied(corpora[0], study, "--data", "less", "--shortcuts", "--no-train", "--json").json()
    assert document["rows"][0]["shortcuts"]["at-8-khz"]["difference"]["value"] > 0.2
    assert "nothing above 6 kHz" in (study / "study.md").read_text()
    assert "another configuration or corpus" in studied(corpora[0], study, "--lr", 1e-3).stderr
    assert "another configuration or corpus" in studied(corpora[1], study).stderr


def test_evaluate_replay(run: Run, study: Path, corpora: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint = study / "runs/bulbul-more-s0/best.pt"
    words = ("evaluate", "replay", checkpoint, "-c", corpora[0], "--bootstrap", 20, "-j", 0)
    shown = run(*words, "--split", "eval", "--out", tmp_path / "out")
    assert shown.exit_code == 0
    for word in ("65,842 parameters", "eval, by playback kind", "P05-hifi", "M0203"):
        assert word in shown.stdout
    kept = {path.read_text() for path in study.glob("runs/bulbul-more-s0/scores/*/eval.txt")}
    assert (tmp_path / "out/eval.txt").read_text() in kept, "as the study has scored it"
    key = corpora[0] / "protocol_V2/ASVspoof2017_V2_eval.trl.txt"
    by_eer = run("eer", tmp_path / "out/eval.txt", key, "--bootstrap", 20, "--json").json()["systems"][0]
    document = run(*words, "--json").json()
    assert document["splits"]["eval"]["eer_convex_hull"] == by_eer["eer_convex_hull"]
    assert list(document["splits"]) == ["train", "dev", "eval"]
    note = run("evaluate", "replay", checkpoint, "-c", corpora[1], "--split", "dev", "-j", 0, "--bootstrap", 0)
    assert "note: the detector was trained on another corpus" in note.stderr


def test_evaluate_shortcuts(run: Run, study: Path, corpora: tuple[Path, Path]) -> None:
    words = ("evaluate", "shortcuts", study / "runs/bulbul-s0/best.pt", "-c", corpora[0], "-j", 0, "--bootstrap", 50)
    shown = run(*words)
    assert shown.exit_code == 0
    for word in ("untouched", "leading silence cut", "at 8 kHz and back", "8 genuine and 8 replayed", " points ["):
        assert word in shown.stdout


def test_what_does_not_fit_is_refused(run: Run, study: Path, corpora: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint = study / "runs/bulbul-s0/best.pt"
    genuine = Path(shutil.copytree(corpora[0], tmp_path / "genuine"))
    protocol = genuine / "protocol_V2/ASVspoof2017_V2_eval.trl.txt"
    protocol.write_text("".join(line for line in protocol.read_text().splitlines(True) if " genuine " in line))
    words = ("-c", genuine, "-j", 0)
    refused = run("evaluate", "replay", checkpoint, *words, "--split", "eval")
    assert refused.error().startswith("error: no split has an EER: eval: all 8 trials are genuine")
    partly = run("evaluate", "replay", checkpoint, *words, "--split", "dev", "--split", "eval", "--bootstrap", 0)
    assert partly.exit_code == 0
    assert "eval: all 8 trials are genuine; an equal error rate needs genuine trials and spoofs" in partly.stderr
    assert "all 8 trials are genuine" in run("evaluate", "shortcuts", checkpoint, *words).error()
    told = studied(genuine, tmp_path / "study", "--data", "less", "--epochs", 1)
    assert told.exit_code == 0
    assert "note: eval: the EER is undefined: all 8 trials are genuine" in told.stderr

    other_kind = tmp_path / "singing"
    other_kind.mkdir()
    (other_kind / "manifest.json").write_text('{"fingerprint": "f", "sources": []}')
    assert "holds a corpus of another kind" in run("evaluate", "replay", checkpoint, "-c", other_kind).error()
    replayed = tmp_path / "replayed"
    replayed.mkdir()
    (replayed / "manifest.json").write_text('{"fingerprint": "f", "sources": [], "kind": "replay"}')
    refused = run("train", "svd", "-c", replayed, "-o", tmp_path / "run")
    assert "genuine and replayed speech, which `earwitness train replay` takes" in refused.stderr
    assert "no such checkpoint" in run("evaluate", "replay", tmp_path / "no.pt", "-c", corpora[0]).error()


def test_doubled_recordings_are_counted(run: Run, study: Path, corpora: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(corpora[0], tmp_path / "doubled"))
    shutil.copy(root / "ASVspoof2017_V2_train/T_1000001.wav", root / "ASVspoof2017_V2_eval/E_1000001.wav")
    said = "note: 1 recording in more than one split, by content: T_1000001 (train) = E_1000001 (eval)"
    checkpoint = study / "runs/bulbul-s0/best.pt"
    assert (
        said in run("evaluate", "replay", checkpoint, "-c", root, "-j", 0, "--split", "eval", "--bootstrap", 0).stderr
    )
    shown = run(
        "train", "replay", "-c", root, "-o", tmp_path / "run", "--network", "bulbul", "--epochs", 1, "--threads", 1
    )
    assert said in shown.stderr


def test_ties_only_are_told(run: Run, tmp_path: Path) -> None:
    trials = made_trials(40)
    scores = write_score_lines(tmp_path / "flat.txt", dict.fromkeys(made_scores(trials), 0.5))
    shown = run("eer", scores, write_key(tmp_path / "key.txt", trials), "--bootstrap", 20)
    assert shown.exit_code == 0
    assert "flat: all 40 scores are 0.5: ties only, which tell no trial from another" in shown.stderr


def test_help_shows_how(run: Run) -> None:
    for words, said in (
        (("study", "replay"), "earwitness study replay -c ASVspoof2017_V2 -n compact -n bulbul --seeds 3"),
        (("evaluate", "replay"), "--corpus replayed --out figures"),
        (("evaluate", "shortcuts"), "leading silence"),
    ):
        assert said in run(*words, "--help").stdout
