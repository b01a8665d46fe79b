"""Activations from files: what is known of their origin is kept, what is no table of numbers is refused."""

from pathlib import Path

import ml_dtypes
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
        assert batch.objectives == (found.objective,)


def test_plain_array_has_no_origin(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(4.0))
    batch = load_activations(tmp_path / "a.npy")
    assert batch.origin is None
    assert batch.activations.shape == (4, 1)
    assert batch.activations.dtype == np.float32


@pytest.mark.parametrize(
    "array",
    [
        1e8 + np.arange(6.0).reshape(3, 2) / 3,
        np.array([[2**40 + 1, -(2**52)]]),
        np.array([[2**31 - 1]], np.int32),
        np.array([[255]], np.uint8),
        np.array([[0.1]], np.float16),
        np.array([[1.1, 1e-300]], ">f8"),
    ],
)
def test_numbers_stay_what_they_are(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    found = load_activations(tmp_path / "a.npy").activations
    assert found.dtype in (np.float32, np.float64)
    assert [[float(each) for each in row] for row in found] == [[float(each) for each in row] for row in array]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([[2**53 + 1]]), r"int64 that float64 does not hold exactly .*integers those up to 2\^53"),
        (np.array([[2**64 - 1]], np.uint64), "uint64 that float64 does not hold"),
        (np.array([[1e39]]), "beyond float32's range"),
        (np.array([[1.5]], ml_dtypes.bfloat16), "lose the type of bfloat16: save it as float32"),
        (np.array([[True]]), "bool"),
        (np.array([[1j]]), "complex128"),
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
