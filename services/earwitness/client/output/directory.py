"""Output folders appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earwitness.errors import InvalidArgument


def check_free(directory: Path, *, force: bool) -> None:
    """Make sure that `new_directory` may write there; worth calling before the work that fills it.

    Raises: InvalidArgument when it is a file, or a folder that holds something and `force` is not given.
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidArgument("out", f"{directory} is a file; give a folder")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise InvalidArgument("out", f"{directory} is not empty; choose another folder, or replace it with --force")


@contextmanager
def new_directory(directory: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `directory` when the block ends well, and vanishes when it does not.

    With `force` a folder that is there already is replaced as a whole.

    Raises: InvalidArgument as `check_free`.
    """
    check_free(directory, force=force)
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    # beside its final place: a rename never crosses file systems
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        content = work / "new"
        content.mkdir()
        yield content
        if directory.exists():
            os.rename(directory, work / "old")
        os.rename(content, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
