"""From nothing to a served model by commands alone, at the smallest sizes; and what they refuse."""

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from earwitness.cli.app import app
from earwitness.cli.stack import check_repository
from earwitness.inference.metadata import complete_bundles
from earwitness.inference.repository import read_repository
from tests.integration.cli.conftest import Outcome, Run
from tests.integration.cli.networks import Sorter

NETWORKS = "tests.integration.cli.networks"
THREADS = ("--threads", 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four dozen clips, made by the command."""
    folder = tmp_path_factory.mktemp("corpus")
    result = CliRunner().invoke(app, ["corpus", "build", str(folder), "--clips", "48", "-j", "2", "--json"])
    document = Outcome(result.exit_code, result.stdout, result.stderr).json()
    assert [document["splits"][split]["clips"] for split in ("train", "valid", "test")] == [43, 2, 3]
    return folder


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and a generator, each trained for a moment by the commands."""
    folder = tmp_path_factory.mktemp("runs")
    svd = ["train", "svd", "-c", str(corpus), "-o", str(folder / "svd"), "--epochs", "1", "--updates", "2"]
    gan = ["train", "gan", "-c", str(corpus), "-o", str(folder / "gan"), "--updates", "2"]
    for words in (svd, gan):
        result = CliRunner().invoke(app, [*words, "--batch-size", "4", "--threads", "1", "--json"])
        checkpoint = Outcome(result.exit_code, result.stdout, result.stderr).json()["checkpoint"]
        assert Path(checkpoint).is_file()
    return folder


def test_finished_corpus_is_left_as_it_is(run: Run, corpus: Path) -> None:
    before = (corpus / "train/frames.npy").stat().st_mtime_ns
    shown = run("corpus", "build", corpus, "--clips", 48)
    assert shown.exit_code == 0
    assert "train" in shown.stdout
    assert (corpus / "train/frames.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ("rap=0.2", "--share: 'rap=0.2' names no kind; give one of rapped, spoken, chopped, layered, imitation, beat"),
        ("rapped=many", "--share: 'rapped=many' has no number after the '='"),
        ("beat=1.5", "beat_share: is 1.5; give a share from 0 to 1"),
    ],
)
def test_shares_of_kinds_are_refused_before_anything_is_made(run: Run, tmp_path: Path, share: str, said: str) -> None:
    assert said in run("corpus", "build", tmp_path / "corpus", "--preset", "kinds", "--share", share).error()
    assert not (tmp_path / "corpus").exists()


def test_evaluate_choose_and_export(run: Run, corpus: Path, runs: Path, tmp_path: Path) -> None:
    classifier = ("--classifier", runs / "svd/best.pt")
    common = ("-c", corpus, "--excerpts", 130)
    chosen = run("evaluate", "checkpoints", runs / "gan", *classifier, *common, "--json").json()
    assert Path(chosen["checkpoint"]).is_file()
    report = run("evaluate", "generator", chosen["checkpoint"], *classifier, *common, "--json").json()
    assert report["fid"] > 0
    assert report["fid_band_noise"] > 0
    assert "fid real halves" in run("evaluate", "generator", chosen["checkpoint"], *classifier, *common).stdout

    figures = run("evaluate", "classifier", runs / "svd/best.pt", "-c", corpus, "--json").json()
    assert 0 <= figures["test"]["error"] <= 1
    assert "threshold" in run("evaluate", "classifier", runs / "svd/best.pt", "-c", corpus).stdout

    models = tmp_path / "models"
    words = (
        "export",
        "tried",
        "-g",
        chosen["checkpoint"],
        "-c",
        runs / "svd/best.pt",
        "--model-repository",
        models,
    )
    assert "tried_search" in run(*words).stdout
    check_repository(models)


def test_own_networks_are_exported_by_import_path(run: Run, tmp_path: Path) -> None:
    own = ("export", "mine", "-g", f"{NETWORKS}:Painter", "--features", "log-mel-80@1", "--model-repository", tmp_path)
    own += ("--latent-size", 3, "-l", "first=conv", "--label", "1=dog/other", "--training-data", "nothing")
    exported = run(*own, "-c", f"{NETWORKS}:Sorter", "--json").json()
    assert exported["metadata"]["name"] == "mine"
    assert exported["parity"]["gradient"] < 1e-4
    served = read_repository(tmp_path)
    (bundle,) = complete_bundles({name: model.parameters for name, model in served.items()})
    assert [(layer.name, layer.unit_count) for layer in bundle.layers] == [("first", 2), ("output", 2)]
    assert (bundle.labels[0].maximise, bundle.training_data) == ("dog", "nothing")
    assert "serves other weights as 'mine'" in run(*own, "-c", f"{NETWORKS}:Sorter").error()
    assert run(*own, "-c", f"{NETWORKS}:Sorter", "--force").exit_code == 0
    assert "operator aten.cumprod" in run(*own, "-c", f"{NETWORKS}:Unservable", "--force").error()
    assert "no attribute 'Nothing'" in run(*own, "-c", f"{NETWORKS}:Nothing").error()
    assert "import paths for both" in run(*own, "-c", "best.pt").error()


