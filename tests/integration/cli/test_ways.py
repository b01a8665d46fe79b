"""Ways to search, targets, nearest rows and recommendations, from commands against real services."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, served, write_recording

KEPT_ROWS = 12


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of which references are built."""
    folder = tmp_path_factory.mktemp("music")
    for seed in range(4):
        write_recording(folder / f"{seed}.wav", 12, seed)
    return folder


@pytest.fixture
def references(run: Run, stack: Served, music: Path) -> None:
    """`top`, `bottom` and `all`, of unit 0 of the output."""
    for name, selection in (("top", ("--top", KEPT_ROWS)), ("bottom", ("--bottom", KEPT_ROWS)), ("all", ())):
        build = ("reference", "build", name, music, "-m", "tiny", *selection, "--data", stack.data)
        assert run(*build).exit_code == 0


def test_draws_keep_the_nearest(run: Run, stack: Served, references: None, tmp_path: Path) -> None:
    out, data = tmp_path / "out", ("--data", stack.data)
    explain = ("explain", "tiny", "--draws", 200, "-n", 3, "--oversample", 4, "-r", "top", *data)
    document = run(*explain, "-o", out, "--json").json()
    summary = document["summary"]
    assert (len(document["rows"]), summary["searched_count"], summary["evaluation_count"]) == (3, 12, 200)
    assert all(row["settings"]["optimiser"] == "draws" for row in document["rows"])
    assert all(row["nearness"] >= 1 for row in document["rows"])
    assert json.loads((out / "request.json").read_text())["rows"][0]["settings"]["draws"] == 200
    page = (out / "index.html").read_text()
    assert "kept 3 of 12" in page
    assert not (out / "start").exists()  # a draw is where it began
    shown = run(*explain).stdout
    assert "200 draws; kept 3 of 12; 200 evaluations" in " ".join(shown.split())


def test_explanations_that_differ_are_kept(run: Run, stack: Served, references: None) -> None:
    """Of the same rows: the nearest one is kept in any case, and others where being unlike it counts."""
    explain = (
        "explain",
        "tiny",
        "--draws",
        200,
        "-n",
        3,
        "--oversample",
        8,
        "-r",
        "top",
        "--data",
        stack.data,
        "--json",
    )
    near, apart = (run(*explain, "--diversity", weight).json()["rows"] for weight in (0, 1))
    assert min(row["nearness"] for row in near) == min(row["nearness"] for row in apart)
    assert sum(row["nearness"] for row in near) < sum(row["nearness"] for row in apart)
    words = ("explain", "tiny", "--diversity", 0.5, "-r", "top", "--data", stack.data)
    assert "--diversity: says which of more rows are kept; give --oversample" in run(*words).error()


def test_without_settings_rows_go_to_real_activations(
    run: Run, stack: Served, references: None, tmp_path: Path
) -> None:
    out, data = tmp_path / "out", ("--data", stack.data)
    for name, sense in (("top", "--maximise"), ("bottom", "--minimise")):
        document = run("explain", "tiny", sense, "-n", 6, "-r", name, "-o", out, "--force", *data, "--json").json()
        settings = {json.dumps(row["settings"]) for row in document["rows"]}
        assert [json.loads(each)["optimiser"] for each in settings] == ["normalised"]
        score, targets = document["score"], [row["target"] for row in document["rows"]]
        assert len(set(targets)) == 6
        low, high = score["reference_unit_minimum"], score["reference_unit_maximum"]
        assert all(low - 1e-4 <= target <= high + 1e-4 for target in targets)
        missed = sum(not row["reached_target"] for row in document["rows"])
        assert document["summary"]["missed_count"] == missed
        for row in document["rows"]:
            if row["reached_target"]:
                beyond = row["activation"] - row["target"]
                assert beyond >= -1e-4 if name == "top" else beyond <= 1e-4
        with np.load(out / "explanations.npz") as arrays:
            found = arrays["activations"]
        assert "best of 8 draws" in (out / "index.html").read_text()
        starts = len(list((out / "start").glob("*.wav")))
        assert starts == len(found)


