"""Commands against real services: results, JSON, and one clear line for whatever goes wrong."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.client.output.words import number
from earwitness.features import write_wav
from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, served, write_recording


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of two recordings."""
    for seed in range(2):
        write_recording(tmp_path / f"music/{seed}.wav", 8, seed)
    return tmp_path / "music"


def test_models(run: Run, stack: Served) -> None:
    shown = run("models", "--data", stack.data)
    assert shown.exit_code == 0
    first = shown.stdout.splitlines()[0]
    assert first == "tiny tells vocal from non-vocal, and bright from dark in 0.17 s of sound at 8000 Hz"
    assert "log-mel-8-test@1, 8 bands × " in shown.stdout
    assert "fc3[0]: maximise for vocal, minimise for non-vocal" in shown.stdout
    (model,) = run("models", "--explainer", stack.explainer, "--json").json()
    assert [layer["name"] for layer in model["layers"]] == ["conv1", "fc2", "fc3"]


def test_reference_explain_and_score(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    top = ("reference", "build", "top", "-m", "tiny", "--top", 10, music, *data)
    built = run(*top, "--description", "noise & hum", "--json").json()
    assert built["version"]["selected_count"] == 10
    assert built["reference"]["selection"] == {"kind": "top", "unit": 0, "k": 10}
    assert "0 recordings added, 2 were there" in run(*top).stdout

    out = tmp_path / "out"
    explain = ("explain", "tiny", "-n", 3, "--steps", 10, "--seed", 5, "-r", "top", "-o", out, *data)
    document = run(*explain, "--json").json()
    assert [row["seed"] for row in document["rows"]] == [5, 6, 7]
    assert document["objective"] == {"layer": "fc3", "unit": 0, "sense": "maximise", "direction": None}
    assert document["score"]["row_count"] == 3
    assert document["score"]["reference"] == "references/top/versions/1"
    assert document["page"] == str(out / "index.html")
    assert {path.name for path in out.iterdir()} == {
        "explanations.npz", "trajectory.csv", "request.json", "score.json", "index.html", "dark", "start",
        *(f"{row:03d}.{suffix}" for row in range(3) for suffix in ("wav", "png")),
    }  # fmt: skip
    page = (out / "index.html").read_text()
    assert all(f"{row:03d}.{suffix}" in page for row in range(3) for suffix in ("wav", "png"))

    assert "is not empty" in run(*explain).error()
    shown = run(*explain, "--force")
    assert "maximise fc3[0]" in shown.stdout
    assert "FID" in shown.stdout
    assert (out / "index.html").as_uri() in shown.stdout

    for words, score in (((), ("-u", 0)), (("--whole-layer",), ())):
        found = run(*explain, "--force", *words, "--json").json()["score"]
        assert found["dimension_count"] == (1 if score else 2)
        assert run("score", out, "-r", "top", *score, *data, "--json").json()["distance"] == pytest.approx(
            found["distance"]
        )
    assert "noise floor" in run("score", out / "explanations.npz", "-r", "top/versions/1", "-u", 1, *data).stdout


def test_the_page_plays_real_audio_and_where_searches_began(
    run: Run, stack: Served, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    beside = ("--recordings", music, "--model-repository", stack.tiny.repository)
    explain = ("explain", "tiny", "-n", 10, "--steps", 30, "-o", out, *beside, "--data", stack.data)
    assert run(*explain).exit_code == 0
    page = (out / "index.html").read_text()
    starts, real = (sorted(path.name for path in (out / name).glob("*.wav")) for name in ("start", "real"))
    assert starts == [f"{row:03d}.wav" for row in range(8)]
    assert 1 <= len(real) <= 8
    for name in (*(f"start/{each}" for each in starts), *(f"real/{each}" for each in real)):
        assert f'src="{name}"' in page
    rows = csv.DictReader((out / "trajectory.csv").read_text().splitlines())
    first = [float(row["activation"]) for row in rows if row["step"] == "0"][:8]
    told = re.findall(r'Spectrogram of the first latent of explanation \d+, activation ([^"]+)"', page)
    assert told == [number(each) for each in first]
    loudness = []
    for path in (out / "000.wav", out / "start/000.wav", out / "real/000.wav"):
        waveform, _ = soundfile.read(path)
        loudness.append(10 * np.log10(np.mean(waveform**2)))
    assert loudness == pytest.approx([-23] * 3, abs=0.1)
    assert "are played by the page of --out" in run("explain", "tiny", *beside, "--data", stack.data).error()


def test_minimised_batch_without_folder(run: Run, stack: Served) -> None:
    explain = ("explain", "tiny", "-l", "fc2", "-u", 4, "--minimise", "-n", 2, "--steps", 5, "--optimiser", "sgd")
    document = run(*explain, "--lr", 0.1, "--weight-decay", 0.01, "--data", stack.data, "--json").json()
    assert document["objective"]["sense"] == "minimise"
    assert document["rows"][0]["settings"] == {
        "optimiser": "sgd", "learning_rate": 0.1, "prior_weight": 0.0, "steps": 5, "weight_decay": 0.01,
        "target": None, "start_draws": None, "draws": None,
    }  # fmt: skip
    assert (document["page"], document["score"]) == (None, None)


def test_both_senses_side_by_side(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data, out = ("--data", stack.data), tmp_path / "both"
    for name, *words in (("both-top", "--top", 10), ("both-bottom", "--bottom", 10)):
        assert run("reference", "build", name, "-m", "tiny", *words, music, *data).exit_code == 0
    explain = ("explain", "tiny", "--both", "-n", 3, "--steps", 5, "-o", out, *data)
    asked = (*explain, "-r", "both-bottom", "-r", "both-top", "--recordings", music)
    document = run(*asked, "--model-repository", stack.tiny.repository, "--json").json()
    up, down = document["runs"]
    assert (up["objective"]["sense"], up["score"]["reference"]) == ("maximise", "references/both-top/versions/1")
    assert (down["objective"]["sense"], down["score"]["reference"]) == ("minimise", "references/both-bottom/versions/1")
    for lower, higher in zip(down["rows"], up["rows"], strict=True):  # of one seed
        assert lower["activation"] < higher["activation"]
    assert document["page"] == str(out / "index.html")
    page = (out / "index.html").read_text()
    assert all(f"{sense}/{row:03d}.wav" in page for sense in ("maximise", "minimise") for row in range(3))
    for each in (up, down):
        sense = each["objective"]["sense"]
        alone = run("explain", "tiny", f"--{sense}", "-n", 3, "--steps", 5, *data, "--json").json()
        assert [row["activation"] for row in alone["rows"]] == [row["activation"] for row in each["rows"]]
        assert (out / sense / "score.json").is_file()
        assert len(list((out / sense / "real").glob("*.wav"))) > 0
    assert "is not empty" in run(*explain).error()
    assert run(*explain, "--force").exit_code == 0
    refused = run(*explain, "--force", "-r", "both-top").error()
    assert "both-top holds the top-10 of unit 0, the objective is to minimise unit 0" in refused
    assert (
        "got 2; give one, or with --both one for each sense"
        in run("explain", "tiny", "-r", "both-top", "-r", "both-bottom", *data).error()
    )


def test_rows_that_diverge_are_told(run: Run, stack: Served, tmp_path: Path) -> None:
    """Plain steps with a prior this heavy overshoot the origin further each time."""
    out, data = tmp_path / "out", ("--data", stack.data)
    wild = ("--optimiser", "sgd", "--lr", 10, "--prior", 1000, "--steps", 200, "-n", 2)
    explained = run("explain", "tiny", *wild, "-o", out, *data)
    assert "2 of 2 rows diverged, they hold their best before that" in explained.stderr
    page = (out / "index.html").read_text()
    with np.load(out / "explanations.npz") as arrays:
        steps = arrays["diverged_steps"].tolist()
    assert all(0 < step < 200 for step in steps)
    assert all(f"diverged at step {step}" in page for step in steps)

    swept = run("sweep", "tiny", *wild, "--examples", 2, "-o", tmp_path / "swept", *data, "--json").json()
    assert swept["results"][0]["diverged_steps"] == steps
    (row,) = csv.DictReader((tmp_path / "swept/sweep.csv").read_text().splitlines())
    assert row["diverged_count"] == "2"
    assert "2 diverged" in (tmp_path / "swept/index.html").read_text()
    calm = run("explain", "tiny", "-n", 2, "--steps", 5, *data)
    assert "diverged" not in calm.stderr


def test_references_are_listed_shown_and_deleted(run: Run, stack: Served, tmp_path: Path) -> None:
    scorer = ("--scorer", stack.scorer)
    rows = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    build = ("reference", "build", "rows", "-m", "tiny", "-l", "fc2", "--activations", tmp_path / "rows.npy", *scorer)
    assert run(*build, "--model-repository", stack.tiny.repository).exit_code == 0
    listed = {each["name"]: each for each in run("reference", "list", *scorer, "--json").json()}
    assert listed["rows"]["row_count"] == 30
    assert "rows" in run("reference", "list", "-m", "tiny", *scorer).stdout
    shown = run("reference", "show", "rows", *scorer)
    assert "fc2 (5 units) of tiny" in shown.stdout
    assert "references/rows/versions/1" in shown.stdout
    assert run("reference", "show", "rows", *scorer, "--json").json()["shard_count"] == 1
    score = run("score", tmp_path / "rows.npy", "-r", "rows", *scorer, "--json").json()
    assert score["distance"] == pytest.approx(0, abs=1e-5)
    assert run("reference", "delete", "rows", *scorer, "--json").json() == {"deleted": "rows"}
    assert "references/rows does not exist" in run("reference", "show", "rows", *scorer).error()


@pytest.mark.parametrize("selected", [(), ("--unit", 1, "--top", 20)], ids=["all", "top"])
def test_a_reference_goes_to_another_scorer_as_a_file(
    run: Run, stack: Served, tmp_path: Path, selected: tuple[object, ...]
) -> None:
    data = ("--data", stack.data)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32))
    np.save(tmp_path / "more.npy", np.random.default_rng(1).standard_normal((9, 5)).astype(np.float32))
    batch = tmp_path / "batch.npy"
    np.save(batch, np.random.default_rng(2).standard_normal((12, 5)).astype(np.float32))
    for rows in ("rows", "more"):
        made = ("--activations", tmp_path / f"{rows}.npy", "--description", "songs", *selected, *data)
        assert run("reference", "build", "origin", "-m", "tiny", "-l", "fc2", *made).exit_code == 0
    file = tmp_path / "deep/origin.npz"
    export = ("reference", "export", "origin", file, *data)
    assert f"{file}: {20 if selected else 69} of 69 excerpts" in run(*export).stdout
    assert "replace it with --force" in run(*export).error()
    about = run(*export, "--force", "--version", 1, "--json").json()
    assert (about["file"], about["version"]["name"]) == (str(file), "references/origin/versions/1")
    assert (about["version"]["row_count"], about["identity"]["layer"], about["description"]) == (60, "fc2", "songs")
    assert [each.name for each in file.parent.iterdir()] == [file.name]

    def scored(at: Path, reference: str) -> dict[str, object]:
        score = run("score", batch, "-r", reference, "--data", at, "--json").json()
        return {name: value for name, value in score.items() if name != "reference"}

    with served(tmp_path / "elsewhere") as there:
        bring = ("reference", "import", "theirs", file, "--data", there.data)
        summary = f"of 60 excerpts ({'top-20 of unit 1' if selected else 'all'}) of fc2 of tiny"
        assert f"{summary}; added" in run(*bring).stdout
        assert f"{summary}; was there" in run(*bring).stdout
        again = run(*bring, "--json").json()
        assert (again["added"], again["version"]["name"]) == (False, "references/theirs/versions/1")
        assert (again["reference"]["row_count"], again["reference"]["description"]) == (60, "songs")
        assert scored(there.data, "theirs") == scored(stack.data, "origin/versions/1")
        worded = ("--description", "other", "--json")
        assert "not made so; choose another name" in run(*bring, *worded).error()
        other = run("reference", "import", "other", file, "--data", there.data, *worded).json()
        assert (other["added"], other["reference"]["description"]) == (True, "other")
    # Where it came from it is neither made again nor counted twice.
    assert "not made so; choose another name" in run("reference", "import", "origin", file, *data).error()
    assert run("reference", "show", "origin", *data, "--json").json()["row_count"] == 69
    assert run("reference", "delete", "origin", *data).exit_code == 0


def test_top_excerpts_keep_all_layers_or_those_named(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    build = ("reference", "build", "kept", "-m", "tiny", "--top", 10, music, *data)
    assert "of fc3 of tiny, which hold conv1, fc2, fc3; 2 recordings added" in run(*build).stdout
    assert "0 recordings added, 2 were there" in run(*build, "--keep-layers", "all").stdout
    shown = run("reference", "show", "kept", *data)
    assert "rows hold conv1, fc2, fc3: 10 units" in shown.stdout
    assert "3 layers" in next(
        line for line in run("reference", "list", *data).stdout.splitlines() if line.startswith("kept ")
    )
    document = run("reference", "show", "kept", *data, "--json").json()
    assert [each["name"] for each in document["kept_layers"]] == ["conv1", "fc2", "fc3"]
    refused = run(*build, "--keep-layers", "none").error()
    assert "reference kept keeps conv1, fc2, fc3, not fc3 alone; choose another name, or delete" in refused
    unknown = ("reference", "build", "new", "-m", "tiny", "--top", 10, music, "--keep-layers", "fc2, pool9", *data)
    assert "--keep-layers: got pool9; tiny has conv1, fc2, fc3" in run(*unknown).error()
    few = ("reference", "build", "few", "-m", "tiny", "--bottom", 10, music, "--keep-layers", "fc2", *data)
    assert "which hold fc2, fc3;" in run(*few).stdout
    whole = ("reference", "build", "whole", "-m", "tiny", music, *data)
    assert "which hold" not in run(*whole).stdout
    np.save(tmp_path / "rows.npy", np.zeros((9, 2), np.float32))
    arrays = ("reference", "build", "arrays", "-m", "tiny", "--activations", tmp_path / "rows.npy", *data)
    assert "--activations hold one layer: give audio" in run(*arrays, "--keep-layers", "all").error()

    file, out = tmp_path / "kept.npz", tmp_path / "out"
    assert "which hold conv1, fc2, fc3" in run("reference", "export", "kept", file, *data).stdout
    assert run("explain", "tiny", "-n", 3, "--steps", 5, "-r", "kept", "-o", out, *data).exit_code == 0
    here = run("score", out, "-r", "kept", *data, "--json").json()
    with served(tmp_path / "elsewhere") as there:
        there_data = ("--data", there.data)
        brought = run("reference", "import", "theirs", file, *there_data, "--json").json()
        assert brought["reference"]["kept_layers"] == document["kept_layers"]
        assert run("reference", "import", "theirs", file, *there_data, "--json").json()["added"] is False
        found = run("score", out, "-r", "theirs", *there_data, "--json").json()
    assert found["distance"] == here["distance"]
    for name in ("kept", "few", "whole"):
        run("reference", "delete", name, *data)


def test_scores_of_other_layers_are_refused(run: Run, stack: Served, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    rows = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    run("reference", "build", "of-fc2", "-m", "tiny", "-l", "fc2", "--activations", tmp_path / "rows.npy", *data)
    out = tmp_path / "out"
    assert run("explain", "tiny", "-n", 2, "--steps", 2, "-o", out, *data).exit_code == 0
    assert "layer of the batch is fc3" in run("score", out, "-r", "of-fc2", *data).error()
    unscored = tmp_path / "unscored"
    refused = run("explain", "tiny", "-n", 2, "-r", "of-fc2", "-o", unscored, *data)
    assert "of-fc2 is of fc2 of tiny" in refused.error()
    assert not unscored.exists()
    wrong = run("reference", "build", "other", "-m", "tiny", "--activations", out, "-l", "fc2", *data)
    assert "activations" in wrong.error()


def test_references_of_the_other_sense(run: Run, stack: Served, tmp_path: Path) -> None:
    """Explaining refuses them, as a sweep does; a score of what is there already is told with a doubt."""
    data = ("--data", stack.data)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((30, 2)))
    for name, *words in (
        ("upper", "--top", 20),
        ("lower", "--bottom", 20),
        ("other", "--top", 20, "--unit", 1),
        ("any",),
    ):
        build = ("reference", "build", name, "-m", "tiny", "--activations", tmp_path / "rows.npy", *words, *data)
        assert run(*build).exit_code == 0
    out = tmp_path / "out"
    explain = ("explain", "tiny", "-n", 2, "--steps", 2, "-o", out, *data)
    refused = run(*explain, "--minimise", "-r", "upper").error()
    assert "upper holds the top-20 of unit 0, the objective is to minimise unit 0; name a reference of its" in refused
    assert "the objective is to maximise unit 0" in run(*explain, "-r", "lower").error()
    assert "the objective is to maximise unit 0" in run(*explain, "-r", "other", "--whole-layer").error()
    assert not out.exists()
    assert run(*explain, "--minimise", "-r", "lower").exit_code == 0

    def doubts(*words: object) -> list[str]:
        shown = run("score", *words, *data)
        document = run("score", *words, *data, "--json").json()
        assert [line.removeprefix("doubtful: ") for line in shown.stderr.splitlines()] == document["doubts"]
        return document["doubts"]  # type: ignore[no-any-return]

    assert doubts(out, "-r", "lower", "-u", 0) == doubts(out, "-r", "any") == []
    (doubt,) = doubts(out, "-r", "upper", "-u", 0)
    assert doubt.startswith("upper holds the top-20 of unit 0, the objective is to minimise unit 0")
    assert doubts(tmp_path / "rows.npy", "-r", "upper", "-u", 0) == doubts(tmp_path / "rows.npy", "-r", "upper") == []
    (doubt,) = doubts(tmp_path / "rows.npy", "-r", "upper", "-u", 1)
    assert doubt.startswith("upper holds the top-20 of unit 0: it shows what unit 1 does in those excerpts")


def test_a_dead_unit_has_no_ratio(run: Run, stack: Served, tmp_path: Path) -> None:
    data = ("--data", stack.data)
    rows = np.random.default_rng(0).standard_normal((30, 2))
    rows[:, 1] = 0.1
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "batch.npy", rows[:20] + np.linspace(0, 0.3, 20)[:, None])
    assert run("reference", "build", "dead", "-m", "tiny", "--activations", tmp_path / "rows.npy", *data).exit_code == 0
    shown = run("score", tmp_path / "batch.npy", "-r", "dead", "-u", 1, *data).stdout
    words = " ".join(shown.split())
    assert "All 30 real activations of the reference are the same (the unit is dead, or saturated," in words
    assert "inf" not in words
    assert "times" not in words
    page = tmp_path / "out"
    explain = ("explain", "tiny", "-u", 1, "-n", 3, "--steps", 2, "-r", "dead", "-o", page, *data)
    assert "there is no ratio" in " ".join(run(*explain).stdout.split())
    assert "there is no ratio" in (page / "index.html").read_text()
    sweep = ("sweep", "tiny", "-u", 1, "--lr", 0.1, "--steps", 1, "--steps", 2, "--seeds", 2, "-r", "dead")
    ranked = run(*sweep, "-o", tmp_path / "sweep", *data)
    assert "there is no ratio" in " ".join(ranked.stderr.split())
    assert "there is no ratio" in (tmp_path / "sweep/index.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain", "none"), "models/none does not exist; served models: models/tiny"),
        (("explain", "tiny", "-l", "fc9"), "error: --layer: got 'fc9'; tiny has conv1, fc2, fc3"),
        (("explain", "tiny", "-u", 2), "error: --unit: got 2; layer fc3 has units 0 to 1"),
        (("explain", "tiny", "--lr", -1), "error: --lr: got -1; it must be"),
        (("explain", "tiny", "--prior", "nan"), "error: --prior: got nan"),
        (("explain", "tiny", "--steps", 10_001), "error: --steps: got 10001"),
        (("explain", "tiny", "-n", 257), "error: --count: got 257 rows; a search has 1 to 256"),
        (
            ("explain", "tiny", "--prior", 0.1, "--weight-decay", 0.1),
            "error: --weight-decay: got 0.1 beside a --prior of 0.1",
        ),
        (("explain", "tiny", "-r", "nothing"), "references/nothing does not exist"),
        (("score", "nowhere.npy", "-r", "x"), "nowhere.npy does not exist"),
        (("reference", "show", "nothing"), "does not exist; `earwitness reference list` names those that do"),
        (("reference", "delete", "nothing"), "references/nothing does not exist"),
        (("reference", "export", "nothing", "x.npz"), "references/nothing does not exist"),
        (("reference", "export", "nothing", "/"), "/ is a folder"),
        (("reference", "import", "x", "nowhere.npz"), "nowhere.npz: No such file"),
        (("reference", "import", "x", __file__), "is no whole reference as exported (it is no npz file)"),
        (("reference", "build", "x", "nowhere.wav"), "nowhere.wav does not exist"),
        (("reference", "build", "x"), "either audio files or --activations"),
        (("reference", "build", "x", "a.wav", "--top", 5, "--bottom", 5), "--top or --bottom"),
    ],
)
def test_wrong_input_is_one_line(run: Run, stack: Served, words: tuple[object, ...], said: str) -> None:
    outcome = run(*words, "--data", stack.data)
    assert said in outcome.error()
    assert run("models", "--data", stack.data).exit_code == 0


