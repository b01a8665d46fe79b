"""Exchanging a bundle's files: what a failure, or a kill at any moment, leaves."""

import os
from pathlib import Path

import pytest

from earwitness.training.export import placing
from earwitness.training.export.placing import Place

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


def exchange(repository: Path) -> None:
    with place(repository).exchanged() as staging:
        write(staging, NEW)


def test_all_of_it_is_exchanged_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    exchange(tmp_path)
    assert read(tmp_path) == NEW | {"hen.md": "another"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("step", range(1, 9))
@pytest.mark.parametrize("kind", [OSError, Killed])
def test_what_was_there_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, kind: type[BaseException]
) -> None:
    """Three files move away, the staging folder becomes another, three move in, and it is done."""
    write(tmp_path, OLD)
    rename, moves = os.rename, list[Path]()

    def until_then(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == step:
            if kind is Killed:
                monkeypatch.setattr(Place, "_restore", lambda self: None)
            raise kind
        rename(source, target)

    monkeypatch.setattr(placing.os, "rename", until_then)
    with pytest.raises(kind):
        exchange(tmp_path)
    if kind is Killed:
        monkeypatch.undo()
        assert read(tmp_path) != OLD
        place(tmp_path)._restore()
    assert read(tmp_path) == OLD
    exchange(tmp_path)
    assert read(tmp_path) == NEW | {"hen.md": "another"}


def test_a_restoration_that_was_killed_goes_on(tmp_path: Path) -> None:
    write(tmp_path, {"hen.md": "another", "owl.md": "old"})
    (tmp_path / ".export-owl/old").mkdir(parents=True)
    write(tmp_path / ".export-owl/old", {"owl_search/model": "old"})
    exchange(tmp_path)
    assert read(tmp_path) == NEW | {"hen.md": "another"}
