"""Receives one shard in chunks, in bounded memory: checks it, and keeps what the reference needs."""

import hashlib
from typing import Protocol

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import FloatRows, collector
from earwitness.scorer.references import LARGEST, NewReference, Shard
from earwitness.vocabulary.limits import MAX_CHUNK_BYTES, MAX_SHARD_BYTES

_BLOCK_BYTES = 4 * 2**20
"""Contents are looked at once there are this many bytes of them: small chunks cost no more than large ones."""


class Content(Protocol):
    """What a shard's bytes are: rows, or statistics of rows. Printed, it says so."""

    byte_count: int
    """All that are expected."""
    item_bytes: int
    """Blocks hold whole items, such as a row."""

    def add(self, block: bytes) -> None:
        """Takes the next items. Raises: InvalidArgument for one that is not allowed."""

    def body(self) -> bytes:
        """What the store keeps, once every block is added. Raises: InvalidArgument for what they are as a whole."""


class Intake:
    """One shard on its way in: `take` every chunk; `hash` and `digest` the blocks this returns, in order; `finish`.

    `take` costs next to nothing; the others compute: a block may be hashed in one thread and digested in another while
    more is taken.
    """

    def __init__(self, shard: Shard, content: Content) -> None:
        self._shard = shard
        self._content = content
        self._received = 0
        self._buffer = bytearray()
        self._hash = hashlib.sha256()

    def take(self, chunk: bytes) -> bytes:
        """The whole items received since the last block, once there are enough of them; else nothing.

        Raises: InvalidArgument for a chunk that is too large, or more bytes than announced.
        """
        if len(chunk) > MAX_CHUNK_BYTES:
            raise InvalidArgument("chunk", f"has {len(chunk)} bytes; at most {MAX_CHUNK_BYTES}")
        self._received += len(chunk)
        if self._received > self._content.byte_count:
            raise InvalidArgument("chunk", f"bytes beyond {self._announced()}")
        self._buffer += chunk
        if len(self._buffer) < _BLOCK_BYTES and self._received < self._content.byte_count:
            return b""
        whole = len(self._buffer) // self._content.item_bytes * self._content.item_bytes
        block = bytes(memoryview(self._buffer)[:whole])
        del self._buffer[:whole]
        return block

    def hash(self, block: bytes) -> None:
        """Adds a block to the digest of the shard."""
        self._hash.update(block)

    def digest(self, block: bytes) -> None:
        """Looks at a block and keeps what is needed of it.

        Raises: InvalidArgument for an item that is not allowed.
        """
        self._content.add(block)

    def finish(self) -> bytes:
        """What the store keeps of the shard, once all blocks are digested.

        Raises: InvalidArgument when bytes are missing, are not those announced, or are not allowed as a whole.
        """
        if self._received < self._content.byte_count:
            raise InvalidArgument("chunk", f"the stream ended after {self._received} bytes of {self._announced()}")
        digest = self._hash.hexdigest()
        if digest != self._shard.sha256:
            raise InvalidArgument(
                "header.sha256", f"is {self._shard.sha256}, the bytes received have {digest}; nothing was counted"
            )
        return self._content.body()

    def _announced(self) -> str:
        return f"{self._content.byte_count} ({self._content})"


class ShardRows:
    """Rows of activations of a shard, [row_count, units of all layers of `of`] of its datatype."""

    def __init__(self, shard: Shard, row_count: int, of: NewReference) -> None:
        self._layout = of.layout
        self._unit_count = self._layout.width
        self.item_bytes = self._unit_count * shard.dtype.itemsize
        self.byte_count = row_count * self.item_bytes
        self._shard = shard
        self._row_count = row_count
        self._collector = collector(self._layout.in_rows(of.selection), self._unit_count)
        self._row = 0

    def __str__(self) -> str:
        return f"{self._row_count} rows of {self._unit_count} {self._shard.datatype} units"

    def add(self, block: bytes) -> None:
        """Raises: InvalidArgument for a value that is not finite, or beyond the range of FP32."""
        values = np.frombuffer(block, dtype=self._shard.dtype).reshape(-1, self._unit_count)
        rows = values.astype(self._shard.dtype.newbyteorder("="), copy=False)
        self._require(rows, self._row)
        self._collector.add_rows(rows, self._shard.shard_id, self._row)
        self._row += len(rows)

    def body(self) -> bytes:
        """What the collector kept."""
        return self._collector.body()

    def _require(self, rows: FloatRows, first_row: int) -> None:
        allowed = np.isfinite(rows) if rows.dtype == np.float32 else np.abs(rows) <= LARGEST
        if not allowed.all():
            row, unit = np.argwhere(~allowed)[0]
            raise InvalidArgument(
                "chunk",
                f"row {first_row + row}, {self._layout.words(unit)} is {rows[row, unit]}; every value must be "
                f"finite, at most {LARGEST:g}",
            )


def activations(shard: Shard, of: NewReference) -> ShardRows:
    """A shard of activations for a reference.

    Raises: InvalidArgument when it is too large.
    """
    unit_count = of.layout.width
    row_bytes = unit_count * shard.dtype.itemsize
    byte_count = shard.row_count * row_bytes
    if byte_count > MAX_SHARD_BYTES:
        most = MAX_SHARD_BYTES // row_bytes
        raise InvalidArgument(
            "header.row_count",
            f"is {shard.row_count}; {unit_count} {shard.datatype} units a row make {byte_count} bytes, a shard has at "
            f"most {MAX_SHARD_BYTES}: send shards of at most {most} rows",
        )
    return ShardRows(shard, shard.row_count, of)
