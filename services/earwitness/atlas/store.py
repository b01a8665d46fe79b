"""What an atlas keeps of what was done, so that it goes on after any end: one file for each part, whole or not there.

Names are digests of all that a part depends on, so what is found under a name is what would be made again.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from earwitness import arrays
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.inference.backend import FloatArray

WORK = ".work"
"""In the atlas's folder: all that only a further run needs."""
OWNER = "owner.json"
PARTIAL = ".partial"


def digest(*words: object) -> str:
    """A name for what depends on these words alone."""
    return hashlib.sha256(json.dumps([str(each) for each in words]).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """That of a file's bytes. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write a file under, which becomes `path` when the block ends well, and vanishes when it does not.

    Raises: OSError, e.g. for a disk that is full.
    """
    partial = path.with_name(f"{path.name}{PARTIAL}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as err:
        partial.unlink(missing_ok=True)
        why = f"{err.strerror}; what is done is kept, and the same command goes on"
        raise OSError(err.errno, why, str(path)) from err


def write_bytes(path: Path, content: bytes) -> None:
    """The whole file, or none. Raises: as `whole`."""
    with whole(path) as partial:
        partial.write_bytes(content)


class Store:
    """The folder `.work` of an atlas."""

    def __init__(self, folder: Path) -> None:
        self._work = folder / WORK

    def get(self, kind: str, name: str) -> FloatArray | None:
        """What was kept; None where it was not, or is damaged."""
        path = self._work / kind / f"{name}.npy"
        try:
            found = arrays.load(path)
        except (OSError, *arrays.DAMAGED):
            return None
        return np.asarray(found, np.float32)

    def put(self, kind: str, name: str, found: FloatArray) -> None:
        """Keep an array. Raises: as `whole`."""
        path = self._work / kind / f"{name}.npy"
        path.parent.mkdir(exist_ok=True)
        with whole(path) as partial, partial.open("wb") as file:
            np.save(file, found)


@contextmanager
def hold(folder: Path, model: str, weights_sha256: str) -> Iterator[Store]:
    """Hold a folder for one atlas, of one model; it is made where there is none. The hold ends with the process.

    Raises: InvalidArgument for a folder that holds something else, or the atlas of another model; FailedPrecondition
    while another process holds it; OSError.
    """
    owner = {"model": model, "weights_sha256": weights_sha256}
    work = folder / WORK
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("out", f"{folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not work.is_dir():
        raise InvalidArgument("out", f"{folder} holds something else than an atlas; choose another folder")
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise FailedPrecondition(
                f"{folder}: another atlas is being written there; wait for it, or choose another folder (--out)"
            ) from err
        found = _owner(work / OWNER)
        if found is not None and found != owner:
            raise InvalidArgument(
                "out",
                f"{folder} holds the atlas of {found.get('model')} (weights {str(found.get('weights_sha256'))[:12]}), "
                f"not of {model} (weights {weights_sha256[:12]}); choose another folder",
            )
        if found is None:
            write_bytes(work / OWNER, json.dumps(owner).encode())
        yield Store(folder)


def _owner(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def leave_only(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Remove the files of a folder whose names are not wanted, such as those of an earlier atlas."""
    for each in sorted(folder.iterdir()):
        if each.is_file() and not wanted(each.name):
            each.unlink()
