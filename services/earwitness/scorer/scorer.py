"""The scorer's use cases: references are created, fed, frozen, read and deleted; batches are scored against them.

Coroutines here only pass work on, to `threads`, so that nothing blocks the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from earwitness.rpc.validate import require_range
from earwitness.scorer.comparing import Batch, Batches, Comparing, NearRows, require_rows
from earwitness.scorer.errors import TooManyAppends
from earwitness.scorer.freezes import Freezes
from earwitness.scorer.intake import Content, Intake, activations
from earwitness.scorer.metrics import ScorerMetrics
from earwitness.scorer.partials import Form, content_of
from earwitness.scorer.reads import Reading, Reads
from earwitness.scorer.references import (
    MAX_PARTIAL_ROWS,
    NewReference,
    Reference,
    Shard,
    Version,
    require_new_reference,
    require_shard,
)
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.threads import Threads
from earwitness.vocabulary.limits import MAX_SHARD_ROWS
from earwitness.vocabulary.score import RankedBatch, Score


@dataclass(frozen=True)
class Appended:
    """Rows of the reference now, and whether the shard was counted before."""

    row_count: int
    duplicate: bool


@dataclass(frozen=True, eq=False)
class MeasuredNearness:
    """`distances` [M, layers] float64 of rows in each of the `layers` from those of a version."""

    distances: NDArray[np.float64]
    layers: tuple[str, ...]
    version: Version


class Scorer:
    """All use cases on one store; every method may raise StoreUnavailable."""

    def __init__(
        self,
        store: ReferenceStore,
        metrics: ScorerMetrics,
        *,
        compute_threads: int,
        cache_bytes: int,
        max_concurrent_appends: int,
        max_concurrent_reads: int,
        max_concurrent_freezes: int,
        max_waiting_freezes: int,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._threads = Threads(compute_threads, max_concurrent_freezes, store.tell_damage)
        self._freezes = Freezes(
            store, self._threads, metrics, at_once=max_concurrent_freezes, most_waiting=max_waiting_freezes
        )
        self._reads = Reads(store, self._threads, max_concurrent_reads)
        self._comparing = Comparing(store, self._threads, cache_bytes)
        self._max_appends = max_concurrent_appends
        self._appends = 0

    async def create(self, request_id: str, new: NewReference) -> Reference:
        """Raises: InvalidArgument; ReferenceExists."""
        require_new_reference(new)
        return await self._threads.change(lambda: self._store.create(request_id, new))

    async def get(self, reference_id: str) -> Reference:
        """Raises: ReferenceNotFound."""
        return await self._threads.query(lambda: self._store.get(reference_id))

    async def list(self, model: str, after: str, limit: int) -> list[Reference]:
        """At most `limit` references after the id `after`, in the order of ids, of one model unless it is ""."""
        return await self._threads.query(lambda: self._store.list(model, after, limit))

    async def delete(self, reference_id: str, etag: str) -> None:
        """Raises: ReferenceNotFound; EtagMismatch."""
        await self._threads.change(lambda: self._store.delete(reference_id, etag))

    async def freeze(self, reference_id: str, etag: str) -> Version:
        """Raises: ReferenceNotFound; TooFewRows; EtagMismatch; TooManyFreezes; FreezeTooLarge."""
        return await self._freezes.freeze(reference_id, etag)

    async def append(self, reference_id: str, shard: Shard, chunks: AsyncIterator[bytes]) -> Appended:
        """Counts a shard whose rows come in `chunks`, which are not read when it is there already.

        Raises: InvalidArgument; ReferenceNotFound; ShardExists; TooManyAppends.
        """
        require_shard(shard, MAX_SHARD_ROWS)
        return await self._take_in(reference_id, shard, partial(activations, shard), chunks, self._metrics.appends)

    async def merge(self, reference_id: str, shard: Shard, form: Form, chunks: AsyncIterator[bytes]) -> Appended:
        """Counts a shard whose statistics come in `chunks`, which are not read when it is there already.

        Raises: as `append`.
        """
        require_shard(shard, MAX_PARTIAL_ROWS)
        return await self._take_in(reference_id, shard, partial(content_of, form, shard), chunks, self._metrics.merges)

    def reading(self, reference_id: str, number: int | None) -> AbstractAsyncContextManager[Reading]:
        """The statistics of one version of a reference, the newest unless `number` names another.

        Raises: ReferenceNotFound; VersionNotFound; NotFrozen; TooManyReads.
        """
        return self._reads.reading(reference_id, number)

    async def score(self, reference_id: str, number: int | None, batch: Batch) -> tuple[Score, Version]:
        """Score against one version of a reference, the newest unless `number` names another.

        Raises: InvalidArgument; ReferenceNotFound; VersionNotFound; NotFrozen; ReferenceMismatch.
        """
        require_rows(batch.rows, "activations")
        start = perf_counter()
        reference, version = await self._find(reference_id, number, batch)
        score = await self._comparing.score(reference, version, batch)
        self._metrics.score_seconds.observe(perf_counter() - start)
        self._metrics.distance.observe(score.distance)
        return score, version

    async def rank(
        self, reference_id: str, number: int | None, batches: Batches
    ) -> tuple[tuple[RankedBatch, ...], Version]:
        """Batches of equal size, best first, against one version of a reference, the newest unless `number` names
        another.

        Raises: InvalidArgument; ReferenceNotFound; VersionNotFound; NotFrozen; ReferenceMismatch.
        """
        for index, rows in enumerate(batches.rows.values()):
            require_rows(rows, f"batches[{index}].activations")
        start = perf_counter()
        reference, version = await self._find(reference_id, number, batches)
        ranked = await self._comparing.rank(reference, version, batches)
        self._metrics.rank_seconds.observe(perf_counter() - start)
        for each in ranked:
            self._metrics.distance.observe(each.score.distance)
        return ranked, version

    async def nearness(self, reference_id: str, number: int | None, near: NearRows) -> MeasuredNearness:
        """How near rows are to those that one version of a reference keeps, the newest unless `number` names another.

        Raises: InvalidArgument; ReferenceNotFound; VersionNotFound; NotFrozen; ReferenceMismatch; KeepsNoRows.
        """
        require_rows(near.rows, "activations", at_least=1)
        reference = await self.get(reference_id)
        reference.require_whole_rows(near.model, near.weights_sha256, near.rows.shape[1])
        version = reference.newest_or(number)
        with self._metrics.nearness_seconds.time():
            distances = await self._comparing.nearness(reference, version, near)
        return MeasuredNearness(distances, near.layers or reference.content.layout.names, version)

    async def healthy(self) -> bool:
        """True when the store answers; keeps the number of references up to date."""
        # Not in the pool of queries: those may all be busy.
        self._metrics.references.set(await asyncio.to_thread(self._store.count))
        return True

    def close(self) -> None:
        """Ends the threads, waiting for what they do; what waits for a thread is dropped."""
        self._threads.close()

    async def _take_in(
        self,
        reference_id: str,
        shard: Shard,
        content_for: Callable[[NewReference], Content],
        chunks: AsyncIterator[bytes],
        counter: Counter,
    ) -> Appended:
        if self._appends >= self._max_appends:
            raise TooManyAppends(self._max_appends)
        self._appends += 1
        try:
            reference = await self.get(reference_id)
            intake = Intake(shard, content_for(reference.content))
            added = False
            if not await self._threads.query(lambda: self._store.has_shard(reference, shard)):
                body = await self._receive(intake, chunks)
                added = await self._threads.change(lambda: self._store.add_shard(reference, shard, body))
        finally:
            self._appends -= 1
        counter.labels("added" if added else "duplicate").inc()
        self._metrics.rows.inc(shard.row_count if added else 0)
        return Appended((await self.get(reference_id)).row_count, not added)

    async def _receive(self, intake: Intake, chunks: AsyncIterator[bytes]) -> bytes:
        digested: asyncio.Future[list[None]] = asyncio.gather()
        try:
            async for chunk in chunks:
                if block := intake.take(chunk):
                    await digested
                    # Both at once, while the next block comes in.
                    work = (partial(intake.hash, block), partial(intake.digest, block))
                    digested = asyncio.gather(*map(self._threads.compute, work))
            await digested
        finally:
            await asyncio.gather(digested, return_exceptions=True)
        return await self._threads.compute(intake.finish)

    async def _find(
        self, reference_id: str, number: int | None, compared: Batch | Batches
    ) -> tuple[Reference, Version]:
        """Reference and version to compare with. Raises: as `score`."""
        require_range(compared.seed, "seed", at_least=0)
        reference = await self.get(reference_id)
        reference.require_source(compared.source, compared.unit)
        return reference, reference.newest_or(number)
