"""Named arrays as bytes for the database: each checked by a CRC, none of it executable.

One frame per array, frames one after another, everything little-endian and at multiples of 8 bytes:

    magic "EWAR" | version u8 | dtype u8 | rank u8 | 0 | name, 12 bytes | size u64 per dimension | CRC-32 u32 | values

The CRC covers the header before it and the values after it; zeros fill up the name and the end of the values.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from earwitness.storage.errors import StoreDamaged

_MAGIC = b"EWAR"
_VERSION = 1
_FIXED = struct.Struct("<4sBBBx12s")
_CRC = struct.Struct("<I")
_ALIGNMENT = 8
_USUAL_RANK = 2
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<f8"), 3: np.dtype("<i8"), 4: np.dtype("u1")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}

Array = NDArray[Any]
Read = Callable[[int, int], bytes | memoryview]
"""The bytes of a blob from a place on, so many or, at its end, fewer."""


@dataclass(frozen=True)
class Frame:
    """One array in a blob: the `byte_count` bytes of its values begin at `start`; `crc` is of `header` and values."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    byte_count: int
    header: bytes
    crc: int

    def require(self, crc: int) -> None:
        """Raises: StoreDamaged unless `crc`, that of the header and the values read, is the one written."""
        if crc != self.crc:
            raise StoreDamaged(f"the stored array at byte {self.start} is changed")


def encode(arrays: Mapping[str, Array]) -> bytes:
    """The arrays (float32, float64, int64 or uint8, of any rank) under their names, 12 bytes of UTF-8 at most.

    Raises: KeyError for another dtype.
    """
    frames: list[bytes | memoryview] = []
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<")
        header = _FIXED.pack(_MAGIC, _VERSION, _CODES[dtype], array.ndim, name.encode())
        values = np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8).data
        header += struct.pack(f"<{array.ndim}Q", *array.shape)
        frames += [header, _CRC.pack(crc32(values, crc32(header))), values, bytes(-len(values) % _ALIGNMENT)]
    return b"".join(frames)


def decode(blob: bytes) -> dict[str, Array]:
    """The arrays of `encode`, read-only: they share the blob's bytes.

    Raises: StoreDamaged when the bytes are cut, changed or of an unknown format.
    """
    arrays: dict[str, Array] = {}
    view = memoryview(blob)
    for frame in frames(len(blob), lambda start, count: view[start : start + count]):
        values = view[frame.start : frame.start + frame.byte_count]
        frame.require(crc32(values, crc32(frame.header)))
        arrays[frame.name] = np.frombuffer(values, frame.dtype).reshape(frame.shape)
    return arrays


def require_sound(blob: bytes) -> None:
    """Raises: StoreDamaged when the bytes are not what `encode` made."""
    decode(blob)


def frames(byte_count: int, read: Read) -> Iterator[Frame]:
    """What is where in a blob of `byte_count` bytes, of which nothing is read but the headers.

    Raises: StoreDamaged when it is cut or of an unknown format; what its values are is not looked at.
    """
    if not byte_count:
        raise StoreDamaged("where stored arrays should be there is nothing")
    start = 0
    while start < byte_count:
        header = bytes(read(start, _FIXED.size + 8 * _USUAL_RANK + _CRC.size))
        try:
            magic, version, code, rank, label = _FIXED.unpack_from(header)
            crc_at = _FIXED.size + 8 * rank
            if rank > _USUAL_RANK:
                header = bytes(read(start, crc_at + _CRC.size))
            shape = struct.unpack_from(f"<{rank}Q", header, _FIXED.size)
            (crc,) = _CRC.unpack_from(header, crc_at)
        except struct.error as err:
            raise StoreDamaged(f"the header of a stored array is cut at byte {start}") from err
        if magic != _MAGIC or version != _VERSION or code not in _DTYPES:
            raise StoreDamaged(f"no stored array of a known format at byte {start}")
        dtype = _DTYPES[code]
        values_at = start + crc_at + _CRC.size
        size = math.prod(shape) * dtype.itemsize
        if values_at + size > byte_count:
            raise StoreDamaged(f"the stored array at byte {start} is cut")
        name = label.rstrip(b"\0").decode(errors="replace")
        yield Frame(name, dtype, shape, values_at, size, header[:crc_at], crc)
        start = values_at + size
        start += -start % _ALIGNMENT
