"""FLAC, bare or in Ogg: where a count of samples is missing, or too small, it is taken from the last frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from earwitness.features.files.parts import Layout, Part, Piece, Range, View, read_at, size_of

MAGIC = b"fLaC"
_SECOND = b"fLaC\x00\x00\x00\x22"
"""Where another file begins in one: the mark, and the header of the block that always comes first."""
_STREAM_INFO_BYTES = 42
_TAIL_BYTES = 1 << 20
_BLOCK_SIZES = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}


def look(source: BinaryIO, start: int, end: int) -> Layout:
    """The streams of a FLAC file, which begins at `start` (after a tag); others are looked for up to `end`."""
    firsts = [start]
    position, block = start + 4, b""
    while position < end:
        block = read_at(source, position, _TAIL_BYTES + len(_SECOND))
        at = block.find(_SECOND)
        firsts += [position + at] if at >= 0 else []
        position += at + 4 if at >= 0 else _TAIL_BYTES
    spans: list[Range] = list(zip(firsts, [*firsts[1:], size_of(source)], strict=True))
    if len(spans) == 1:
        return Layout([of_pieces(source, [*spans])])
    found = [(of_pieces(source, [span]), span) for span in spans]
    return Layout([part if part.pieces else replace(part, pieces=[span]) for part, span in found])


def of_pieces(source: BinaryIO, pieces: Sequence[Piece]) -> Part:
    """A stream that is in these pieces. It has none where its count needs no correction."""
    view = View(source, pieces)
    info = _StreamInfo.read(view)
    if info is None or not info.sync:
        return Part(ending="it ends before its first sound")
    last = _end_of_last_frame(view, info)
    if info.total >= last > 0 or (info.total and not last):
        return Part(promised_count=info.total)
    total = last or (1 << 36) - 1
    head = read_at(view, 0, _STREAM_INFO_BYTES)
    mended = bytes([head[21] & 0xF0 | total >> 32]) + (total & 0xFFFFFFFF).to_bytes(4, "big")
    rest = _without(pieces, 26)
    return Part(pieces=[head[:21] + mended, *rest], promised_count=last or None)


def _without(pieces: Sequence[Piece], count: int) -> list[Piece]:
    """The pieces but for the first `count` bytes."""
    left = list[Piece]()
    for piece in pieces:
        length = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
        gone = min(count, length)
        count -= gone
        if gone < length:
            left.append(piece[gone:] if isinstance(piece, bytes) else (piece[0] + gone, piece[1]))
    return left


@dataclass(frozen=True)
class _StreamInfo:
    block_size: int
    total: int
    first_frame: int
    sync: bytes
    codes: tuple[int, int]
    """Of the rate and of the bits of a sample, as every frame says them."""

    @classmethod
    def read(cls, view: View) -> "_StreamInfo | None":
        head = read_at(view, 0, _STREAM_INFO_BYTES)
        if len(head) < _STREAM_INFO_BYTES or head[4] & 0x7F:
            return None
        position, block = 4, head[4:8]
        while not block[0] & 0x80:
            position += 4 + int.from_bytes(block[1:4], "big")
            block = read_at(view, position, 4)
            if len(block) < 4:
                return None
        first = position + 4 + int.from_bytes(block[1:4], "big")
        frame = read_at(view, first, 4)
        total = (head[21] & 0x0F) << 32 | int.from_bytes(head[22:26], "big")
        if len(frame) < 4:
            return cls(0, total, first, b"", (0, 0))
        return cls(int.from_bytes(head[8:10], "big"), total, first, frame[:2], _codes(frame))


def _end_of_last_frame(view: View, info: _StreamInfo) -> int:
    """The number of samples up to the end of the last frame that begins in the file; 0 where none is found."""
    end = view.seek(0, 2)
    start = max(info.first_frame, end - _TAIL_BYTES)
    tail = read_at(view, start, end - start)
    at = tail.rfind(info.sync)
    while at >= 0:
        if found := _frame_end(tail[at : at + 16], info):
            return found
        at = tail.rfind(info.sync, 0, at)
    return 0


def _frame_end(head: bytes, info: _StreamInfo) -> int:
    """Where the frame of this header ends, in samples; 0 for what is no header. Source: RFC 9639, section 9.1."""
    if len(head) < 6 or _codes(head) != info.codes or head[3] >> 4 > 10:
        return 0
    size_code, rate_code = head[2] >> 4, head[2] & 0x0F
    following = next((count for count in range(7) if not head[4] << count & 0x80), 7)
    if size_code == 0 or rate_code == 15 or following in (1, 7):
        return 0
    following = max(0, following - 1)
    number = head[4] & (0x7F if not following else 0x3F >> following)
    at = 5 + following
    for byte in head[5:at]:
        number = number << 6 | byte & 0x3F
    size = _BLOCK_SIZES.get(size_code, 0)
    if not size:
        size = int.from_bytes(head[at : at + size_code - 5], "big") + 1
        at += size_code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if len(head) <= at or _crc8(head[:at]) != head[at]:
        return 0
    return size + (number if head[1] & 1 else number * info.block_size)


def _codes(head: bytes) -> tuple[int, int]:
    return head[2] & 0x0F, head[3] & 0x0F


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc
