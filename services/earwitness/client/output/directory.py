"""Output folders appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earwitness.errors import InvalidArgument


def check_free(directory: Path, *, force: bool, marks: Sequence[str]) -> None:
    """Make sure that `new_directory` may write there; worth calling before the work that fills it.

    Raises: InvalidArgument when it is a file, or a folder that holds something and either `force` is not given or it
    lacks one of `marks`, paths within it by which an earlier output is known.
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidArgument("out", f"{directory} is a file; give a folder")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    missing = [mark for mark in marks if not (directory / mark).exists()]
    if missing:
        raise InvalidArgument(
            "out", f"{directory} holds something else than an earlier output (no {missing[0]}); choose another folder"
        )
    if not force:
        raise InvalidArgument("out", f"{directory} is not empty; choose another folder, or replace it with --force")


@contextmanager
def new_directory(directory: Path, *, force: bool = False, marks: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder that becomes `directory` when the block ends well, and vanishes when it does not.

    With `force` a folder that is there already, and has all of `marks`, is replaced as a whole.

    Raises: InvalidArgument as `check_free`.
    """
    check_free(directory, force=force, marks=marks)
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    # beside its final place: a rename never crosses file systems
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    content, old = work / "new", work / "old"
    try:
        content.mkdir()
        yield content
        if directory.exists():
            os.rename(directory, old)
        os.rename(content, directory)
    finally:
        if old.exists() and content.exists():  # stopped between the two; where this fails, too, nothing is removed
            os.rename(old, directory)
        shutil.rmtree(work, ignore_errors=True)
