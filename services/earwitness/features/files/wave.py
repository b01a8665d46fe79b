"""WAV and those made of it: RF64 and BW64, for more than 4 GiB, and W64.

libsndfile takes what is there, and says nothing. Sources: EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64).
"""

import struct
from dataclasses import replace
from typing import BinaryIO

from earwitness.features.files import mpeg
from earwitness.features.files.chunks import MAX_CHUNKS, Chunk, cut, long_sound, riff_chunks, torn
from earwitness.features.files.parts import Layout, Part, Piece, read_at, size_of

_UNKNOWN = (range(0x7FFF_F000, 0x8000_0100), range(0xFFFF_FF00, 0x1_0000_0000))
"""Sizes that programs write which cannot go back to tell the right one."""
_MPEG_FORMATS = (0x50, 0x55)
_PCM_FORMATS = (1, 3, 6, 7, 0xFFFE)
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_END = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""How the names of its chunks go on after four letters, but for the first."""


def look(source: BinaryIO, start: int = 0) -> Layout | None:
    """What a file of this kind holds; None for another kind."""
    head = read_at(source, start, 16)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wave(source, start, head[:4]) or Layout([Part()])
    return (_wave64(source, start) or Layout([Part()])) if head == _W64_RIFF else None


def _wave(source: BinaryIO, start: int, kind: bytes) -> Layout | None:
    order = ">" if kind == b"RIFX" else "<"
    codec, block_bytes, ds64 = 0, 0, None
    for chunk in riff_chunks(source, start + 12, order):
        if chunk.name == b"ds64":
            ds64 = chunk.start
        elif chunk.name == b"fmt ":
            codec, block_bytes = _format(read_at(source, chunk.start, 16), order)
        elif chunk.name == b"data" and ds64 is not None and chunk.size == 0xFFFF_FFFF:
            size = int.from_bytes(read_at(source, ds64 + 8, 8), "little")
            layout = _rf64_sound(source, start, chunk, size, block_bytes)
            return _renamed(source, start, layout) if kind == b"BW64" else layout
        elif chunk.name == b"data":
            layout = _sound(source, chunk, block_bytes, order=order)
            if codec in _MPEG_FORMATS:
                return _mpeg(source, chunk, layout)
            return _renamed(source, start, layout) if kind == b"BW64" else layout
    return None


def _rf64_sound(source: BinaryIO, start: int, chunk: Chunk, size: int, block_bytes: int) -> Layout:
    """A data chunk whose size is told by another; where that tells nothing, it becomes one of a WAV."""
    end = size_of(source)
    held = end - chunk.start
    if size > held:
        return Layout([cut(held, size, block_bytes)])
    if size or not held:
        return Layout([Part()])
    told = min(held, 0xFFFF_FFFE).to_bytes(4, "little")
    pieces: list[Piece] = [b"RIFF", (start + 4, chunk.size_at), told, (chunk.start, end)]
    return Layout([Part(pieces, doubt=torn(held, block_bytes))])


def _renamed(source: BinaryIO, start: int, layout: Layout) -> Layout:
    """A BW64 as an RF64, which it is but for its name; libsndfile does not know it."""
    (part,) = layout.parts
    first, *rest = part.pieces or [(start, size_of(source))]
    if isinstance(first, bytes):
        return layout
    return Layout([replace(part, pieces=[b"RF64", (start + 4, first[1]), *rest])], layout.remarks)


def _format(content: bytes, order: str) -> tuple[int, int]:
    """Its codec, and the bytes of all channels' samples of a moment; 0 of compressed sound."""
    if len(content) < 16:
        return 0, 0
    codec, _, _, _, block_bytes, _ = struct.unpack(f"{order}HHIIHH", content)
    return int(codec), int(block_bytes) if codec in _PCM_FORMATS else 0


def _sound(source: BinaryIO, chunk: Chunk, block_bytes: int, *, order: str = "<") -> Layout:
    """A data chunk of 4 bytes' size; where that tells nothing, or too little, sound reaches to the end."""
    size, end = chunk.size, size_of(source)
    held = end - chunk.start
    if size > held:
        if any(size in each for each in _UNKNOWN):
            return Layout([Part(doubt=torn(held, block_bytes))])
        return Layout([cut(held, size, block_bytes)])
    after = chunk.start + size + size % 2
    left = end - after
    if left <= (max(1_000, block_bytes) if size else 8) or _is_chunk(source, after, end, order):
        return Layout([Part()])
    if _is_tag(source, after, end):
        return Layout([Part()])
    if size and _is_name(read_at(source, after, 4)):
        return Layout([Part()], [f"{left} bytes after its sound are no chunk, and passed over"])
    held = _last_chunk(source, after, end) - chunk.start
    told = min(held, 0xFFFF_FFFE).to_bytes(4, "little" if order == "<" else "big")
    part = Part([(0, chunk.size_at), told, (chunk.start, chunk.start + held)], doubt=torn(held, block_bytes))
    return Layout([part], [f"its header tells {size} bytes of sound, {held} follow and are used"] if size else [])


def _last_chunk(source: BinaryIO, start: int, end: int) -> int:
    """Where a chunk of texts begins that ends the file; else its end."""
    first = max(start, end - (1 << 16))
    tail = read_at(source, first, end - first)
    at = max(tail.rfind(b"LIST"), tail.rfind(b"id3 "))
    size = int.from_bytes(tail[at + 4 : at + 8], "little")
    return first + at if at >= 0 and first + at + 8 + size in (end - 1, end) else end


def _mpeg(source: BinaryIO, chunk: Chunk, layout: Layout) -> Layout:
    """MP3 in a WAV: its frames are counted; the decoder gets the file as it is where it does not leave some out."""
    found = mpeg.look(source, chunk.start, chunk.start + chunk.size if chunk.size else None)
    (outer,) = layout.parts
    if found is None:
        return layout
    if len(found.parts) == 1:
        inner = found.parts[0]
        least = inner.least_count if inner.endless else 0
        part = replace(outer, pieces=inner.pieces, endless=inner.endless, least_count=least, as_it_is=True)
        return Layout([part], [*layout.remarks, *found.remarks])
    return Layout(found.parts, [*layout.remarks, *found.remarks])


def _wave64(source: BinaryIO, start: int) -> Layout | None:
    position, end, block_bytes = start + 40, size_of(source), 0
    for _ in range(MAX_CHUNKS):
        head = read_at(source, position, 24)
        size = int.from_bytes(head[16:24], "little", signed=True) - 24
        if len(head) < 24 or head[4:16] != _W64_END:
            return None
        if head[:4] == b"fmt ":
            _, block_bytes = _format(read_at(source, position + 24, 16), "<")
        if head[:4] == b"data":
            return long_sound(source, position + 16, position + 24, size, block_bytes, counted=24)
        if size < 0 or position + size > end:
            return None
        position += 24 + size + -size % 8
    return None


def _is_chunk(source: BinaryIO, position: int, end: int, order: str) -> bool:
    """Whether a chunk begins there: a name of four letters, and a size that fits into the file."""
    head = read_at(source, position, 8)
    size = int.from_bytes(head[4:], "little" if order == "<" else "big")
    return len(head) == 8 and _is_name(head[:4]) and position + 8 + size <= end + 1


def _is_name(letters: bytes) -> bool:
    return all(32 <= letter < 127 for letter in letters)


def _is_tag(source: BinaryIO, position: int, end: int) -> bool:
    """Whether tags of other formats, or zeros, follow: no sound that is lost."""
    head = read_at(source, position, 1 << 16)
    return head.startswith((b"ID3", b"TAG", b"APETAGEX")) or not any(head)
