"""MPEG audio (MP3 and its layers I and II): counted frame by frame, whatever its first frame says or lets guess.

Source: ISO/IEC 11172-3 and 13818-3 for frames; the Xing, Info, LAME and VBRI headers as their encoders write them.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from earwitness.features.files.parts import Layout, Part, Range, read_at, size_of

_KBPS = {
    (3, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by MPEG version (2 also for 2.5) and layer; II and III of version 2 share theirs."""
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SAME_STREAM = 0xFFFE0C00
"""What the headers of a stream share: version, layer and rate."""
_READ_BYTES = 64
_IN_A_ROW = 3
"""Frames that have to follow each other where a stream is looked for."""
_NEGLIGIBLE_JUNK_BYTES = 1_000
"""libmpg123 passes over so many bytes between frames."""


@dataclass(frozen=True)
class _Header:
    """A frame's length in bytes (0: free format), its samples, and where in it a Xing header would be."""

    length: int
    samples: int
    xing: int
    padding: int
    layer: int


@dataclass
class _Stream:
    """Frames of one encoder run: where they are, how many, and what the frame before them says of them."""

    key: int
    samples: int
    layer: int
    info: bytes = b""
    info_at: int = 0
    told: int | None = None
    ranges: list[Range] = field(default_factory=list)
    count: int = 0
    cut: bool = False

    def add(self, start: int, end: int) -> None:
        if self.ranges and self.ranges[-1][1] == start:
            self.ranges[-1] = (self.ranges[-1][0], end)
        else:
            self.ranges.append((start, end))
        self.count += 1


def look(source: BinaryIO, start: int = 0, end: int | None = None) -> Layout | None:
    """The streams of frames between two bytes of a file; None where there are none."""
    end = size_of(source) if end is None else min(end, size_of(source))
    walk = _Walk(source, start, _without_tags(source, end))
    walk.run()
    streams = [stream for stream in walk.streams if stream.ranges]
    if not streams:
        return None
    alone = len(walk.streams) == 1 and walk.largest_junk <= _NEGLIGIBLE_JUNK_BYTES
    remarks = list[str]()
    if len(streams) < len(walk.streams):
        remarks.append("may be cut off: a part of it has a head and no sound")
    if walk.junk_bytes > 2 * _READ_BYTES:
        remarks.append(f"{walk.junk_bytes} bytes between its frames are no sound, and passed over")
    return Layout([_part(stream, alone=alone) for stream in streams], remarks)


def _part(stream: _Stream, *, alone: bool) -> Part:
    doubt = "its last frame is incomplete" if stream.cut else ""
    told, least = stream.told, stream.count * stream.samples
    promised = None
    if told is not None and stream.count < told - 1:  # some encoders count the frame that tells
        promised = told * stream.samples - _dropped(stream)
    if told is None or not stream.info:
        as_it_is = alone and told is None
        return Part([*stream.ranges], True, promised, doubt=doubt, least_count=least, as_it_is=as_it_is)
    if stream.count > told:  # the decoder would stop at what is told
        return Part([_with_count(stream), *stream.ranges], doubt=doubt)
    return Part([stream.info, *stream.ranges], False, promised, doubt=doubt, as_it_is=alone)


def _lame(stream: _Stream) -> int:
    """Where an Info frame tells the samples that encoders add, 3 bytes; 0 where it does not."""
    flags = stream.info[stream.info_at + 7] if stream.info else 0
    at = stream.info_at + 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit) + 21
    return at if stream.info and len(stream.info) >= at + 3 else 0


def _dropped(stream: _Stream) -> int:
    """The samples at the beginning and the end that are the encoder's, and which the decoder drops."""
    told = int.from_bytes(stream.info[at : at + 3], "big") if (at := _lame(stream)) else 0
    return (told >> 12) + (told & 0xFFF)


def _with_count(stream: _Stream) -> bytes:
    """The Xing or Info frame with the right count, and without samples to drop at the end: they were another's."""
    info, at = bytearray(stream.info), stream.info_at
    info[at + 8 : at + 12] = stream.count.to_bytes(4, "big")
    if lame := _lame(stream):
        info[lame + 1] &= 0xF0
        info[lame + 2] = 0
    return bytes(info)


