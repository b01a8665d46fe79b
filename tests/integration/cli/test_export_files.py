"""`earwitness export` of files: a classifier that another tool wrote, with the generator of a model that is there."""

from pathlib import Path

import onnx
import pytest

from earwitness.inference.integrity import take_inventory
from tests.helpers.tiny_bundle import PROFILE, write_tiny_bundle
from tests.integration.cli.conftest import Run
from tests.unit.training.export.onnx_files import keras, silero, tree

BANDS, FRAMES = PROFILE.excerpt_shape


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with the tiny bundle, and beside it the files."""
    write_tiny_bundle(tmp_path / "models")
    onnx.save(keras(BANDS, FRAMES), tmp_path / "keras.onnx")
    onnx.save(tree(BANDS * FRAMES), tmp_path / "tree.onnx")
    onnx.save(silero(), tmp_path / "silero.onnx")
    return tmp_path / "models"


def test_with_its_gradient(run: Run, models: Path) -> None:
    own = ("export", "heard", "-g", "tiny", "-c", models.parent / "keras.onnx", "--model-repository", models)
    exported = run(*own, "--label", "0=a/b", "--json").json()
    assert exported["parity"]["gradient"] < 1e-4
    assert exported["metadata"]["features"] == PROFILE.to_dict()
    assert [bundle.name for bundle in take_inventory(models).bundles] == ["heard", "tiny"]
    again = run(*own, "--label", "0=a/b")
    assert again.exit_code == 0, again.stderr
    assert "with its gradient" in again.stdout
    assert "the softmax at the file's end makes their probability" in again.stdout


def test_without_a_gradient_and_why(run: Run, models: Path) -> None:
    own = ("export", "forest", "-g", "tiny", "-c", models.parent / "tree.onnx", "--model-repository", models)
    assert "--input-axes: the classifier's input x FP32 [96] may take" in run(*own).error()
    said = run(*own, "--input-axes", "bands*frames")
    assert said.exit_code == 0, said.stderr
    assert "without a gradient: operation ai.onnx.ml.TreeEnsembleClassifier (label): a decision tree" in said.stdout
    assert "earwitness explain forest --optimiser walk, or draws" in said.stdout
    found = {bundle.name: bundle for bundle in take_inventory(models).bundles}
    assert not found["forest"].has_gradient


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-g", "tiny", "-c", "silero.onnx"), "takes 3 inputs"),
        (("-g", "nobody", "-c", "keras.onnx"), "--generator: got 'nobody'; give a file"),
        (
            ("-g", "tiny", "-c", "keras.onnx", "--features", "log-mel-80@1"),
            "--features: are log-mel-80@1, the",
        ),
        (
            ("-g", "tiny", "-c", "keras.onnx", "--output-tensor", "z"),
            "--output-tensor: got 'z'; the classifier",
        ),
        (("-g", "tiny", "-c", "keras.onnx", "--label", "3=a"), "unit 3 is labelled"),
        (("-g", "tiny", "-c", "keras.onnx", "--take", "0"), "--take: is for networks in Python"),
        (("-g", "tiny", "-c", "keras.onnx", "--corpus", "c"), "--corpus: evaluates checkpoints of `earwitness train`"),
    ],
)
def test_refused_in_one_line_that_names_the_option(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(models.parent)
    assert said in run("export", "own", *words, "--model-repository", models).error()
    assert [bundle.name for bundle in take_inventory(models).bundles] == ["tiny"]


def test_files_need_features_where_the_generator_says_none(run: Run, models: Path, tmp_path: Path) -> None:
    generator = models / "tiny_generator" / "1" / "model.onnx"
    own = ("export", "own", "-g", generator, "-c", tmp_path / "keras.onnx", "--model-repository", models)
    assert "--features: is needed" in run(*own).error()
    assert "the features have excerpts of" in run(*own, "--features", "log-power-256@1").error()
