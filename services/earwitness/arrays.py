"""Arrays from files, npy and npz: what a header claims is weighed before any memory is taken for it."""

import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

MAGIC, ZIP_MAGIC = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
MAX_HEADER_BYTES = 10_000
"""NumPy's own bound, which it keeps only once it has read the header."""
MEMORY_SHARE = 0.5
"""Of this machine's memory that one file may take."""
DAMAGED = (ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)
"""What Python and NumPy make of damaged, encrypted or unusually packed archives."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def load(source: Path | BinaryIO, max_bytes: int | None = None) -> Any:
    """The array of an npy file, or the `NpzFile` of an npz, as `numpy.load` gives them, without objects.

    All arrays of a file together may take `max_bytes`, by default half of the memory of this machine or container.

    Raises: ValueError for other files, and for one that claims to hold more than that, or more than there is in it;
    OSError. Arrays of an npz are read when they are asked for; those that are damaged raise `DAMAGED` then.
    """
    limit = int(memory_bytes() * MEMORY_SHARE) if max_bytes is None else max_bytes
    with _opened(source) as file:
        start = file.read(len(MAGIC))
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if start == MAGIC:
            _weigh(file, size, limit, 0, "")
        elif start.startswith(ZIP_MAGIC):
            try:
                _weigh_members(file, limit)
            except DAMAGED as err:
                raise ValueError(str(err)) from err
        else:
            raise ValueError("it is no npy or npz file")
    return np.load(source, allow_pickle=False)


def memory_bytes() -> int:
    """The memory of this machine, or of the container that this runs in."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no container, or one without a limit
        found = min(found, int(CGROUP_LIMIT.read_text()))
    return found


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The file, and a seekable one where it was before."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        source.seek(0)
        yield source
        source.seek(0)


def _weigh_members(file: BinaryIO, limit: int) -> None:
    taken = 0
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                taken += _weigh(stream, member.file_size, limit, taken, f"{member.filename} ")


def _weigh(stream: IO[bytes], size: int, limit: int, taken: int, name: str) -> int:
    """The bytes of memory that an array of `size` bytes in a file claims, beside those `taken`. Raises: ValueError."""
    if not name or name.endswith(".npy "):
        count, dtype = _header(stream)
        claimed, held = count * dtype.itemsize, size - stream.tell()
        words = f"{name}claims {_bytes(claimed)} of {dtype}"
    else:
        claimed = held = size
        words = f"{name}claims {_bytes(claimed)}"
    if taken + claimed > limit:
        raise ValueError(f"{words}; with this machine's memory at most {_bytes(limit)} in all are read of a file")
    if claimed > held:
        raise ValueError(f"{words}, and holds {_bytes(held)}: it is cut off, or no such file")
    return claimed


def _header(stream: IO[bytes]) -> tuple[int, "np.dtype[Any]"]:
    """Elements of an npy file, and their type. Raises: ValueError."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # the third has names of fields in other scripts, and so no numbers
        raise ValueError(f"it is an npy file of format {version}; 1.0 and 2.0 are read")
    start = stream.tell()
    length = int.from_bytes(stream.read(2 if version == (1, 0) else 4), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {_bytes(length)}; one of an array of numbers has about 100 bytes")
    stream.seek(start)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    except (RecursionError, MemoryError) as err:  # of Python's parser
        raise ValueError("its header is none of an array") from err
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"it holds elements of type {dtype}; numbers and texts are read")
    if min(shape, default=0) < 0:
        raise ValueError(f"it claims the shape {shape}")
    return math.prod(shape), dtype


def _bytes(count: int) -> str:
    """In words."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if count < 1024 or unit == "PiB":
            return f"{count:.4g} {unit}"
        count /= 1024  # type: ignore[assignment]
    raise AssertionError