class _Walk:
    """From frame to frame; tags between them are passed over, anything else is counted as junk."""

    def __init__(self, source: BinaryIO, start: int, end: int) -> None:
        self._source, self._at, self._end = source, start, end
        self.streams: list[_Stream] = []
        self.junk_bytes = self.largest_junk = 0
        self._free_bytes = 0

    def run(self) -> None:
        while self._at + 4 <= self._end:
            head = read_at(self._source, self._at, _READ_BYTES)
            word = int.from_bytes(head[:4], "big")
            header = _header(word)
            known = self.streams and word & _SAME_STREAM == self.streams[-1].key
            if header is not None and known and (header.length or self._free_bytes):
                self._take(word, header, head)
            elif tag := tag_bytes(head):
                self._at += tag
            elif header is not None and (free := _chained(self._source, self._at, self._end)) is not None:
                self._free_bytes = free
                self._begin(word, header)
                self._take(word, header, head)
            else:
                self._search()
        if self.streams and self._at < self._end and read_at(self._source, self._at, 1) == b"\xff":
            self.streams[-1].cut = True  # within a header

    def _begin(self, word: int, header: _Header) -> None:
        self.streams.append(_Stream(word & _SAME_STREAM, header.samples, header.layer))

    def _take(self, word: int, header: _Header, head: bytes) -> None:
        length = header.length or self._free_bytes + header.padding
        info = _info(header, head)
        if info is not None:
            if self.streams[-1].count or self.streams[-1].info:
                self._begin(word, header)
            stream = self.streams[-1]
            stream.info = read_at(self._source, self._at, length)
            stream.info_at, stream.told = info
            if head[info[0] : info[0] + 4] == b"VBRI":  # the decoder would take it for sound
                stream.info = b""
        elif self._at + length > self._end:
            self.streams[-1].cut = True
        else:
            self.streams[-1].add(self._at, self._at + length)
        self._at += length

    def _search(self) -> None:
        """On to the next place where frames follow each other."""
        first = self._at
        position = first + 1
        while position < self._end:
            block = read_at(self._source, position, min(1 << 16, self._end - position))
            at = block.find(b"\xff")
            while at >= 0:
                head = block[at : at + 4] if at + 4 <= len(block) else read_at(self._source, position + at, 4)
                word = int.from_bytes(head, "big")
                free = _chained(self._source, position + at, self._end) if _header(word) is not None else None
                if free is not None:
                    self._found(first, position + at, word, free)
                    return
                at = block.find(b"\xff", at + 1)
            position += len(block)
        self._found(first, self._end, 0, 0)

    def _found(self, first: int, position: int, word: int, free: int) -> None:
        junk = position - first
        if self.streams and (position < self._end or junk > _READ_BYTES):
            self.junk_bytes += junk
        if position < self._end:
            self.largest_junk = max(self.largest_junk, junk if self.streams else 0)
            self._free_bytes = free
            header = _header(word)
            if header is not None and not (self.streams and self.streams[-1].key == word & _SAME_STREAM):
                self._begin(word, header)
        self._at = position


@lru_cache(maxsize=4096)
def _header(word: int) -> _Header | None:
    """What a header's four bytes say; None for those that are none."""
    version, layer, rate_code = word >> 19 & 3, 4 - (word >> 17 & 3), word >> 10 & 3
    kbps_code = word >> 12 & 15
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or rate_code == 3 or kbps_code == 15:
        return None
    family = 3 if version == 3 else 2
    kbps = _KBPS[family, 2 if family == 2 and layer == 3 else layer][kbps_code]
    rate_hz, padding = _RATES_HZ[version][rate_code], word >> 9 & 1
    samples = {1: 384, 2: 1152, 3: 1152 if family == 3 else 576}[layer]
    if layer == 1:
        length = (12_000 * kbps // rate_hz + padding) * 4 if kbps else 0
    else:
        length = samples // 8 * 1_000 * kbps // rate_hz + padding if kbps else 0
    mono = word >> 6 & 3 == 3
    side = {(3, True): 17, (3, False): 32, (2, True): 9, (2, False): 17}[family, mono]
    return _Header(length, samples, 4 + side, padding * (4 if layer == 1 else 1), layer)


def _info(header: _Header, head: bytes) -> tuple[int, int | None] | None:
    """Where a frame holds a Xing, Info or VBRI header, and the count of frames that it tells; None for sound."""
    if header.layer != 3:
        return None
    at = header.xing
    if head[at : at + 4] in (b"Xing", b"Info"):
        return at, int.from_bytes(head[at + 8 : at + 12], "big") or None if head[at + 7] & 1 else None
    if head[36:40] == b"VBRI":
        return 36, int.from_bytes(head[50:54], "big") or None
    return None


def _chained(source: BinaryIO, position: int, end: int) -> int | None:
    """Whether frames of one stream follow each other from there: the length of a free one without padding, or 0."""
    word = int.from_bytes(read_at(source, position, 4), "big")
    key, free = word & _SAME_STREAM, 0
    for number in range(_IN_A_ROW):
        header = _header(word)
        if header is None or word & _SAME_STREAM != key:
            return None
        if not header.length and not free:
            free = _free_bytes(source, position, word, header)
            if not free:
                return None
        position += header.length or free + header.padding
        if position >= end:
            return free if number else None
        word = int.from_bytes(read_at(source, position, 4), "big")
    return free


def _free_bytes(source: BinaryIO, position: int, word: int, header: _Header) -> int:
    """The length of a frame of free format, without padding: up to the next of its kind."""
    block = read_at(source, position, 1 << 13)
    at = block.find(b"\xff", 4)
    while 0 <= at <= len(block) - 4:
        other = int.from_bytes(block[at : at + 4], "big")
        if other & 0xFFFFFC00 == word & 0xFFFFFC00:
            return at - header.padding
        at = block.find(b"\xff", at + 1)
    return 0


def tag_bytes(head: bytes) -> int:
    """The length of a tag that begins so; 0 where none does."""
    if head.startswith(b"ID3") and len(head) >= 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"APETAGEX") and len(head) >= 32:
        return int.from_bytes(head[12:16], "little") + 32
    if head.startswith(b"TAG"):
        return 128
    return 0


def _without_tags(source: BinaryIO, end: int) -> int:
    """Where tags at the end of a file begin: the last frame ends there at the latest."""
    if end >= 128 and read_at(source, end - 128, 3) == b"TAG":
        end -= 128
    if end >= 32 and read_at(source, end - 32, 8) == b"APETAGEX":
        foot = read_at(source, end - 32, 32)
        end -= int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
    if end >= 10 and read_at(source, end - 10, 3) == b"3DI":
        size = 0
        for byte in read_at(source, end - 4, 4):
            size = size << 7 | byte & 0x7F
        end -= 20 + size
    return max(0, end)
