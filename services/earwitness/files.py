"""Files that appear whole or not at all."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

PARTIAL = ".part"


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to that becomes `path` when the block ends well, and vanishes when it does not: no reader ever
    sees half a file, and what a kill leaves is the old one or the new one.

    `durable` waits until the disk has it, so that this holds when the machine dies, too. The folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{_partial_name(path)}{os.getpid()}{PARTIAL}")
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_orphans(path: Path) -> None:
    """Removes what processes of this machine that are no more, killed in the middle, have left of a `whole_file`."""
    for partial in path.parent.glob(f"{escape(_partial_name(path))}*{PARTIAL}"):
        number = partial.name.removeprefix(_partial_name(path)).removesuffix(PARTIAL)
        if number.isdigit() and not _is_alive(int(number)):
            partial.unlink(missing_ok=True)


def _partial_name(path: Path) -> str:
    """Of the machine too: a folder may be shared, and numbers of processes are a machine's own."""
    return f"{path.name}.{socket.gethostname()}-"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True
