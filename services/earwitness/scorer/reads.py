"""Statistics for many readers at once, who may be slow: each holds a chunk or two of them, nobody all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from earwitness.scorer.cache import LruCache
from earwitness.scorer.errors import ReferenceNotFound, TooManyReads
from earwitness.scorer.joined import Joined
from earwitness.scorer.outgoing import Outgoing
from earwitness.scorer.references import Reference, Version, VersionKey
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.threads import Threads

_REMEMBERED = 4096


@dataclass(frozen=True)
class Reading:
    """The statistics of a `version` of a `reference` on their way out: what they are, then their bytes, in `chunks`."""

    reference: Reference
    version: Version
    statistics: Outgoing
    chunks: AsyncIterator[bytes]


class Reads:
    """The readers of one scorer, `most` at once."""

    def __init__(self, store: ReferenceStore, threads: Threads, most: int) -> None:
        self._store = store
        self._threads = threads
        self._most = most
        self._count = 0
        self._outgoing: LruCache[VersionKey, Outgoing] = LruCache(_REMEMBERED, lambda _: 1)
        self._looking: Joined[VersionKey, Outgoing] = Joined()

    @asynccontextmanager
    async def reading(self, reference_id: str, number: int | None) -> AsyncIterator[Reading]:
        """One reader, until the block ends. Raises: ReferenceNotFound; VersionNotFound; NotFrozen; TooManyReads."""
        if self._count >= self._most:
            raise TooManyReads(self._most)
        self._count += 1
        try:
            yield await self._begin(reference_id, number)
        finally:
            self._count -= 1

    async def _begin(self, reference_id: str, number: int | None) -> Reading:
        reference = await self._threads.query(lambda: self._store.get(reference_id))
        version = reference.newest_or(number)
        key = reference.version_key(version)
        state = self._store.version_state(reference, version.number)

        def read(start: int, count: int) -> bytes:
            piece = state.read(start, count)
            if piece is None:
                raise ReferenceNotFound(reference_id)
            return piece

        def look() -> Outgoing:
            byte_count = state.byte_count()
            if byte_count is None:
                raise ReferenceNotFound(reference_id)
            return self._outgoing.get(key, lambda: Outgoing.of(byte_count, read))

        async def chunks() -> AsyncIterator[bytes]:
            for start, count in statistics.chunks():
                yield await self._threads.query(partial(read, start, count))

        statistics = await self._looking.do(key, lambda: self._threads.query(look))
        return Reading(reference, version, statistics, chunks())
