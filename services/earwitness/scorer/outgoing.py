"""Statistics on their way out of the store, piece by piece: nobody holds them whole."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from earwitness.scorer.partials import ARRAYS, Form
from earwitness.scorer.references import Datatype
from earwitness.storage.blobs import Frame, frames
from earwitness.vocabulary.limits import MAX_CHUNK_BYTES

Read = Callable[[int, int], bytes]
"""The bytes of a version's state from a place on, so many or, at its end, fewer."""

_PIECE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Outgoing:
    """The bytes of statistics in their order, see `partials`: what their `sha256` is, and in which `frames` of the
    version's state they lie."""

    form: Form
    datatype: Datatype
    sha256: str
    frames: tuple[Frame, ...]

    @classmethod
    def of(cls, byte_count: int, read: Read) -> "Outgoing":
        """Reads a version's state of `byte_count` bytes once.

        Raises: StoreDamaged.
        """
        found = {frame.name: frame for frame in frames(byte_count, read)}
        form: Form = "rows" if "rows" in found else "moments"
        outgoing = tuple(found[name] for name in ARRAYS[form])
        digest = hashlib.sha256()
        for frame in outgoing:
            crc = crc32(frame.header)
            for start, count in _pieces(frame, _PIECE_BYTES):
                piece = read(start, count)
                crc = crc32(piece, crc)
                digest.update(piece)
            frame.require(crc)
        datatype: Datatype = "FP32" if outgoing[0].dtype == np.float32 else "FP64"
        return cls(form, datatype, digest.hexdigest(), outgoing)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Where each chunk begins in the state, and how many bytes it has."""
        for frame in self.frames:
            yield from _pieces(frame, MAX_CHUNK_BYTES)


def _pieces(frame: Frame, most: int) -> Iterator[tuple[int, int]]:
    end = frame.start + frame.byte_count
    for start in range(frame.start, end, most):
        yield start, min(most, end - start)
