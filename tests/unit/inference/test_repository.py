"""What a model repository folder says, and how it is refused."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from earwitness.inference.backend import InferenceFailed
from earwitness.inference.metadata import complete_bundles
from earwitness.inference.repository import RepositoryError, TensorSpec, read_contents, read_repository
from tests.helpers.probe_model import write_probe_model
from tests.helpers.tiny_bundle import write_tiny_bundle


def test_a_repository_is_read(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path)
    (tmp_path / "README.md").write_text("files at the top are no models")
    models = read_repository(tmp_path)
    assert sorted(models) == ["tiny_classifier", "tiny_generator", "tiny_search"]
    search = models["tiny_search"]
    assert search.inputs == (TensorSpec("z", (6,)), TensorSpec("unit_weights", (10,)), TensorSpec("prior_weight", (1,)))
    assert (search.version, search.max_batch_size, search.instance_count) == (1, 256, 1)
    assert search.model_file.is_file()
    assert complete_bundles({name: model.parameters for name, model in models.items()}) == (bundle.metadata,)


def test_the_newest_version_counts_by_number(tmp_path: Path):
    folder = write_probe_model(tmp_path)
    for version in ("9", "10", "old", "011"):
        (folder / version).mkdir()
        (folder / version / "model.onnx").write_bytes((folder / "1" / "model.onnx").read_bytes())
    assert read_repository(tmp_path)["probe"].version == 10


def test_models_of_other_backends_are_passed_over(tmp_path: Path):
    write_probe_model(tmp_path)
    other = write_probe_model(tmp_path, "other")
    (other / "config.pbtxt").write_text('backend: "pytorch"')
    assert list(read_repository(tmp_path)) == ["probe"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name: "probe"', 'name: "another"', "wants the folder's name 'probe'"),
        ("max_batch_size: 16", "max_batch_size: 0", "give at least 1"),
        ("data_type: TYPE_FP32", "data_type: TYPE_FP16", "TYPE_FP16; earwitness serves TYPE_FP32"),
        ("dims: 1", "dims: 1 reshape { }", "and a reshape"),
        ("max_batch_size: 16", "max_batch: 16", "not a Triton model configuration"),
    ],
)
def test_a_configuration_that_cannot_be_served_says_why(tmp_path: Path, before: str, after: str, message: str):
    config = write_probe_model(tmp_path) / "config.pbtxt"
    config.write_text(config.read_text().replace(before, after))
    with pytest.raises(RepositoryError, match=message) as caught:
        read_repository(tmp_path)
    assert str(config) in caught.value.message


def test_missing_parts_are_named(tmp_path: Path):
    with pytest.raises(RepositoryError, match="is not a folder"):
        read_repository(tmp_path / "nowhere")
    with pytest.raises(RepositoryError, match="holds no model"):
        read_repository(tmp_path)
    folder = write_probe_model(tmp_path)
    (folder / "1" / "model.onnx").unlink()
    with pytest.raises(RepositoryError, match=r"model\.onnx does not exist"):
        read_repository(tmp_path)
    (folder / "1").rmdir()
    with pytest.raises(RepositoryError, match="no version folder"):
        read_repository(tmp_path)
    (folder / "config.pbtxt").unlink()
    with pytest.raises(RepositoryError, match=r"config\.pbtxt cannot be read"):
        read_repository(tmp_path)


def odd_folders(repository: Path) -> dict[str, str]:
    """Puts into a repository what keeps Triton from starting; the words for each that is told of."""
    for name in (".git", ".ipynb_checkpoints", "lost+found"):
        (repository / name).mkdir()
    (write_probe_model(repository, "broken") / "config.pbtxt").write_text("name: {")
    (write_probe_model(repository, "empty") / "1" / "model.onnx").unlink()
    shutil.rmtree(write_probe_model(repository, "unfilled") / "1")
    (write_probe_model(repository, "half_copied") / "2").mkdir()
    (repository / "gone").symlink_to(repository / "nowhere")
    return {
        "lost+found": r"lost\+found/config.pbtxt cannot be read: .*; every model folder needs one",
        "broken": "not a Triton model configuration",
        "empty": r"empty/1/model\.onnx does not exist",
        "unfilled": "no version folder",
        "half_copied/2": r"half_copied/2 holds no model\.onnx; version 1 is served",
    }


def test_an_odd_folder_keeps_no_model_from_being_served(tmp_path: Path):
    write_probe_model(tmp_path)
    words = odd_folders(tmp_path)
    contents = read_contents(tmp_path)
    assert {name: model.version for name, model in contents.models.items()} == {"half_copied": 1, "probe": 1}
    assert contents.left_out.keys() == words.keys()
    for folder, pattern in words.items():
        assert re.search(pattern, contents.left_out[folder])


def test_inputs_are_checked_and_converted(tmp_path: Path):
    write_tiny_bundle(tmp_path)
    generator = read_repository(tmp_path)["tiny_generator"]
    z = np.asfortranarray(np.ones((3, 6)))
    checked = generator.check({"z": z}, ["spectrogram"])
    assert checked["z"].dtype == np.float32
    assert checked["z"].flags.c_contiguous

    for wrong, message in [
        ({"z": np.ones((3, 5))}, r"has shape \[3, 5\], the model takes \['batch', 6\]"),
        ({"z": np.ones(6)}, r"has shape \[6\]"),
        ({"z": np.float32(1)}, r"has shape \[\]"),
        ({"z": np.ones((0, 6))}, "a batch of 1 to 256"),
        ({"z": np.ones((257, 6))}, "a batch of 1 to 256"),
        ({"x": np.ones((3, 6))}, r"got inputs \['x'\], the model takes \['z'\]"),
        ({"z": z, "x": z}, "got inputs"),
    ]:
        with pytest.raises(InferenceFailed, match=message):
            generator.check(wrong, ["spectrogram"])
    for outputs in ([], ["spectrogram", "picture"]):
        with pytest.raises(InferenceFailed, match="were asked for"):
            generator.check({"z": z}, outputs)


def test_inputs_of_different_batches_are_refused(tmp_path: Path):
    write_probe_model(tmp_path)
    inputs = {name: np.ones((rows, 1)) for name, rows in {"x": 2, "iterations": 2, "index": 3}.items()}
    with pytest.raises(InferenceFailed, match="batches differ"):
        read_repository(tmp_path)["probe"].check(inputs, ["y"])
