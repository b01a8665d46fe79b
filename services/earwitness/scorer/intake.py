"""Receives the rows of one shard in chunks, in bounded memory: checks them, and keeps what the reference needs."""

import hashlib

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import Collector
from earwitness.scorer.references import BYTES_PER_VALUE, MAX_CHUNK_BYTES, Shard, require_shard_size

_BLOCK_BYTES = 4 * 2**20
"""Rows are looked at once there are this many bytes of them: small chunks cost no more than large ones."""


class Intake:
    """One shard on its way in: `take` every chunk; `hash` and `digest` the blocks this returns, in order; `finish`.

    `take` costs next to nothing; the others compute: a block may be hashed in one thread and digested in another while
    more is taken.
    """

    def __init__(self, shard: Shard, unit_count: int, collector: Collector) -> None:
        """Raises: InvalidArgument when the shard is too large."""
        self._shard = shard
        self._unit_count = unit_count
        self._collector = collector
        self._expected = require_shard_size(shard, unit_count)
        self._received = 0
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._row = 0

    def take(self, chunk: bytes) -> bytes:
        """The whole rows received since the last block, once there are enough of them; else nothing.

        Raises: InvalidArgument for a chunk that is too large, or more bytes than announced.
        """
        if len(chunk) > MAX_CHUNK_BYTES:
            raise InvalidArgument("chunk", f"has {len(chunk)} bytes; at most {MAX_CHUNK_BYTES}")
        self._received += len(chunk)
        if self._received > self._expected:
            raise InvalidArgument("chunk", f"bytes beyond {self._announced()}")
        self._buffer += chunk
        if len(self._buffer) < _BLOCK_BYTES and self._received < self._expected:
            return b""
        row_bytes = self._unit_count * BYTES_PER_VALUE
        whole = len(self._buffer) // row_bytes * row_bytes
        block = bytes(memoryview(self._buffer)[:whole])
        del self._buffer[:whole]
        return block

    def hash(self, block: bytes) -> None:
        """Adds a block to the digest of the shard."""
        self._hash.update(block)

    def digest(self, block: bytes) -> None:
        """Hands a block of rows to the collector.

        Raises: InvalidArgument for a value that is not finite.
        """
        rows = np.frombuffer(block, dtype="<f4").reshape(-1, self._unit_count)
        finite = np.isfinite(rows)
        if not finite.all():
            row, unit = np.argwhere(~finite)[0]
            raise InvalidArgument(
                "chunk", f"row {self._row + row}, unit {unit} is {rows[row, unit]}; every value must be finite"
            )
        self._collector.add_rows(rows.astype(np.float32, copy=False), self._shard.shard_id, self._row)
        self._row += len(rows)

    def finish(self) -> bytes:
        """What the store keeps of the shard, once all blocks are digested.

        Raises: InvalidArgument when bytes are missing or are not those announced.
        """
        if self._received < self._expected:
            raise InvalidArgument("chunk", f"the stream ended after {self._received} bytes of {self._announced()}")
        digest = self._hash.hexdigest()
        if digest != self._shard.sha256:
            raise InvalidArgument(
                "header.sha256", f"is {self._shard.sha256}, the bytes received have {digest}; nothing was counted"
            )
        return self._collector.body()

    def _announced(self) -> str:
        return f"{self._expected} ({self._shard.row_count} rows of {self._unit_count} FP32 units)"
