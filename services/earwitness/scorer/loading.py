"""What is compared with, of versions of references: loaded once, remembered within a budget of bytes."""

from collections.abc import Callable
from typing import cast

from earwitness.scorer.cache import LruCache
from earwitness.scorer.collect import Frozen
from earwitness.scorer.errors import KeepsNoRows, ReferenceNotFound
from earwitness.scorer.frozen_layers import layer_body
from earwitness.scorer.joined import Joined
from earwitness.scorer.nearness import KeptRows
from earwitness.scorer.references import Reference, Version, VersionKey
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.threads import Threads
from earwitness.storage import blobs

_ROWS = -1
_Key = tuple[VersionKey, int]
"""A version, and the place of one of its layers, or `_ROWS` for the rows that it keeps."""


class Loading:
    """The versions that one scorer compares with; `cache_bytes` of them are remembered."""

    def __init__(self, store: ReferenceStore, threads: Threads, cache_bytes: int) -> None:
        self._store = store
        self._threads = threads
        self._loaded: LruCache[_Key, Frozen | KeptRows] = LruCache(cache_bytes, lambda loaded: loaded.byte_count)
        self._loading: Joined[_Key, Frozen | KeptRows] = Joined()

    async def frozen(self, reference: Reference, version: Version, layer: int) -> Frozen:
        """What batches are scored against in the layer at this place. Raises: VersionNotFound; StoreDamaged."""

        def load() -> Frozen:
            return Frozen.from_body(layer_body(self._store.version_frozen(reference, version.number), layer))

        return cast(Frozen, await self._remembered((reference.version_key(version), layer), load))

    async def kept_rows(self, reference: Reference, version: Version) -> KeptRows:
        """The rows that it keeps. Raises: KeepsNoRows; ReferenceNotFound; StoreDamaged."""
        if reference.content.selection.kind == "all":
            raise KeepsNoRows(reference.reference_id)

        def load() -> KeptRows:
            state = self._store.version_state(reference, version.number)
            byte_count = state.byte_count()
            body = None if byte_count is None else state.read(0, byte_count)
            if body is None:
                raise ReferenceNotFound(reference.reference_id)
            return KeptRows.of(blobs.decode(body)["rows"], reference.content.layout)

        return cast(KeptRows, await self._remembered((reference.version_key(version), _ROWS), load))

    async def _remembered(self, key: _Key, load: Callable[[], Frozen | KeptRows]) -> Frozen | KeptRows:
        return await self._loading.do(key, lambda: self._threads.compute(lambda: self._loaded.get(key, load)))
