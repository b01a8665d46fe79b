"""Exchanging a bundle's files: what a failure, or a kill at any moment, leaves."""

import os
from pathlib import Path

import pytest

from earwitness.inference import placing
from earwitness.inference.placing import Place

OLD = {"owl_search/model": "old", "owl_search/only": "old", "owl.md": "old", "owl.png": "old", "hen.md": "another"}
NEW = {"owl_generator/model": "new", "owl_search/model": "new", "owl.md": "new"}


class Killed(BaseException):
    """Nothing runs after it."""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def place(repository: Path) -> Place:
    return Place(repository, "owl", ["owl_generator", "owl_search"], ["owl.md", "owl.png"])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write(tmp_path / "models", OLD)
    return tmp_path / "models"


def exchange(repository: Path) -> None:
    with place(repository).exchanged() as staging:
        write(staging, NEW)


@pytest.mark.parametrize("beside", [True, False])
def test_all_of_it_is_exchanged_and_nothing_else(
    repository: Path, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton does not start on a repository with a hidden folder in it; but beside it one may not be able to work."""
    rename = os.rename

    def another_file_system(source: Path, target: Path) -> None:
        if repository not in target.parents:
            raise OSError("invalid cross-device link")
        rename(source, target)

    if not beside:
        monkeypatch.setattr(placing.os, "rename", another_file_system)
    with place(repository).exchanged() as staging:
        assert (repository in staging.parents) is not beside
        write(staging, NEW)
    assert read(repository) == NEW | {"hen.md": "another"}
    assert [path.name for path in repository.parent.iterdir()] == ["models"]
    assert not [path for path in repository.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("step", range(1, 9))
@pytest.mark.parametrize("kind", [OSError, Killed])
@pytest.mark.parametrize("beside", [True, False])
def test_what_was_there_is_there_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch, step: int, kind: type[BaseException], beside: bool
) -> None:
    """Three files move away, the staging folder becomes another, three move in, and it is done."""
    rename, moves = os.rename, list[Path]()

    def until_then(source: Path, target: Path) -> None:
        if source.name == ".export-owl":
            if not beside:
                raise OSError
            return rename(source, target)
        moves.append(target)
        if len(moves) == step:
            if kind is Killed:
                monkeypatch.setattr(Place, "_restore", lambda self: None)
            raise kind
        return rename(source, target)

    monkeypatch.setattr(placing.os, "rename", until_then)
    with pytest.raises(kind):
        exchange(repository)
    monkeypatch.undo()
    if kind is Killed:
        place(repository)._restore()
    assert read(repository) == OLD
    exchange(repository)
    assert read(repository) == NEW | {"hen.md": "another"}


def test_a_restoration_that_was_killed_goes_on(tmp_path: Path) -> None:
    write(tmp_path, {"hen.md": "another", "owl.md": "old"})
    (tmp_path / ".export-owl/old").mkdir(parents=True)
    write(tmp_path / ".export-owl/old", {"owl_search/model": "old"})
    exchange(tmp_path)
    assert read(tmp_path) == NEW | {"hen.md": "another"}
