"""`earwitness sweep` and `earwitness sweeps` against real services: ranked by the real scorer, written, found again."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, write_recording

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
    words = ("sweep", "tiny", *GRID, "-n", 6, "--seed", 3, "-r", "top", "-o", out, "--examples", 2, *data)
    document = run(*words, "--json").json()
    assert document["state"] == "succeeded"
    assert document["seeds"] == [3, 4, 5, 6, 7, 8]
    assert [each["settings"]["steps"] for each in document["results"]] == [5, 40, 5, 40]
    (ranking,) = document["rankings"]
    assert ranking["error"] == ""
    assert [each["rank"] for each in ranking["batches"]] == [1, 2, 3, 4]
    distances = [each["score"]["distance"] for each in ranking["batches"]]
    assert distances == sorted(distances)
    assert ranking["batches"][0]["score"]["dimension_count"] == 1
    assert sum(each["probability_best"] for each in ranking["batches"]) == pytest.approx(1)

    # The same figures as from a search of the best setting alone and a score of its folder.
    best = document["results"][int(ranking["batches"][0]["id"])]["settings"]
    alone = run(
        "explain", "tiny", "-n", 6, "--seed", 3, "--lr", best["learning_rate"], "--prior", best["prior_weight"],
        "--steps", best["steps"], "-r", "top", "--unit-only", *data, "--json",
    ).json()  # fmt: skip
    assert alone["score"]["distance"] == pytest.approx(distances[0], rel=1e-3)

    written = json.loads((out / "sweep.json").read_text())
    assert written["reference"]["version"].endswith("top/versions/1")
    assert len((out / "sweep.csv").read_text().splitlines()) == 5
    assert {"best", "median", "worst"} <= {path.name for path in out.iterdir() if path.is_dir()}
    assert (out / "best" / "000.wav").is_file()
    assert "is not empty" in run(*words).error()

    shown = run("sweeps", "show", document["sweep"], *data).stdout
    assert "noise floor" in shown
    again = run("sweeps", "show", document["sweep"], "-o", out, "--force", "--examples", 1, *data, "--json").json()
    assert again["rankings"] == document["rankings"]
    ranked = run("sweeps", "rank", document["sweep"], *data, "--json").json()
    assert ranked["rankings"] == document["rankings"]
    lost = run("sweeps", "rank", document["sweep"], "-r", "nothing", *data)
    assert "not ranked: " in lost.stderr
    assert "references/nothing does not exist" in lost.stderr


def test_left_running_listed_cancelled_and_deleted(run: Run, stack: Served) -> None:
    data = ("--data", stack.data)
    request = ("--request-id", uuid4())
    long = ("sweep", "tiny", "--lr", 0.01, "--steps", 9_000, "-n", 40, "--no-wait", *request, *data, "--json")
    started = run(*long).json()
    assert run(*long).json()["sweep"] == started["sweep"]
    listed = {each["sweep_id"]: each for each in run("sweeps", "list", *data, "--json").json()}
    assert listed[started["sweep"]]["state"] in ("queued", "running")
    assert started["sweep"] in run("sweeps", "list", *data).stdout
    assert "cancel operations/" in run("sweeps", "delete", started["sweep"], *data).error()
    assert run("sweeps", "cancel", started["sweep"], *data, "--json").json()["state"] == "cancelled"
    assert "was cancelled with 0 of 1 results" in run("sweeps", "watch", started["sweep"], *data).error()
    assert run("sweeps", "delete", started["sweep"], *data, "--json").json() == {"deleted": started["sweep"]}
    assert "does not exist" in run("sweeps", "show", started["sweep"], *data).error()


def test_several_units_without_reference(run: Run, stack: Served, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("sweep", "tiny", "-l", "fc2", "-u", 1, "-u", 4, "--minimise", *GRID, "-n", 1, "-o", out, "--examples", 1)
    shown = run(*words, "--data", stack.data)
    assert shown.exit_code == 0, shown.stderr
    assert "minimise fc2[1]" in shown.stdout
    assert "minimise fc2[4]" in shown.stdout
    assert {path.name for path in out.iterdir()} == {"fc2-1-minimise", "fc2-4-minimise"}
    assert (out / "fc2-4-minimise" / "strongest" / "000.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "paper", "--lr", 0.1), "either --grid paper or values of your own"),
        (("--lr", -1), "sweep.grid.learning_rates[0]: got -1"),
        (("-u", 2), "layer 'fc3' has units 0 to 1"),
        (("-r", "nothing"), "references/nothing does not exist"),
        (("-u", 0, "-u", 1, "-r", "a", "-r", "b", "-r", "c"), "got 3 for 2 units"),
        (("--request-id", "x"), "UUID of version 4"),
        (tuple(word for rate in range(1, 32) for word in ("--lr", rate / 100, "--prior", rate / 100, "--steps", rate)),
         "29791 settings; a sweep has at most 1000"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(run: Run, stack: Served, words: tuple[object, ...], said: str) -> None:
    assert said in run("sweep", "tiny", *words, "--data", stack.data).error()
