"""Sound files byte by byte: where their samples are, how many they promise, and what a decoder would leave out.

libsndfile decodes; this tells it where, since it reads an MP3 up to the count that its head tells or lets guess, the
first stream of an Ogg, nothing behind a data size of 0, and says of nothing that it is cut off.
"""

from typing import BinaryIO

from earwitness.features.files import chunks, flac, mpeg, ogg, wave
from earwitness.features.files.foreign import kind_of
from earwitness.features.files.parts import Foreign, Layout, Part, View, read_at, size_of

__all__ = ["Foreign", "Layout", "Part", "View", "look"]


def look(source: BinaryIO, limit: int | None = None) -> Layout:
    """The parts of a sound file. Of a kind that is not known here it is one part, of which nothing is told.

    With a `limit` no more bytes of it are counted, enough to tell whether it can be decoded.

    Raises: Foreign for what is known not to be decodable by libsndfile; OSError.
    """
    start = mpeg.tag_bytes(read_at(source, 0, 32))
    head = read_at(source, start, 512)
    end = size_of(source) if limit is None else min(size_of(source), start + limit)
    if head.startswith(ogg.MAGIC):
        return ogg.look(source, end)
    if head.startswith(flac.MAGIC):
        return flac.look(source, start, end)
    found = wave.look(source, start) or chunks.look(source, start)
    if found is not None:
        return found
    kind, is_sound = kind_of(head)
    if kind and any(head):  # zeros before an MP3 are passed over
        raise Foreign(kind, is_sound=is_sound)
    found = mpeg.look(source, 0, end)
    if found is None and end < size_of(source):
        return look(source)
    if found is None and kind:
        raise Foreign(kind, is_sound=False)
    return found or Layout([Part(known=False)])
