"""Output folders appear whole or not at all."""

import os
from pathlib import Path

import pytest

from earwitness.client.output import check_free, new_directory
from earwitness.errors import InvalidArgument
from tests.unit.client.runs import names


def test_appears_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "a/b"
    with new_directory(out) as folder:
        (folder / "file").write_text("x")
        assert not out.exists()
    assert names(out) == {"file"}
    assert names(out.parent) == {"b"}


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def fill_half() -> None:
        with new_directory(tmp_path / "out") as folder:
            (folder / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill_half()
    assert names(tmp_path) == set()


def test_failure_keeps_what_force_would_replace(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("x")
    with pytest.raises(RuntimeError), new_directory(tmp_path / "out", force=True):
        raise RuntimeError
    assert names(tmp_path / "out") == {"old"}


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_replacement_that_fails_at_the_last_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("x")
    rename = os.rename

    def refuse_new(source: Path, target: Path) -> None:
        if source.name == "new":
            raise failure
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse_new)
    with pytest.raises(failure), new_directory(tmp_path / "out", force=True):
        pass
    assert names(tmp_path / "out") == {"old"}
    assert names(tmp_path) == {"out"}


def test_force_replaces_all(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("x")
    with new_directory(tmp_path / "out", force=True) as folder:
        (folder / "new").write_text("x")
    assert names(tmp_path / "out") == {"new"}
    assert names(tmp_path) == {"out"}


def test_empty_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_directory(tmp_path / "out") as folder:
        (folder / "new").write_text("x")
    assert names(tmp_path / "out") == {"new"}


def test_full_folder_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidArgument, match=r"is not empty.*--force"):
        check_free(tmp_path, force=False, marks=["file"])
    with pytest.raises(InvalidArgument, match="is a file"):
        check_free(tmp_path / "file", force=True, marks=[])
    check_free(tmp_path, force=True, marks=["file"])


def test_only_an_earlier_output_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with (
        pytest.raises(InvalidArgument, match=r"something else than an earlier output \(no request\.json\)"),
        new_directory(tmp_path, force=True, marks=["request.json"]),
    ):
        pass
    assert names(tmp_path) == {"thesis.txt"}
