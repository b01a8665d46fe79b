"""Reads the arrays of a TensorFlow checkpoint without TensorFlow.

An index, which is a sorted table of name → BundleEntryProto in blocks of prefix-compressed keys, says where in one data
file each array's bytes lie. Source: tensorflow/core/util/tensor_bundle and LevelDB's doc/table_format.md.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOOTER_BYTES = 48
TABLE_MAGIC = 0xDB4775248B80FB57
FLOAT32 = 1
_UNCOMPRESSED = 0


def read_arrays(index: Path, data: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 arrays of a checkpoint in one data file, by name.

    Raises: ValueError when the index is not one, or is compressed; OSError.
    """
    table = index.read_bytes()
    if len(table) < FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != TABLE_MAGIC:
        raise ValueError(f"{index} is no index of a TensorFlow checkpoint")
    contents = data.read_bytes()
    arrays = {}
    footer = table[-FOOTER_BYTES:]
    _, at = _handle(footer, 0)  # of the metadata, which hold nothing here
    blocks, _ = _handle(footer, at)
    for _, value in _entries(table, blocks):
        block, _ = _handle(value, 0)
        for key, entry in _entries(table, block):
            fields = dict(_fields(entry))
            if key and fields.get(1) == FLOAT32:  # the entry without a name is the header
                offset, size = _integer(fields, 4), _integer(fields, 5)
                values = np.frombuffer(contents[offset : offset + size], "<f4")
                arrays[key.decode()] = values.reshape(_shape(fields.get(2, b"")))
    return arrays


def _entries(table: bytes, block: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block: (bytes shared with the key before, bytes of its own, bytes of the value)."""
    start, size = block
    if table[start + size] != _UNCOMPRESSED:
        raise ValueError("the index is compressed; only plain ones are read here")
    content = table[start : start + size]
    restarts = struct.unpack("<I", content[-4:])[0]
    at, end, key = 0, size - 4 * (restarts + 1), b""
    while at < end:
        shared, at = _varint(content, at)
        own, at = _varint(content, at)
        length, at = _varint(content, at)
        key = key[:shared] + content[at : at + own]
        at += own
        yield key, content[at : at + length]
        at += length


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size), and where reading goes on."""
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protobuf message's fields; fixed-width ones as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        length = {1: 8, 5: 4}.get(tag & 7)
        if length is None:
            length, at = _varint(message, at)
        yield tag >> 3, message[at : at + length]
        at += length


def _shape(message: int | bytes) -> list[int]:
    """The sizes in a TensorShapeProto; a size of 0 or 1 may be left out of its dimension."""
    sizes = (
        dict(_fields(each)) for number, each in _fields(_bytes(message)) if number == 2 and isinstance(each, bytes)
    )
    return [_integer(size, 1) for size in sizes]


def _integer(fields: dict[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise ValueError(f"field {number} of the index is no number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a shape of the index is no message")
    return value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
