"""`earwitness sweep` and `earwitness sweeps` against real services: ranked by the real scorer, written, found again."""

import json
import re
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, write_recording

SENSES = ("maximise", "minimise")
GRID = ("--lr", 0.1, "--lr", 0.001, "--prior", 0.01, "--steps", 5, "--steps", 40)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two recordings."""
    folder = tmp_path_factory.mktemp("music")
    for seed in range(2):
        write_recording(folder / f"{seed}.wav", 8, seed)
    return folder


def test_swept_ranked_and_written(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    run("reference", "build", "top", "-m", "tiny", "--top", 10, music, *data, "--json").json()
    out = tmp_path / "out"
    beside = ("--recordings", music, "--model-repository", stack.tiny.repository)
    words = ("sweep", "tiny", *GRID, "-n", 6, "--seed", 3, "-r", "top", "-o", out, "--examples", 2, *beside, *data)
    document = run(*words, "--json").json()
    assert document["state"] == "succeeded"
    assert document["seeds"] == [3, 4, 5, 6, 7, 8]
    assert [each["settings"]["steps"] for each in document["results"]] == [5, 40, 5, 40]
    (ranking,) = document["rankings"]
    assert ranking["error"] == ""
    assert [each["rank"] for each in ranking["batches"]] == [1, 2, 3, 4]
    ranges_and_places = [(each["leaves_range"], each["criterion_value"]) for each in ranking["batches"]]
    assert ranges_and_places == sorted(ranges_and_places)
    convolutional = [layer.name for layer in stack.tiny.metadata.layers if layer.kind == "conv"]
    assert ranking["criterion"]["layers"] == convolutional, "what is right where nobody asks"
    assert ranking["batches"][0]["score"]["dimension_count"] == 1
    assert sum(each["probability_best"] for each in ranking["batches"]) == pytest.approx(1)

    # The same figures as from a search of the best setting alone and a score of its folder.
    best = document["results"][int(ranking["batches"][0]["id"])]["settings"]
    alone = run(
        "explain", "tiny", "-n", 6, "--seed", 3, "--lr", best["learning_rate"], "--prior", best["prior_weight"],
        "--steps", best["steps"], "-r", "top", *data, "--json",
    ).json()  # fmt: skip
    assert alone["score"]["distance"] == pytest.approx(ranking["batches"][0]["score"]["distance"], rel=1e-3)

    written = json.loads((out / "sweep.json").read_text())
    assert written["reference"]["version"].endswith("top/versions/1")
    assert len((out / "sweep.csv").read_text().splitlines()) == 5
    assert {"best", "median", "worst"} <= {path.name for path in out.iterdir() if path.is_dir()}
    assert (out / "best" / "000.wav").is_file()
    # The loudest real excerpt for the unit is the highest row that the reference kept.
    highest = run("reference", "show", "top", *data, "--json").json()["versions"][0]["unit_maximum"]
    assert written["excerpts"][0]["activation"] == pytest.approx(highest, rel=1e-5)
    assert {path.name for path in (out / "real").iterdir()} == {"000.wav", "000.png", "001.wav", "001.png", "dark"}
    assert 'src="real/001.wav"' in (out / "index.html").read_text()
    assert "is not empty" in run(*words).error()

    # The folder stands for the sweep: the same figures, ranked anew, explanations made again from their latents.
    local = ("--model-repository", stack.tiny.repository, "--data", tmp_path)  # where no explainer is
    assert run("sweeps", "show", out, *local, "--json").json() == {**document, "out": None}
    again = tmp_path / "again"
    run("sweeps", "show", out, "-o", again, "--examples", 1, *local, "--json").json()
    for name in ("sweep.csv", "best/000.wav", "median/000.wav", "worst/000.wav"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    assert (again / "worst/000.png").is_file()
    with np.load(again / "best/explanations.npz") as mine, np.load(out / "best/explanations.npz") as theirs:
        for name in ("latents", "spectrograms", "activations", "layer_activations", "best_steps", "settings"):
            np.testing.assert_array_equal(mine[name], theirs[name][:1])
    assert "--criterion: is layer" in run("sweeps", "rank", out, *data).error(), "a folder holds one layer"
    run("reference", "build", "all", "-m", "tiny", music, *data, "--json").json()
    unit = ("-r", "all", "--criterion", "unit", *data, "--json")
    words = ("sweeps", "rank", out, "-o", tmp_path / "other", "--examples", 1, *unit)
    other = run(*words).json()
    live = run("sweeps", "rank", document["sweep"], *unit).json()
    assert [each["batches"] for each in other["rankings"]] == [each["batches"] for each in live["rankings"]]
    assert run("sweeps", "rank", document["sweep"], *data, "--json").json()["rankings"] == document["rankings"]
    assert run("sweeps", "show", tmp_path / "other", "--json").json()["rankings"] == other["rankings"]
    assert json.loads((tmp_path / "other/sweep.json").read_text())["reference"]["version"].endswith("all/versions/1")
    changed = write_tiny_bundle(tmp_path / "changed", seed=1)
    words = ("sweeps", "show", out, "-o", tmp_path / "new", "--model-repository", changed.repository)
    assert (
        f"serves tiny with weights {changed.metadata.weights_sha256[:12]}, sweep {document['sweep']} is of"
        in run(*words).error()
    )
    assert "got 2; the sweep has 1 objectives" in run("sweeps", "rank", out, "-r", "all", "-r", "top", *data).error()
    assert "is for folders" in run("sweeps", "rank", document["sweep"], "-o", tmp_path / "new", *data).error()
    assert "has no sweep.npz" in run("sweeps", "show", out / "best").error()

    shown = run("sweeps", "show", document["sweep"], *data).stdout
    assert "noise floor" in shown
    begun = f"{datetime.fromisoformat(document['create_time']).astimezone():%Y-%m-%d %H:%M}"
    (line,) = (each for each in run("sweeps", "list", *data).stdout.splitlines() if document["sweep"] in each)
    assert re.split(" {2,}", line.strip()) == [
        document["sweep"], "tiny", "maximise fc3[0]", "top", "succeeded", "4 of 4", begun,
    ]  # fmt: skip
    again = run("sweeps", "show", document["sweep"], "-o", out, "--force", "--examples", 1, *data, "--json").json()
    assert again["rankings"] == document["rankings"]
    ranked = run("sweeps", "rank", document["sweep"], *data, "--json").json()
    assert ranked["rankings"] == document["rankings"]
    assert not (out / "real").exists()
    run("sweeps", "show", document["sweep"], "-o", out, "--force", "--examples", 1, *beside, *data, "--json").json()
    assert (out / "real" / "000.wav").is_file()
    refused = run("sweeps", "rank", document["sweep"], "-r", "nothing", *data)
    assert "--reference: references/nothing does not exist; `earwitness reference list` names" in refused.error()
    assert run("sweeps", "show", document["sweep"], *data, "--json").json()["rankings"] == document["rankings"]


def test_left_running_listed_cancelled_and_deleted(run: Run, stack: Served) -> None:
    data = ("--data", stack.data)
    request = ("--request-id", uuid4())
    long = ("sweep", "tiny", "--lr", 0.01, "--steps", 9_000, "-n", 40, "--no-wait", *request, *data, "--json")
    started = run(*long).json()
    assert run(*long).json()["sweep"] == started["sweep"]
    listed = {each["sweep_id"]: each for each in run("sweeps", "list", *data, "--json").json()}
    assert listed[started["sweep"]]["state"] in ("queued", "running")
    assert started["sweep"] in run("sweeps", "list", *data).stdout
    assert "`earwitness sweeps cancel " in run("sweeps", "delete", started["sweep"], *data).error()
    short = run("sweep", "tiny", *GRID, "-n", 2, "--no-wait", *data, "--json").json()["sweep"]
    for each in (short, started["sweep"]):  # the first waits for the second
        assert run("sweeps", "cancel", each, *data, "--json").json()["state"] == "cancelled"
    said = run("sweeps", "watch", started["sweep"], *data).error()
    assert "was cancelled with 0 of 1 results" in said
    assert f"`earwitness sweeps resume {started['sweep']}` resumes it" in said
    resumed = run("sweeps", "resume", started["sweep"], "--no-wait", *data, "--json").json()["sweep"]
    assert run("sweeps", "show", resumed, *data, "--json").json()["resumed_from"] == started["sweep"]
    run("sweeps", "cancel", resumed, *data, "--json").json()
    whole = run("sweeps", "resume", short, *data, "--json").json()
    assert (whole["state"], whole["resumed_from"]) == ("succeeded", short)
    assert all(result["done"] for result in whole["results"])
    assert run("sweeps", "delete", started["sweep"], *data, "--json").json() == {"deleted": started["sweep"]}
    assert "does not exist" in run("sweeps", "show", started["sweep"], *data).error()


def test_several_objectives_in_one_sweep(
    run: Run, stack: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, weights = tmp_path / "out", tmp_path / "weights.json"
    weights.write_text('{"3": 1.0, "0": -0.5}')
    words = (
        "sweep", "tiny", "-l", "fc2", "-u", 1, "--direction", weights, "--direction", "random:2", "--both",
        *GRID, "-n", 1, "-o", out, "--examples", 1, "--data", stack.data,
    )  # fmt: skip
    shown = run(*words)
    assert shown.exit_code == 0, shown.stderr
    assert "minimise fc2[1]" in shown.stdout
    assert "maximise fc2[+1·3 -0.5·0]" in shown.stdout
    names = [f"fc2-{target}-{sense}" for target in ("1", "direction0", "direction1") for sense in SENSES]
    assert shown.stdout.splitlines()[-1] == f"look and listen: {(out / 'index.html').as_uri()}"
    listed = run("sweeps", "list", "--data", stack.data, "--json").json()[0]  # cheap, however long the directions
    assert listed["objective_count"] == len(listed["objectives"]) == 6
    assert [each["objective"]["direction"] for each in listed["objectives"]] == [None] * 2 + [{}] * 4
    monkeypatch.setenv("COLUMNS", "400")  # nothing folds, however long what other tests swept
    line = "maximise fc2[1], minimise fc2[1], maximise fc2[direction], 3 more"
    assert line in run("sweeps", "list", "--data", stack.data).stdout
    assert {path.name for path in out.iterdir()} == {*names, "index.html", "objectives.json", "sweep.npz"}
    assert (out / "fc2-1-minimise" / "strongest" / "000.png").is_file()
    document = json.loads((out / "objectives.json").read_text())
    assert list(document) == names
    drawn = document["fc2-direction1-maximise"]["objective"]["direction"]
    unit_count = 5
    assert len(drawn) == unit_count
    assert sum(weight**2 for weight in drawn.values()) == pytest.approx(1)
    assert "is not empty" in run(*words).error()

    # One direction of the sweep, searched alone.
    alone = run(
        "explain", "tiny", "-l", "fc2", "--direction", weights, "-n", 1, "--lr", 0.1, "--prior", 0.01, "--steps", 40,
        "--data", stack.data, "--json",
    ).json()  # fmt: skip
    swept = json.loads((out / "fc2-direction0-maximise" / "sweep.json").read_text())
    (same,) = (each for each in swept["outcomes"] if each["settings"] == alone["rows"][0]["settings"])
    assert same["activations"][0] == pytest.approx(alone["rows"][0]["activation"], rel=1e-5)


def test_a_reference_for_each_sense(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    for name in ("top", "bottom"):
        run("reference", "build", f"{name}s", "-m", "tiny", f"--{name}", 10, music, *data, "--json").json()
    out = tmp_path / "out"
    words = ("sweep", "tiny", "--both", *GRID, "-n", 3, "-r", "tops", "-r", "bottoms", "-o", out, "--examples", 1)
    swept = run(*words, *data, "--json").json()
    versions = [each["reference_version"] for each in swept["rankings"]]
    assert versions == ["tops/versions/1", "bottoms/versions/1"]
    page = (out / "index.html").read_text()
    for index, sense in enumerate(SENSES):
        chosen = json.loads((out / "objectives.json").read_text())[f"fc3-0-{sense}"]
        first = swept["rankings"][index]["batches"][0]
        assert chosen["best"]["score"]["distance"] == first["score"]["distance"]
        assert chosen["best"]["settings"] == swept["results"][int(first["id"])]["settings"]
        assert f'href="fc3-0-{sense}/index.html"' in page

    # References that do not fit are refused before anything runs.
    before = run("sweeps", "list", *data, "--json").json()
    for words, said in (
        (("-u", 1, "-r", "tops"), "--reference: references/tops holds the top of unit 0, the objective is"),
        (("--minimise", "-r", "tops"), "to minimise unit 0; name a reference of its bottom, or one of all excerpts"),
        (("--both", "-r", "tops"), "--reference: references/tops holds the top of unit 0"),
        (("-l", "fc2", "-r", "tops"), "references/tops is of fc3 of models/tiny"),
        (("-r", "tops/versions/2"), "references/tops has references/tops/versions/1"),
    ):
        assert said in run("sweep", "tiny", *GRID, "-n", 3, *words, *data).error()
    assert run("sweeps", "list", *data, "--json").json() == before


def test_a_reference_that_selects_more_than_there_is(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    build = ("reference", "build", "many", "-m", "tiny", "--top", 40, *data)
    assert "a version needs at least 40 to select its top 40 from" in run(*build, music).error()
    rows = run("reference", "show", "many", *data, "--json").json()
    assert rows["versions"] == []
    assert 2 <= rows["row_count"] < 40
    assert "has no version yet" in run("sweep", "tiny", *GRID, "-n", 3, "-r", "many", *data).error()
    more = write_recording(tmp_path / "more.wav", 20, 7)
    built = run(*build, more, "--json").json()
    assert built["version"]["selected_count"] == 40
    assert built["version"]["row_count"] > rows["row_count"]


def test_open_ranges_and_a_study_that_goes_on(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    run("reference", "build", "open", "-m", "tiny", "--top", 10, music, *data, "--json").json()
    out = tmp_path / "out"
    words = (
        "sweep", "tiny", "--lr", "1e-3..1", "--prior", 0.01, "--steps", "5..40", "-n", 4, "-r", "open", "--batch", 2,
        "--examples", 1, "-o", out, "--recordings", music, "--model-repository", stack.tiny.repository, *data,
    )  # fmt: skip
    first = run(*words, "--trials", 3, "--json").json()
    assert (first["trials"], len(first["sweeps"]), first["reference_version"]) == (3, 2, "open/versions/1")
    ranks = [each["ranked"]["rank"] for each in first["results"]]
    assert ranks == list(range(1, len(ranks) + 1))
    assert sum(each["ranked"]["probability_best"] for each in first["results"]) == pytest.approx(1)
    # As a sweep of the best setting alone finds it.
    best = first["results"][0]["settings"]
    alone = run(
        "explain", "tiny", "-n", 4, "--lr", best["learning_rate"], "--prior", best["prior_weight"],
        "--steps", best["steps"], "-r", "open", *data, "--json",
    ).json()  # fmt: skip
    assert alone["score"]["distance"] == pytest.approx(first["results"][0]["ranked"]["score"]["distance"], rel=1e-3)

    shown = run(*words, "--trials", 5)  # the same command, more trials
    assert shown.exit_code == 0, shown.stderr
    assert "5 trials in 3 sweeps" in shown.stdout
    assert {"study.log", "sweep.csv", "best", "worst", "real", "index.html"} <= {path.name for path in out.iterdir()}
    assert "5 trials in 3 sweeps" in (out / "index.html").read_text()
    saved = run("sweeps", "show", out, "--json").json()
    ranked = run("sweeps", "rank", out, *data, "--json").json()["rankings"]
    assert ranked == saved["rankings"]
    assert (
        saved["rankings"][0]["batches"][0]["score"]["distance"]
        == json.loads((out / "sweep.json").read_text())["outcomes"][0]["score"]["distance"]
    )
    again = run(*words, "--trials", 5, "--json").json()
    assert again["sweeps"][:2] == first["sweeps"]
    assert len(again["results"]) >= len(first["results"]) + 2
    assert "another --lr" in run(*(word if word != "1e-3..1" else "1e-2..1" for word in words)).error()
    anew = run(*words, "--trials", 2, "--force", "--json").json()
    assert anew["trials"] == 2
    assert not set(anew["sweeps"]) & set(again["sweeps"])


def test_a_batch_that_is_refused_leaves_the_study_as_it_was(
    run: Run, stack: Served, music: Path, tmp_path: Path
) -> None:
    data = ("--data", stack.data)
    run("reference", "build", "refused", "-m", "tiny", "--top", 10, music, *data, "--json").json()
    words = ("sweep", "tiny", "--lr", "1e-3..1", "--steps", "1..2", "-n", 4000, "-r", "refused", "-o", tmp_path / "out")
    assert "a sweep has at most 50000" in run(*words, "--trials", 10, "--batch", 10, *data).error()
    assert run(*words, "--trials", 1, "--batch", 1, *data, "--json").json()["trials"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lr", "1..0.1", "-r", "x"), "error: --lr: got 1..0.1; a range goes up"),
        (("--prior", "0..1", "-r", "x"), "error: --prior: got 0..1"),
        (("--steps", "nan..9", "-r", "x"), "steps: got nan..9"),
        (("--steps", "5..50"), "reference: got 0; where a setting is a range"),
        (("--steps", "5..50", "-r", "nothing"), "references/nothing does not exist"),
        (("--steps", "5..50", "--steps", 9, "-r", "x"), "steps: got 5..50, 9; where one setting is a range"),
        (("--steps", "5..50", "--both", "-r", "x"), "unit: got 2 objectives"),
        (("--steps", "5..50", "-r", "x", "--no-wait"), "neither --no-wait nor --request-id"),
        (("--steps", "5..50", "-r", "x", "-n", 1), "seeds: got 1"),
        (("--steps", "5..50", "-r", "x", "--trials", 400), "trials: got 400, 5 settings each"),
        (("--steps", "5..50", "-r", "x", "--optimiser", "both"), "one optimiser at a time"),
    ],
)
def test_ranges_that_cannot_be_searched_are_refused(
    run: Run, stack: Served, words: tuple[object, ...], said: str
) -> None:
    assert said in run("sweep", "tiny", *words, "--data", stack.data).error()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "paper", "--lr", 0.1), "either --grid paper or values of your own"),
        (("--lr", "nan"), "error: --lr: got nan"),
        (("--lr", -1), "error: --lr: got -1"),
        (("-u", 2), "layer 'fc3' has units 0 to 1"),
        (("-r", "nothing"), "references/nothing does not exist"),
        (("-u", 0, "-u", 1, "-r", "a", "-r", "b", "-r", "c"), "got 3 for 2 objectives; give one, or one for each: max"),
        (("--both", "--minimise"), "one of --maximise, --minimise and --both"),
        (("--direction", "random:x"), "random:SEED with a whole number"),
        (("--direction", "nowhere.json"), "nowhere.json: No such file"),
        (("-u", 0, "-u", 0), "repeats"),
        (("--request-id", "x"), "UUID of version 4"),
        (("--no-wait", "-o", "out/new"), "out: is written when the sweep is over; after --no-wait, `sweeps show ID"),
        (("--recordings", "."), "played by the page of --out"),
        (("--recordings", "nowhere", "-o", "out/new"), "nowhere does not exist"),
        (tuple(word for rate in range(1, 32) for word in ("--lr", rate / 100, "--prior", rate / 100, "--steps", rate)),
         "29791 settings; a sweep has at most 1000"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(run: Run, stack: Served, words: tuple[object, ...], said: str) -> None:
    assert said in run("sweep", "tiny", *words, "--data", stack.data).error()
