"""The scorer's use cases: references are created, fed, frozen, read and deleted; batches are scored against them.

Coroutines here only pass work on: SQL to one small pool of threads, computation to another, so that a long eigenproblem
keeps no query waiting and nothing blocks the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.rpc.validate import require_range
from earwitness.scorer.cache import LruCache
from earwitness.scorer.collect import Frozen, collector
from earwitness.scorer.errors import NotFrozen, TooManyAppends
from earwitness.scorer.frechet import MIN_ROWS
from earwitness.scorer.freezing import freeze
from earwitness.scorer.intake import Intake
from earwitness.scorer.metrics import ScorerMetrics
from earwitness.scorer.references import (
    NewReference,
    Reference,
    Shard,
    Source,
    Version,
    require_new_reference,
    require_shard,
    require_shard_size,
)
from earwitness.scorer.score import Score, score_batch
from earwitness.scorer.statistics import Rows
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.uncertainty import NoiseFloor, noise_floor

_STORE_THREADS = 8
_NOISE_FLOORS = 4096
_LARGEST = float(np.finfo(np.float32).max)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Activations to be scored: `rows` [M, D] of `source`; `unit` compares that unit alone."""

    source: Source
    rows: Rows
    unit: int | None
    seed: int


@dataclass(frozen=True)
class Appended:
    """Rows of the reference now, and whether the shard was counted before."""

    row_count: int
    duplicate: bool


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
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._queries = ThreadPoolExecutor(_STORE_THREADS, "scorer-store")
        self._computations = ThreadPoolExecutor(compute_threads, "scorer-compute")
        self._frozen: LruCache[tuple[int, int], Frozen] = LruCache(cache_bytes, lambda frozen: frozen.byte_count)
        self._floors: LruCache[tuple[int, int, int | None, int, int], NoiseFloor] = LruCache(_NOISE_FLOORS, lambda _: 1)
        self._max_appends = max_concurrent_appends
        self._appends = 0

    async def create(self, request_id: str, new: NewReference) -> Reference:
        """Raises: InvalidArgument; ReferenceExists."""
        require_new_reference(new)
        return await self._query(lambda: self._store.create(request_id, new))

    async def get(self, reference_id: str) -> Reference:
        """Raises: ReferenceNotFound."""
        return await self._query(lambda: self._store.get(reference_id))

    async def list(self, model: str, after: str, limit: int) -> list[Reference]:
        """At most `limit` references after the id `after`, in the order of ids, of one model unless it is ""."""
        return await self._query(lambda: self._store.list(model, after, limit))

    async def delete(self, reference_id: str, etag: str) -> None:
        """Raises: ReferenceNotFound; EtagMismatch."""
        await self._query(lambda: self._store.delete(reference_id, etag))

    async def freeze(self, reference_id: str, etag: str) -> Version:
        """Raises: ReferenceNotFound; TooFewRows; EtagMismatch."""
        return await self._compute(lambda: freeze(self._store, reference_id, etag))

    async def append(self, reference_id: str, shard: Shard, chunks: AsyncIterator[bytes]) -> Appended:
        """Counts a shard whose rows come in `chunks`, which are not read when it is there already.

        Raises: InvalidArgument; ReferenceNotFound; ShardExists; TooManyAppends.
        """
        require_shard(shard)
        if self._appends >= self._max_appends:
            raise TooManyAppends(self._max_appends)
        self._appends += 1
        try:
            reference = await self.get(reference_id)
            require_shard_size(shard, reference.content.source.unit_count)
            added = False
            if not await self._query(lambda: self._store.has_shard(reference, shard)):
                body = await self._receive(reference, shard, chunks)
                added = await self._query(lambda: self._store.add_shard(reference, shard, body))
        finally:
            self._appends -= 1
        self._metrics.appends.labels("added" if added else "duplicate").inc()
        self._metrics.rows.inc(shard.row_count if added else 0)
        return Appended((await self.get(reference_id)).row_count, not added)

    async def score(self, reference_id: str, number: int | None, batch: Batch) -> tuple[Score, Version]:
        """Score against one version of a reference, the newest unless `number` names another.

        Raises: InvalidArgument; ReferenceNotFound; VersionNotFound; NotFrozen; ReferenceMismatch.
        """
        _require_rows(batch.rows)
        require_range(batch.seed, "seed", at_least=0)
        start = perf_counter()
        reference = await self.get(reference_id)
        reference.require_source(batch.source)
        if batch.unit is not None:
            require_range(batch.unit, "unit", at_least=0, at_most=batch.source.unit_count - 1)
        if number is None and not reference.versions:
            raise NotFrozen(reference_id)
        version = reference.version(number or len(reference.versions))
        score = await self._score(reference, version.number, batch)
        self._metrics.score_seconds.observe(perf_counter() - start)
        self._metrics.distance.observe(score.distance.distance)
        return score, version

    async def healthy(self) -> bool:
        """True when the store answers; keeps the number of references up to date."""
        # Not in the pool of queries: those may all be waiting for a lock that readers do not need.
        self._metrics.references.set(await asyncio.to_thread(self._store.count))
        return True

    def close(self) -> None:
        """Ends the threads, waiting for what they do; what waits for a thread is dropped."""
        self._computations.shutdown(cancel_futures=True)
        self._queries.shutdown(cancel_futures=True)

    async def _receive(self, reference: Reference, shard: Shard, chunks: AsyncIterator[bytes]) -> bytes:
        content = reference.content
        intake = Intake(shard, content.source.unit_count, collector(content.selection, content.source.unit_count))
        digested: asyncio.Future[list[None]] = asyncio.gather()
        try:
            async for chunk in chunks:
                if block := intake.take(chunk):
                    await digested
                    # Both at once, while the next block comes in.
                    work = (partial(intake.hash, block), partial(intake.digest, block))
                    digested = asyncio.gather(*map(self._compute, work))
            await digested
        finally:
            await asyncio.gather(digested, return_exceptions=True)
        return await self._compute(intake.finish)

    async def _score(self, reference: Reference, number: int, batch: Batch) -> Score:
        """In steps: a call that is cancelled begins no further one."""
        key, rows, seed = (reference.key, number), batch.rows, batch.seed
        frozen = await self._compute(
            lambda: self._frozen.get(key, lambda: Frozen.from_body(self._store.version_frozen(reference, number)))
        )
        if batch.unit is not None:
            frozen, rows = frozen.unit(batch.unit), rows[:, batch.unit : batch.unit + 1]
        floor_key = (*key, batch.unit, len(rows), seed)
        floor = await self._compute(
            lambda: self._floors.get(floor_key, lambda: noise_floor(frozen.gaussian, len(rows), seed))
        )
        return await self._compute(lambda: score_batch(rows, frozen, floor, seed))

    async def _query(self, work: Callable[[], Result]) -> Result:
        return await self._run(self._queries, work)

    async def _compute(self, work: Callable[[], Result]) -> Result:
        return await self._run(self._computations, work)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        # The context carries the request id to the log lines of the thread.
        return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, work)


def _require_rows(rows: Rows) -> None:
    if len(rows) < MIN_ROWS:
        raise InvalidArgument("activations.shape", f"has {len(rows)} row; a covariance needs at least {MIN_ROWS}")
    largest = float(np.abs(rows).max())
    if largest > _LARGEST:
        raise InvalidArgument("activations.data", f"reaches {largest:g}; at most {_LARGEST:g}, FP32's largest value")
