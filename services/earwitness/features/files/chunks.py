"""AIFF, CAF, AU and SPHERE: how much sound their headers tell, against what is there.

libsndfile takes what is there of all but CAF, and says nothing. Sources: Apple's specifications of AIFF-C and of the
Core Audio Format.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from earwitness.features.files.parts import Foreign, Layout, Part, Piece, read_at, size_of

MAX_CHUNKS = 1_000
"""Chunks that are looked at: a file of thousands is none."""
_UNKNOWN_LONG = 1 << 60
_PCM_KINDS = frozenset(
    map(str.encode, ("NONE", "twos", "sowt", "raw ", "in24", "in32", "fl32", "FL32", "fl64", "FL64", "ulaw", "alaw"))
)


@dataclass(frozen=True)
class Chunk:
    """A chunk: its name, where its size stands, where its content begins, and how long that is told to be, in bytes."""

    name: bytes
    size_at: int
    start: int
    size: int


def look(source: BinaryIO, start: int = 0) -> Layout | None:
    """What a file of this kind holds; None for another kind. Raises: Foreign."""
    head = read_at(source, start, 16)
    found: Layout | None = None
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        found = _aiff(source, start)
    elif head[:4] == b"caff":
        found = _caf(source, start)
    elif head[:4] in (b".snd", b"dns."):
        found = _au(source, start, "big" if head[:4] == b".snd" else "little")
    elif head[:7] == b"NIST_1A":
        found = _sphere(source, start)
    else:
        return None
    return found or Layout([Part()])


def riff_chunks(source: BinaryIO, position: int, order: str) -> Iterator[Chunk]:
    end = size_of(source)
    for _ in range(MAX_CHUNKS):
        head = read_at(source, position, 8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little" if order == "<" else "big")
        yield Chunk(head[:4], position + 4, position + 8, size)
        position += 8 + size + size % 2
        if position >= end:
            return


def long_sound(
    source: BinaryIO,
    size_at: int,
    start: int,
    size: int,
    block_bytes: int,
    *,
    order: Literal["little", "big"] = "little",
    counted: int = 0,
    inside: int = 0,
) -> Layout:
    """A data chunk whose size has 8 bytes, mended where it is wrong.

    It says `size` beside `counted` bytes of its head, of which the first `inside` bytes are no sound.
    """
    held = size_of(source) - start
    if 0 < size <= held:
        return Layout([Part()])
    size = 0 if size >= _UNKNOWN_LONG else size
    pieces: list[Piece] = [(0, size_at), (held + counted).to_bytes(8, order), (start, start + held)]
    if size <= 0:
        return Layout([Part(pieces, doubt=torn(held - inside, block_bytes))])
    return Layout([cut(held - inside, size - inside, block_bytes, pieces)])


def _aiff(source: BinaryIO, start: int) -> Layout | None:
    promised: int | None = None
    for chunk in riff_chunks(source, start + 12, ">"):
        if chunk.name == b"COMM":
            content = read_at(source, chunk.start, 22)
            kind = content[18:22] if chunk.size >= 22 else b"NONE"
            promised = int.from_bytes(content[2:6], "big") if kind in _PCM_KINDS else None
        elif chunk.name == b"SSND":
            held = size_of(source) - chunk.start
            if chunk.size > held:
                part = cut(held - 8, chunk.size - 8)
                return Layout([replace(part, promised_count=promised, held_share=1.0) if promised else part])
            return Layout([Part(promised_count=promised or None)])
    return None


def _caf(source: BinaryIO, start: int) -> Layout | None:
    position, end, block_bytes, kind = start + 8, size_of(source), 0, b""
    for _ in range(MAX_CHUNKS):
        head = read_at(source, position, 12)
        if len(head) < 12:
            return None
        size = int.from_bytes(head[4:12], "big", signed=True)
        if head[:4] == b"desc":
            content = read_at(source, position + 12, 20)
            kind, block_bytes = content[8:12], int.from_bytes(content[16:20], "big")
        if head[:4] == b"data":
            if kind == b"alac" and size > end - position - 12:  # the decoder would go on with samples of its own making
                raise Foreign("ALAC in CAF that is cut off", is_sound=True)
            return long_sound(source, position + 4, position + 12, size, block_bytes, order="big", inside=4)
        if size < 0 or position + size > end:
            return None
        position += 12 + size
    return None


def _au(source: BinaryIO, start: int, order: str) -> Layout | None:
    header = read_at(source, start, 24)
    if len(header) < 24:
        return None
    offset, size, kind, _, channels = struct.unpack(f"{'>' if order == 'big' else '<'}5I", header[4:])
    end = size_of(source)
    held = end - start - offset
    sample_bytes = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(kind, 0)
    if size == 0 and held > 0:
        pieces: list[Piece] = [(0, start + 8), b"\xff" * 4, (start + 12, end)]
        return Layout([Part(pieces, doubt=torn(held, sample_bytes * channels))])
    if size == 0xFFFF_FFFF:
        return Layout([Part(doubt=torn(held, sample_bytes * channels))])
    if size > held:
        return Layout([cut(held, size, sample_bytes * channels)])
    return Layout([Part()])


def _sphere(source: BinaryIO, start: int) -> Layout | None:
    """NIST SPHERE, as LDC's corpora have it."""
    words = read_at(source, start, 1024).split()
    if any(b"shorten" in word for word in words):
        raise Foreign("SPHERE compressed by shorten", is_sound=True)
    facts = {name: value for name, _, value in zip(words, words[1:], words[2:], strict=False)}
    count = facts.get(b"sample_count", b"")
    return Layout([Part(promised_count=int(count) if count.isdigit() else None)])


def torn(held: int, block_bytes: int) -> str:
    return "it ends in the middle of a sample" if block_bytes and held % block_bytes else ""


def cut(held: int, size: int, block_bytes: int = 0, pieces: Sequence[Piece] = ()) -> Part:
    """A part that holds so many of the bytes of sound that it promises, in blocks of so many, if that is known."""
    held = max(0, held)
    whole = held - held % block_bytes if block_bytes and size % block_bytes == 0 else held
    return Part(pieces, held_share=whole / size, ending=f"it holds {held} of {size} bytes of sound")
