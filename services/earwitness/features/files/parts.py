"""A sound file as the decoder is to see it: parts, each a stretch of the file or several, with what they promise."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

Range = tuple[int, int]
"""First byte, and the one after the last."""
Piece = bytes | Range

_PRETENDED = 1_000
"""How many times longer than it is an endless view says to be."""
_TAIL_BYTES = 128
"""Decoders of MP3 look for a tag in so many last bytes."""


@dataclass(frozen=True)
class Part:
    """One stream of samples of a sound file.

    `pieces` are the bytes that the decoder gets, one after the other; without any it gets the file as it is. An
    `endless` part has no count that the decoder could go by, and is read for as long as there are samples.

    `promised_count` is how many samples the file says that there are, and `held_share` how much of the bytes that it
    promises it holds; neither of a part whose length is not told. `ending` says why it is cut off, if it is, `doubt`
    why it may be. `least_count` is what is there at least, counted without decoding: where the decoder makes do with
    less of a file that it may get `as_it_is`, it gets `pieces` after all. Of a file of no kind that is `known` here
    nothing is told.
    """

    pieces: Sequence[Piece] = ()
    endless: bool = False
    promised_count: int | None = None
    held_share: float = 1.0
    ending: str = ""
    doubt: str = ""
    least_count: int = 0
    as_it_is: bool = False
    known: bool = True


@dataclass(frozen=True)
class Layout:
    """What a file holds; `remarks` are on what is in it and is not decoded."""

    parts: Sequence[Part]
    remarks: Sequence[str] = ()

    @property
    def plain(self) -> bool:
        """Whether the decoder gets the file, whole and unaltered."""
        return len(self.parts) == 1 and (not self.parts[0].pieces or self.parts[0].as_it_is)


class Foreign(ValueError):
    """A file that libsndfile does not decode; the message says what it is, and `is_sound` whether others decode it."""

    def __init__(self, words: str, *, is_sound: bool) -> None:
        super().__init__(words)
        self.is_sound = is_sound


def read_at(source: BinaryIO | io.RawIOBase, position: int, count: int) -> bytes:
    """`count` bytes from `position`, fewer at the end of the file."""
    source.seek(position)
    return source.read(count) or b""


def size_of(source: BinaryIO) -> int:
    return source.seek(0, io.SEEK_END)


class View(io.RawIOBase):
    """Pieces of a file as a file of their own. An endless one says to be far longer than it is, and ends all the same.

    libsndfile reads no further than the count that libmpg123 guesses from the length of the file and its first frame,
    so that of an MP3 without a count it would leave out what a lower bit rate holds.
    """

    def __init__(self, source: BinaryIO, pieces: Sequence[Piece], *, endless: bool = False) -> None:
        super().__init__()
        self._source, self._pieces = source, pieces
        lengths = [len(each) if isinstance(each, bytes) else each[1] - each[0] for each in pieces]
        self._starts = [0, *accumulate(lengths)]
        self._said = self._starts[-1] * _PRETENDED + _TAIL_BYTES if endless else self._starts[-1]
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._said}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills the buffer, for whoever reads takes fewer bytes for the end."""
        target, filled = memoryview(buffer).cast("B"), 0
        while filled < len(target) and self._at < self._starts[-1]:
            index = bisect_right(self._starts, self._at) - 1
            inside, piece = self._at - self._starts[index], self._pieces[index]
            wanted = min(len(target) - filled, self._starts[index + 1] - self._at)
            if isinstance(piece, bytes):
                got = piece[inside : inside + wanted]
            else:
                got = read_at(self._source, piece[0] + inside, wanted)
            if not got:
                break
            target[filled : filled + len(got)] = got
            filled += len(got)
            self._at += len(got)
        if not filled and self._starts[-1] < self._said - _TAIL_BYTES <= self._at:  # the pretended end holds no tag
            filled = min(len(target), self._said - self._at)
            target[:filled] = bytes(filled)
            self._at += filled
        return filled
