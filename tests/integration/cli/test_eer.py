"""`earwitness eer` on other people's files: tables, JSON, a DET plot, and refusals that list everything."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest

from earwitness.detection.eer import equal_error_rate
from earwitness.detection.scores import write_scores
from tests.helpers.trials import made_scores, made_trials, write_key, write_score_lines
from tests.integration.cli.conftest import Run

TRIALS = made_trials()
GENUINE = [bool(trial.genuine) for trial in TRIALS]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_key(tmp_path / "key.trl.txt", TRIALS)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    write_scores(tmp_path / "lcnn.txt", made_scores(TRIALS))
    return tmp_path / "lcnn.txt"


def test_systems_side_by_side(run: Run, tmp_path: Path, key: Path, scores: Path) -> None:
    weaker = made_scores(TRIALS, apart=1.0, seed=1)
    other = write_score_lines(tmp_path / "compact.csv", weaker, "{score},{stem}", "cm-score,filename")
    plot = tmp_path / "plots/det.png"
    shown = run("eer", scores, other, key, "--bootstrap", 20, "--by", "playback", "--by", "speaker", "--plot", plot)
    assert (shown.exit_code, shown.stderr) == (0, "")
    for word in ("eer_convex_hull", "eer_nearest_threshold", "lcnn", "compact", "by playback", "P01", "M0003"):
        assert word in shown.stdout
    assert "higher scores mean genuine" in shown.stdout
    assert "20 resamples of 4 speakers" in shown.stdout
    assert matplotlib.image.imread(plot).ndim == 3

    document = run("eer", scores, other, key, "--bootstrap", 20, "--by", "environment", "--json").json()
    assert [system["system"] for system in document["systems"]] == ["lcnn", "compact"]
    for system, own in zip(document["systems"], (made_scores(TRIALS), weaker), strict=True):
        expected = equal_error_rate(list(own.values()), GENUINE)
        assert system["eer_convex_hull"] == expected.convex_hull
        assert system["eer_nearest_threshold"] == expected.nearest_threshold
        low, high = system["eer_convex_hull_interval"]
        assert low < expected.convex_hull < high
        assert set(system["groups"]["environment"]) == {"E01", "E02", "E03"}


def test_one_file_with_scores_and_keys(run: Run, tmp_path: Path) -> None:
    lines = [
        f"{trial.file},{'bonafide' if trial.genuine else 'spoof'},{-score}"
        for trial, score in zip(TRIALS, made_scores(TRIALS).values(), strict=True)
    ]
    (tmp_path / "both.csv").write_text("\n".join(["file,label,score", *lines]))
    found = run("eer", tmp_path / "both.csv", "--lower-is-genuine", "--bootstrap", 0, "--json").json()["systems"][0]
    assert found["eer_convex_hull"] == equal_error_rate(list(made_scores(TRIALS).values()), GENUINE).convex_hull
    turned = run("eer", tmp_path / "both.csv", "--bootstrap", 0)
    assert turned.exit_code == 0
    assert "worse than chance; are its scores the other way round? Try it with --lower-is-genuine" in turned.stderr
    (tmp_path / "bare.txt").write_text("\n".join(line.replace(",", " ") for line in lines))
    bare = run("eer", tmp_path / "bare.txt", "--lower-is-genuine", "--bootstrap", 0, "--json").json()["systems"][0]
    assert bare["eer_convex_hull"] == found["eer_convex_hull"]


def test_a_key_of_two_columns_with_its_meta_file(run: Run, tmp_path: Path, scores: Path, key: Path) -> None:
    bare = write_key(tmp_path / "bare.txt", TRIALS, columns=2)
    words = ("--by", "recording", "--bootstrap", 5, "--json")
    added = run("eer", scores, bare, "--meta", key, *words).json()
    assert added["systems"] == run("eer", scores, key, *words).json()["systems"]
    meta = write_key(tmp_path / "meta.txt", [replace(TRIALS[1], genuine=True)])
    refused = run("eer", scores, bare, "--meta", meta)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"{meta}: contradictions (1): E_1000002.wav: genuine is True, and False")
    assert "or give the key last" in run("eer", key, scores).error()
    assert "no trial says its recording" in run("eer", scores, bare, "--by", "recording", "--bootstrap", 0).error()


def test_columns_named_by_hand(run: Run, tmp_path: Path, key: Path) -> None:
    path = write_score_lines(tmp_path / "s.txt", made_scores(TRIALS), "{score} 3 {file}")
    assert "--score-columns" in run("eer", path, key).error()
    named = ("--score-columns", "score,-,file", "--key-columns", "file,key,phrase")
    found = run("eer", path, key, *named, "--by", "phrase", "--bootstrap", 0, "--json").json()["systems"][0]
    assert set(found["groups"]["phrase"]) == {"M0000", "M0001", "M0002", "M0003"}


def test_what_does_not_match_is_told_all_at_once(run: Run, tmp_path: Path, scores: Path) -> None:
    key = write_key(tmp_path / "key.txt", [*TRIALS[30:], TRIALS[50]])
    with scores.open("a") as file:
        file.write("E_1000100.wav 3\nE_1000200.flac -inf\n")
    refused = run("eer", scores, key)
    assert (refused.exit_code, refused.stdout) == (1, "")
    lines = refused.stderr.splitlines()
    assert lines[0] == f"{key}: trials that stand there more than once (1): E_1000051"
    assert lines[1] == f"{scores}: files with more than one score (2): E_1000100, E_1000200"
    assert lines[2] == f"{scores}: scores that are not finite (1): E_1000200.flac (-inf)"
    assert lines[3].startswith(f"{scores}: files without a key (30): E_1000001, E_1000002, ")
    assert lines[3].endswith("E_1000020 and 10 more")
    assert lines[4:] == ["error: scores and keys do not match (see above); nothing was computed"]


CASES = Path(__file__).parents[2] / "unit/detection/cases"


def test_a_key_of_2021_counts_eval_and_says_so(run: Run, tmp_path: Path) -> None:
    scores, key = CASES / "la21_scores.txt", CASES / "la21_key.txt"
    shown = run("eer", scores, key, "--bootstrap", 0)
    assert shown.exit_code == 0
    assert "is read as ASVspoof 2021 LA; columns: speaker, file, codec," in shown.stdout
    assert "eval: 200 of 320 trials; left out: 60 progress, 60 hidden" in shown.stdout
    assert "30.00%" in shown.stdout
    document = run("eer", scores, key, "--bootstrap", 0, "--by", "codec", "--json").json()
    assert (document["dataset"], document["subset"], document["trials"]) == ("ASVspoof 2021 LA", "eval", 200)
    assert document["subsets"] == {"progress": 60, "eval": 200, "hidden": 60}
    assert round(document["systems"][0]["eer_nearest_threshold"], 4) == 0.3
    assert set(document["systems"][0]["groups"]["codec"]) == {"alaw", "none", "opus"}
    pooled = run("eer", scores, key, "--bootstrap", 0, "--subset", "all", "--json").json()["systems"][0]
    assert round(pooled["eer_nearest_threshold"], 4) == 0.3396
    assert (
        "the key has progress (60), eval (200), hidden (60); or all" in run("eer", scores, key, "--subset", "x").error()
    )

    lines = key.read_text().splitlines()
    (tmp_path / "eval.txt").write_text("\n".join(line for line in lines if line.endswith(" eval")))
    alone = run("eer", scores, tmp_path / "eval.txt", "--bootstrap", 0, "--json")
    assert alone.json()["systems"][0]["eer_nearest_threshold"] == document["systems"][0]["eer_nearest_threshold"]
    assert alone.json()["systems"][0]["without_key"] == 120
    assert "la21_scores: 120 scores of trials that the key does not have are left out: LA_E_" in alone.stderr

    progress = {line.split()[1] for line in lines if line.endswith(" progress")}
    (tmp_path / "s.txt").write_text(
        "\n".join(line for line in scores.read_text().splitlines() if line.split()[0] in progress)
    )
    refused = run("eer", tmp_path / "s.txt", key)
    assert refused.exit_code == 1
    assert "there are scores of progress 60 of 60, eval 0 of 200, hidden 0 of 60" in refused.stderr
    assert run("eer", tmp_path / "s.txt", key, "--subset", "progress", "--bootstrap", 0).exit_code == 0


def test_scores_appended_to_a_key_of_2021(run: Run, tmp_path: Path) -> None:
    scores = dict(line.split() for line in (CASES / "la21_scores.txt").read_text().splitlines())
    lines = [f"{line} {scores[line.split()[1]]}" for line in (CASES / "la21_key.txt").read_text().splitlines()]
    (tmp_path / "both.txt").write_text("\n".join(lines))
    document = run("eer", tmp_path / "both.txt", "--bootstrap", 0, "--json").json()
    assert (document["dataset"], document["subset"]) == ("ASVspoof 2021 LA", "eval")
    assert round(document["systems"][0]["eer_nearest_threshold"], 4) == 0.3


def test_what_a_key_of_2021_pa_tells(run: Run) -> None:
    words = ("eer", CASES / "pa21_scores.txt", CASES / "pa21_key.txt", "--bootstrap", 0)
    shown = run(*words, "--by", "attack-distance")
    assert "by attack-distance" in shown.stdout
    groups = run(*words, "--by", "attack_device", "--json").json()["systems"][0]["groups"]
    assert set(groups["attack_device"]) == {"s2", "s3", "s4"}
    assert (
        "no trial says its attack; the key tells speaker, room, microphone, distance"
        in run(*words, "--by", "attack").error()
    )
    assert "a key may hold speaker, phrase," in run(*words, "--by", "mood").error()


def test_ties_that_matter_are_told(run: Run, tmp_path: Path, key: Path) -> None:
    whole = {file: float(round(score)) for file, score in made_scores(TRIALS).items()}
    write_scores(tmp_path / "whole.txt", whole)
    shown = run("eer", tmp_path / "whole.txt", key, "--bootstrap", 0)
    assert "whole: ties matter: " in shown.stderr
    found = run("eer", tmp_path / "whole.txt", key, "--bootstrap", 0, "--json").json()["systems"][0]
    told = found["ties"]
    assert f"{found['eer_nearest_threshold']:.2%} takes equal scores together" in shown.stderr
    assert f"{told['genuine_first']:.2%} with genuine trials rejected first" in shown.stderr
    turned = write_score_lines(tmp_path / "turned.txt", {file: -score for file, score in whole.items()})
    document = run("eer", turned, key, "--lower-is-genuine", "--bootstrap", 0, "--json").json()
    assert document["systems"][0]["ties"] == told


def test_one_class_has_no_eer(run: Run, tmp_path: Path, scores: Path) -> None:
    genuine = [trial for trial in TRIALS if trial.genuine]
    key = write_key(tmp_path / "key.txt", genuine)
    write_scores(scores, made_scores(genuine))
    assert run("eer", scores, key).error() == (
        "error: all 100 trials are genuine; an equal error rate needs genuine trials and spoofs"
    )


def test_it_needs_no_torch(key: Path, scores: Path) -> None:
    hidden = "".join(f"sys.modules[{name!r}] = None; " for name in ("torch", "sklearn", "grpc"))
    code = f"import sys; {hidden}from earwitness.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "eer", scores, key], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "eer_convex_hull" in done.stdout


def test_help_shows_how(run: Run) -> None:
    shown = run("eer", "--help").stdout
    assert "SCORES... KEYS" in shown
    assert "--plot det.png" in shown
