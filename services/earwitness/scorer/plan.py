"""What a freeze is to do, as a value: a reference, and the shards that no version of it holds yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from earwitness.scorer.references import Reference

AT_ONCE = 1000
"""Segments of one statement, and shards that are small enough to be read together."""
BYTES_AT_ONCE = 4 * 2**20


@dataclass(frozen=True)
class Segment:
    """A shard that no version holds yet, and how large what is kept of it is."""

    key: int
    byte_count: int


@dataclass(frozen=True)
class FreezePlan:
    """A reference, and the segments that no version of it holds yet, in the order of their keys."""

    reference: Reference
    segments: tuple[Segment, ...]


def pages(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The segments in pages that are read at once; a large one is a page of its own."""
    page: list[Segment] = []
    byte_count = 0
    for each in segments:
        byte_count += each.byte_count
        if page and (byte_count > BYTES_AT_ONCE or len(page) == AT_ONCE):
            yield page
            page, byte_count = [], each.byte_count
        page.append(each)
    if page:
        yield page