PROFILE = {
    "kind": "mel", "name": "own@1", "sample_rate_hz": 8000, "frame_length": 512, "hop_length": 64, "band_count": 80,
    "excerpt_frames": 115,
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("", ("-g", "own:gone"), "'own:gone': module 'own' has no attribute 'gone'"),
        ("", ("-g", "nowhere:G"), "'nowhere:G': No module named 'nowhere'; check the path"),
        ("1 / 0", (), "'own:Painter': importing it raised ZeroDivisionError: division by zero"),
        ("def broken(:", (), "'own:Painter': importing it raised SyntaxError"),
        ("def sized(n): ...", ("-g", "own:sized"), "cannot be called without arguments (TypeError: sized() missing 1"),
        (
            "",
            ("--generator-weights", "sorter.pt"),
            "sorter.pt: weights of another architecture than Painter: conv.weight, conv.bias are not",
        ),
        ("", ("--classifier-weights", "part.pt"), "conv.bias, dense.weight, dense.bias are missing"),
        ("", ("--classifier-weights", "nan.pt"), "classifier: 'conv.weight' holds 1 NaN or infinite values of 50"),
        ("", ("-l", "first=conv9"), "'first' is module path 'conv9', which the classifier has not; it has conv, dense"),
        ("", ("--latent-size", 4), "layer 'dense' (Linear) failed, at networks.py"),
        ("", ("--label", "2=owl"), "labels: unit 2 is labelled, the classifier has outputs 0 ... 1"),
        ("", ("--features", "small.json"), "has excerpts of [80, 96] bands × frames, the generator returns [80, 115]"),
        ("", ("--features", "list.json"), "list.json holds no JSON object"),
        ("", ("--features", "n_mels.json"), "feature parameters n_mels are unknown; known: band_count"),
    ],
)
def test_own_networks_that_cannot_be_exported_leave_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own", raising=False)
    Path("own.py").write_text(f"from {NETWORKS} import Painter, Sorter\n{module}\n")
    sorter = Sorter().state_dict()
    torch.save(sorter, "sorter.pt")
    torch.save({"conv.weight": sorter["conv.weight"]}, "part.pt")
    sorter["conv.weight"][0, 0, 0, 0] = float("nan")
    torch.save(sorter, "nan.pt")
    changes = {"own": {}, "small": {"excerpt_frames": 96}, "n_mels": {"n_mels": 1}}
    documents = {name: PROFILE | change for name, change in changes.items()} | {"list": []}
    for name, document in documents.items():
        Path(f"{name}.json").write_text(json.dumps(document))
    models = tmp_path / "models"
    own = ("export", "mine", "-g", "own:Painter", "-c", "own:Sorter", "--features", "own.json")
    own += ("--model-repository", models)
    assert said in run(*own, *words).error()
    assert not models.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "svd", "-c", "nowhere", "-o", "run"), "nowhere holds no complete corpus"),
        (("train", "gan", "-c", "nowhere", "-o", "run"), "nowhere holds no complete corpus"),
        (("evaluate", "classifier", "nowhere.pt", "-c", "x"), "nowhere.pt: no such checkpoint"),
        (("export", "x", "-g", "nowhere.pt", "-c", "nowhere.pt"), "nowhere.pt: no such checkpoint"),
        (("export", "x", "-g", "a:b", "-c", "a:b"), "features: is needed"),
        (("export", "x", "-g", "g", "-c", "c", "--compare-classifier", "a=b"), "--compare-classifier: needs --corpus"),
        (("export", "x", "-g", "g", "-c", "c", "--corpus", "d", "--compare-generator", "a"), "give NAME=FILE"),
        (
            ("export", "x", "-g", "g", "-c", "c", "--training-data", "mine"),
            "--training-data: is for networks of your own",
        ),
        (("export", "x", "-g", "a:b", "-c", "a:b", "--features", "mel"), "feature profile 'mel' is unknown"),
        (("export", "x", "-g", "a:b", "-c", "a:b", "--features", "log-mel-80@1", "-l", "fc"), "give NAME=PATH"),
        (("export", "x", "-g", "a:b", "-c", "a:b", "--features", "log-mel-80@1", "--label", "a=b"), "UNIT=HIGH/LOW"),
        (("export", "x", "-g", "a:b", "-c", "a:b", "--features", "no.json"), "features: no.json does not exist"),
    ],
)
def test_wrong_input_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = ("--model-repository", tmp_path / "models") if words[0] == "export" else ()
    assert said in run(*words, *repository).error()
