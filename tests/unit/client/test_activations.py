"""Activations from files: what is known of their origin is kept, what is no table of numbers is refused."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.client.activations import load_activations
from earwitness.client.output import write_run
from earwitness.errors import InvalidArgument
from tests.unit.client.runs import MODEL, WEIGHTS, run


def test_output_folder_knows_its_origin(tmp_path: Path) -> None:
    found = run(3)
    write_run(found, tmp_path / "out")
    for path in (tmp_path / "out", tmp_path / "out/explanations.npz"):
        batch = load_activations(path)
        assert batch.origin == (MODEL.name, WEIGHTS, "fc9")
        np.testing.assert_array_equal(batch.activations, found.result.layer_activations())


def test_plain_array_has_no_origin(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(4.0))
    batch = load_activations(tmp_path / "a.npy")
    assert batch.origin is None
    assert batch.activations.shape == (4, 1)
    assert batch.activations.dtype == np.float32


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.zeros((0, 3)), r"\(0, 3\)"),
        (np.array([["a"]]), "<U1"),
        (np.array([[np.nan]]), "NaN"),
        (np.array([[np.inf]], np.float32), "infinity"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InvalidArgument, match=said):
        load_activations(tmp_path / "a.npy")


def test_missing_broken_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.npy").write_bytes(b"no array")
    np.savez(tmp_path / "foreign.npz", other=np.zeros(2))
    with pytest.raises(InvalidArgument, match=r"absent\.npy does not exist"):
        load_activations(tmp_path / "absent.npy")
    for name in ("broken.npy", "foreign.npz"):
        with pytest.raises(InvalidArgument, match=name):
            load_activations(tmp_path / name)
