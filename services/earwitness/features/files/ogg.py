"""Ogg: one stream after another (chained) or beside others (multiplexed), and what is left of a page that is cut off.

libsndfile decodes the first of them, and nothing of a page that is incomplete. Source: RFC 3533.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from earwitness.features.files import flac
from earwitness.features.files.parts import Foreign, Layout, Part, Piece, read_at

MAGIC = b"OggS"
_HEADER_BYTES = 27
_BEGINS, _ENDS = 2, 4
_NEVER = 1 << 40
"""A time, in samples, that no page reaches: of a page that was cut it is not known."""
_CODECS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC", b"Speex   ": "Speex"}


@dataclass(frozen=True)
class _Page:
    """One page: where it begins, how much is before its body, and the body's length, all in bytes."""

    start: int
    head: bytes
    body_bytes: int

    @property
    def body(self) -> int:
        return self.start + len(self.head)

    @property
    def end(self) -> int:
        return self.body + self.body_bytes

    @property
    def flags(self) -> int:
        return self.head[5]

    @property
    def serial(self) -> bytes:
        return self.head[14:18]

    @property
    def number(self) -> int:
        return int.from_bytes(self.head[18:22], "little")


@dataclass
class _Stream:
    """One stream of a link: its codec, its pages, and how it ends."""

    codec: str
    pages: list[_Page] = field(default_factory=list)
    missing_pages: int = 0
    ended: bool = False

    def add(self, page: _Page) -> None:
        if self.pages:
            self.missing_pages += max(0, page.number - self.pages[-1].number - 1)
        self.pages.append(page)
        self.ended = bool(page.flags & _ENDS)


def look(source: BinaryIO, end: int) -> Layout:
    """The sound streams of the first `end` bytes of an Ogg file, one of each link.

    Raises: Foreign where there is none that can be decoded.
    """
    links, remarks = list[dict[bytes, _Stream]](), list[str]()
    for page in _pages(source, end):
        if page.flags & _BEGINS:
            if not links or any(len(stream.pages) > 1 for stream in links[-1].values()):
                links.append({})
            first = read_at(source, page.body, 8)
            codec = next((name for mark, name in _CODECS.items() if first.startswith(mark)), "")
            links[-1][page.serial] = _Stream(codec)
        if links and page.serial in links[-1]:
            links[-1][page.serial].add(page)
    parts = []
    for link in links:
        sounds = [stream for stream in link.values() if stream.codec]
        if not sounds:
            continue
        if len(sounds) > 1:
            remarks.append(f"holds {len(sounds)} sounds beside each other, of which the first is taken")
        if sounds[0].missing_pages:
            remarks.append(f"lacks {sounds[0].missing_pages} pages of its middle")
        if sounds[0].codec == "Speex":
            raise Foreign("Speex in Ogg", is_sound=True)
        alone = len(links) == len(link) == 1
        parts.append(_part(source, sounds[0], end, alone=alone))
    if not parts:
        raise Foreign("Ogg without sound that is known", is_sound=True)
    return Layout(parts, remarks)


def _pages(source: BinaryIO, end: int) -> Iterator[_Page]:
    """Every page, the last of which may reach beyond the file."""
    position = 0
    while position + _HEADER_BYTES <= end:
        head = read_at(source, position, _HEADER_BYTES + 255)
        if not head.startswith(MAGIC):
            position = _next_mark(source, position + 1, end)
            continue
        head = head[: _HEADER_BYTES + head[_HEADER_BYTES - 1]]
        page = _Page(position, head, sum(head[_HEADER_BYTES:]))
        yield page
        position = page.end


def _next_mark(source: BinaryIO, position: int, end: int) -> int:
    while position < end:
        block = read_at(source, position, 1 << 16)
        if (at := block.find(MAGIC)) >= 0:
            return position + at
        position += max(1, len(block) - len(MAGIC) + 1)
    return end


def _part(source: BinaryIO, stream: _Stream, end: int, *, alone: bool) -> Part:
    ending, doubt = "", "" if stream.ended else "its end mark is missing"
    pages: list[Piece] = [(page.start, page.end) for page in stream.pages]
    bodies: list[Piece] = [(page.body, page.end) for page in stream.pages]
    if stream.pages[-1].end > end:
        ending, doubt, alone = "its last page is incomplete", "", False
        rest = _complete_packets(source, stream.pages[-1], end)
        pages[-1:], bodies[-1:] = ([rest[0] + rest[1]], [rest[1]]) if rest else ([], [])
    if stream.codec == "FLAC":
        bodies[:1] = [(stream.pages[0].body + 9, stream.pages[0].end)]  # how FLAC is put into Ogg comes before it
        found = flac.of_pieces(source, bodies)
        return Part(found.pieces or bodies, promised_count=found.promised_count, ending=ending, doubt=doubt)
    return Part(() if alone else pages, ending=ending, doubt=doubt)


def _complete_packets(source: BinaryIO, page: _Page, end: int) -> tuple[bytes, bytes] | None:
    """What is complete of a page that the file ends in, as a page: its head and its body."""
    lacing, length, kept, kept_bytes = page.head[_HEADER_BYTES:], 0, 0, 0
    for index, segment in enumerate(lacing, start=1):
        length += segment
        if page.body + length > end:
            break
        if segment < 255:
            kept, kept_bytes = index, length
    if not kept:
        return None
    body = read_at(source, page.body, kept_bytes)
    head = page.head[:5] + bytes([page.flags & ~_ENDS]) + struct.pack("<q", _NEVER) + page.head[14:22]
    lacing = bytes([kept]) + lacing[:kept]
    checksum = struct.pack("<I", page_checksum(head + bytes(4) + lacing + body))
    return head + checksum + lacing, body


def page_checksum(content: Sequence[int]) -> int:
    """The checksum of a page: CRC-32 of the polynomial 0x04C11DB7, not reflected, from 0."""
    crc = 0
    for byte in content:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
    return crc


def _crc_of(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


_CRC_TABLE = [_crc_of(byte) for byte in range(256)]