def test_wrong_audio_and_names_are_one_line(run: Run, stack: Served, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    write_wav(tmp_path / "short.wav", np.zeros(50, np.float32), 8000)
    build = ("reference", "build")
    data = ("-m", "tiny", "--data", stack.data)
    assert "text.wav: cannot be read as audio" in run(*build, "x", tmp_path / "text.wav", *data).error()
    long = write_recording(tmp_path / "long.wav", 2)
    assert "error: NAME: is 'Not A Name'" in run(*build, "Not A Name", long, *data).error()
    assert "no recording holds an excerpt" in run(*build, "empty", tmp_path / "short.wav", *data).error()
    assert "references/empty does not exist" in run("reference", "show", "empty", "--data", stack.data).error()
    assert "serves tiny" in run(*build, "x", tmp_path / "short.wav", "-m", "big", "--data", stack.data).error()


def test_recordings_that_are_cut_or_unreadable_are_named(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    (music / "text.wav").write_text("not audio")
    (music / "cut.wav").write_bytes((music / "0.wav").read_bytes()[: (music / "0.wav").stat().st_size // 2])
    build, data = ("reference", "build", "odd", "-m", "tiny", music), ("--data", stack.data)
    refused = run(*build, "--strict", *data).error()
    assert "text.wav: cannot be read as audio (it is text)" in refused
    assert "cut.wav: breaks off after" in refused
    assert "references/odd does not exist" in run("reference", "show", "odd", *data).error()  # nothing was kept
    built = run(*build, *data)
    assert "3 recordings added" in built.stdout
    assert f"left out: {music}/text.wav: cannot be read as audio (it is text)" in built.stderr
    assert f"{music}/cut.wav: breaks off after" in built.stderr
    document = run(*build, *data, "--json").json()
    assert [(Path(each["file"]).name, each["kind"]) for each in document["flaws"]] == [
        ("text.wav", "left-out"),
        ("cut.wav", "cut-off"),
    ]
    for path in music.glob("*.wav"):
        path.write_text("not audio")
    assert "0.wav: cannot be read as audio (it is text)" in run(*build, *data).error()


def test_nobody_there_says_how_to_start(run: Run) -> None:
    for words in (("models", "--explainer"), ("reference", "list", "--scorer")):
        error = run(*words, "127.0.0.1:1").error()
        assert "127.0.0.1:1 cannot be reached" in error
        assert "earwitness up" in error
    assert "error: --explainer: got 'localhost'; give host:port" in run("models", "--explainer", "localhost").error()


def test_debug_shows_the_traceback(run: Run) -> None:
    outcome = run("--debug", "score", "nowhere.npy", "-r", "x")
    assert outcome.exit_code == 1
    assert "Traceback" in outcome.stderr
    assert outcome.stderr.splitlines()[-1].startswith("error: ")


def test_usage_errors_exit_with_2(run: Run) -> None:
    assert run("explain").exit_code == 2
    assert run("explain", "tiny", "-n", "0").exit_code == 2
    assert run("no-such-command").exit_code == 2


def test_progress_never_reaches_stdout(run: Run, stack: Served) -> None:
    outcome = run("explain", "tiny", "-n", 1, "--steps", 3, "--data", stack.data, "--json")
    assert json.loads(outcome.stdout)["rows"][0]["seed"] == 0
    assert outcome.stderr == ""


def test_without_a_terminal_there_is_a_line_of_progress_now_and_then(
    run: Run, stack: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.cli.console.FIRST_LINE_S", 0.0)
    outcome = run("explain", "tiny", "-n", 1, "--steps", 3, "--data", stack.data, "--json")
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("searching: ")
    assert json.loads(outcome.stdout)["rows"][0]["seed"] == 0


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63, 2**70])
def test_seeds_that_there_are_not_are_refused(run: Run, stack: Served, tmp_path: Path, seed: int) -> None:
    """The highest one has no other after it."""
    for words in (("explain", "tiny", "-o", tmp_path / "out"), ("sweep", "tiny", "--no-wait")):
        said = run(*words, "--seed", seed, "-n", 2, "--data", stack.data).error()
        assert f"--seed: got {seed}; a seed is 0 to 2^63 - 1" in said
    assert not (tmp_path / "out").exists()