def test_a_target_out_of_reach_is_told_and_the_best_kept(run: Run, stack: Served) -> None:
    far = ("explain", "tiny", "--optimiser", "normalised", "--target", 1000, "--steps", 20, "-n", 3)
    document = run(*far, "--data", stack.data, "--json").json()
    assert document["summary"]["missed_count"] == 3
    assert document["summary"]["evaluation_count"] == 3 * 21
    assert not any(row["reached_target"] for row in document["rows"])
    assert all(0 < row["best_step"] <= 20 for row in document["rows"])
    shown = " ".join(run(*far, "--data", stack.data).stdout.split())
    assert "3 of 3 rows did not reach their target, they hold the nearest iterate; another --target" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "high"), "--target: got 'high'; give an activation, 5, a range 4:7"),
        (("--target", "q0:1"), "--target: needs a reference"),
        (("--target", "q0:1", "-r", "all"), "--target: all holds all excerpts and keeps none of them"),
        (("--oversample", 2), "--oversample: needs a reference"),
        (("--oversample", 2, "-r", "all"), "--oversample: all holds all excerpts"),
        (("--oversample", 2, "-r", "top", "--nearness-layers", "conv9"), "--nearness-layers: got conv9; top keeps"),
        (("--draws", 100, "--steps", 5), "--steps: got 5, but draws from the prior take no steps"),
        (("--draws", 10**9), "--draws: got"),
        (("--draws", 1), "--draws: got 1"),
        (("--start-draws", 65), "--start-draws: got 65; it must be 1 to 64"),
        (("--optimiser", "walk", "--prior", 0.1), "--prior: got 0.1 for walk"),
        (("--optimiser", "walk", "--lr", 2), "--lr: got 2"),
        (("--oversample", 100, "-r", "top"), "--count: got 800 rows; a search has 1 to 256"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    run: Run, stack: Served, references: None, tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    out = tmp_path / "out"
    refused = run("explain", "tiny", *options, "-o", out, "--data", stack.data).error()
    assert said in refused
    assert not out.exists()


def test_a_bad_verdict_is_followed_by_a_command(run: Run, stack: Served, references: None) -> None:
    far = ("explain", "tiny", "--optimiser", "adam", "--steps", 300, "--lr", 0.5, "--prior", 0, "-n", 4, "-r", "top")
    shown = " ".join(run(*far, "--data", stack.data).stdout.split())
    assert "These rows took a fixed number of steps" in shown
    assert "`earwitness explain tiny --unit 0 --maximise -n 4 --reference top --optimiser normalised" in shown


def test_recommend_writes_what_explain_then_uses(run: Run, music: Path, tmp_path: Path) -> None:
    with served(tmp_path) as first:
        data, models = ("--data", first.data), first.tiny.repository
        for name, selection in (("top", "--top"), ("bottom", "--bottom")):
            assert run("reference", "build", name, music, "-m", "tiny", selection, KEPT_ROWS, *data).exit_code == 0
        before = {path: path.read_text() for path in models.glob("*/config.pbtxt")}
        recommend = ("recommend", "tiny", "-r", "top", "-r", "bottom", "-n", 6, *data)
        shown = run(*recommend).stdout
        assert "mean place" in shown
        assert "* recommended: " in shown
        assert "nothing was written" in shown
        assert {path: path.read_text() for path in before} == before
        document = run(*recommend, "--write", "--json").json()
        assert document["written"] == str(models)
        found = [each["recommendation"] for each in document["recommendations"]]
        assert [each["objective"]["sense"] for each in found] == ["maximise", "minimise"]
        assert all(path.read_text() != text for path, text in before.items())
        tried = document["recommendations"][0]["ways"]
        assert tried[0]["name"] == "published"
        assert all(each["score"]["row_count"] == 6 for each in tried)
        assert "holds all excerpts" in run("recommend", "tiny", "-r", _all(run, first, music), *data).error()
        other = run("recommend", "tiny", "-r", "top", "--write", "--model-repository", tmp_path / "no", *data).error()
        assert "no is not a folder" in other
    with served(tmp_path / "again", models) as second:
        data = ("--data", second.data)
        listed = run("models", *data).stdout
        assert "recommended for" in listed
        (model,) = run("models", *data, "--json").json()
        assert [each["objective"] for each in model["recommendations"]] == [each["objective"] for each in found]
        assert model["weights_sha256"] == first.tiny.metadata.weights_sha256
        rows = run("explain", "tiny", "-n", 2, *data, "--json").json()["rows"]
        wanted = {name: value for name, value in found[0]["settings"].items() if value is not None}
        assert {name: rows[0]["settings"][name] for name in wanted} == wanted


def _all(run: Run, stack: Served, music: Path) -> str:
    assert run("reference", "build", "all", music, "-m", "tiny", "--data", stack.data).exit_code == 0
    return "all"


def test_a_sweep_of_ways_is_ranked_and_read_again(run: Run, stack: Served, references: None, tmp_path: Path) -> None:
    out, data = tmp_path / "out", ("--data", stack.data)
    ways = ("--optimiser", "adam", "--optimiser", "normalised", "--optimiser", "walk", "--target", "q0:1")
    sweep = ("sweep", "tiny", *ways, "--steps", 20, "-n", 4, "-r", "top", "--examples", 2, "-o", out, *data)
    document = run(*sweep, "--json").json()
    found = [(each["settings"]["optimiser"], each["settings"]["target"]) for each in document["results"]]
    whole = {"low": 0.0, "high": 1.0, "quantile": True}
    assert found == [("adam", whole), ("normalised", whole), ("walk", whole)]
    assert [len(each["activations"]) for each in document["results"]] == [4, 4, 4]
    (ranking,) = document["rankings"]
    assert sorted(int(each["id"]) for each in ranking["batches"]) == [0, 1, 2]
    assert "normalised, to quantiles 0 to 1 of the reference" in (out / "index.html").read_text()
    shown = " ".join(run("sweeps", "show", out).stdout.split())
    assert "walk, to quantiles 0 to 1 of the reference" in shown
    said = run(*sweep, "--force", "--criterion", "pool3").error()
    assert "--criterion: got 'pool3'; there is no criterion 'pool3': give one of unit" in said
    assert "--keep: is for sweeps that the explainer holds" in run("sweeps", "rank", out, "--keep", 2, *data).error()
