"""Named arrays as bytes for the database: each checked by a CRC, none of it executable.

One frame per array, frames one after another, everything little-endian and at multiples of 8 bytes:

    magic "EWAR" | version u8 | dtype u8 | rank u8 | 0 | name, 12 bytes | size u64 per dimension | CRC-32 u32 | values

The CRC covers the header before it and the values after it; zeros fill up the name and the end of the values.
"""

import math
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from earwitness.storage.errors import CorruptBlob

_MAGIC = b"EWAR"
_VERSION = 1
_FIXED = struct.Struct("<4sBBBx12s")
_CRC = struct.Struct("<I")
_ALIGNMENT = 8
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<f8"), 3: np.dtype("<i8"), 4: np.dtype("u1")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}

Array = NDArray[Any]


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

    Raises: CorruptBlob when the bytes are cut, changed or of an unknown format.
    """
    arrays: dict[str, Array] = {}
    view = memoryview(blob)
    start = 0
    while start < len(blob):
        try:
            magic, version, code, rank, label = _FIXED.unpack_from(blob, start)
            crc_at = start + _FIXED.size + 8 * rank
            shape = struct.unpack_from(f"<{rank}Q", blob, start + _FIXED.size)
            (crc,) = _CRC.unpack_from(blob, crc_at)
        except struct.error as err:
            raise CorruptBlob(f"the header of a stored array is cut at byte {start}") from err
        if magic != _MAGIC or version != _VERSION or code not in _DTYPES:
            raise CorruptBlob(f"no stored array of a known format at byte {start}")
        dtype = _DTYPES[code]
        values_at = crc_at + _CRC.size
        end = values_at + math.prod(shape) * dtype.itemsize
        if end > len(blob) or crc32(view[values_at:end], crc32(view[start:crc_at])) != crc:
            raise CorruptBlob(f"the stored array at byte {start} is cut or changed")
        arrays[label.rstrip(b"\0").decode()] = np.frombuffer(view[values_at:end], dtype).reshape(shape)
        start = end + -end % _ALIGNMENT
    return arrays
