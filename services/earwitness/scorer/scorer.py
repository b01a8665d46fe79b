"""The scorer's use cases: references are created, fed, frozen, read and deleted; batches are scored against them.

Coroutines here only pass work on: SQL to one small pool of threads, computation to another, so that a long eigenproblem
keeps no query waiting and nothing blocks the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
from prometheus_client import Counter

from earwitness.errors import InvalidArgument
from earwitness.rpc.validate import require_range
from earwitness.scorer.cache import LruCache
from earwitness.scorer.collect import Frozen
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.errors import NotFrozen, ReferenceNotFound, TooManyAppends
from earwitness.scorer.frechet import MIN_ROWS
from earwitness.scorer.freezing import freeze
from earwitness.scorer.intake import Content, Intake, activations
from earwitness.scorer.metrics import ScorerMetrics
from earwitness.scorer.partials import Form, Partial, content_of, partial_of
from earwitness.scorer.ranking import Candidate, Ranked, Yardstick, rank
from earwitness.scorer.references import (
    LARGEST,
    MAX_PARTIAL_ROWS,
    MAX_SHARD_ROWS,
    NewReference,
    Reference,
    Shard,
    Source,
    Version,
    require_new_reference,
    require_shard,
)
from earwitness.scorer.score import Score, score_batch
from earwitness.scorer.statistics import Rows
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.uncertainty import NoiseFloor, noise_floor

_STORE_THREADS = 8
_NOISE_FLOORS = 4096
Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Activations to be scored: `rows` [M, D] of `source`; `unit` compares that unit alone, of all or alone sent."""

    source: Source
    rows: Rows
    unit: int | None
    seed: int


@dataclass(frozen=True)
class Batches:
    """To be ranked: `rows` [M, D] of each batch under its id, all of one `source`; `unit` as for one batch."""

    source: Source
    rows: Mapping[str, Rows]
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
        # Two, because writers may all be waiting for a lock that readers do not need.
        self._queries = ThreadPoolExecutor(_STORE_THREADS, "scorer-read")
        self._changes = ThreadPoolExecutor(_STORE_THREADS, "scorer-write")
        self._computations = ThreadPoolExecutor(compute_threads, "scorer-compute")
        self._frozen: LruCache[tuple[int, int], Frozen] = LruCache(cache_bytes, lambda frozen: frozen.byte_count)
        self._floors: LruCache[tuple[int, int, int | None, int, int], NoiseFloor] = LruCache(_NOISE_FLOORS, lambda _: 1)
        self._max_appends = max_concurrent_appends
        self._appends = 0

    async def create(self, request_id: str, new: NewReference) -> Reference:
        """Raises: InvalidArgument; ReferenceExists."""
        require_new_reference(new)
        return await self._change(lambda: self._store.create(request_id, new))

    async def get(self, reference_id: str) -> Reference:
        """Raises: ReferenceNotFound."""
        return await self._query(lambda: self._store.get(reference_id))

    async def list(self, model: str, after: str, limit: int) -> list[Reference]:
        """At most `limit` references after the id `after`, in the order of ids, of one model unless it is ""."""
        return await self._query(lambda: self._store.list(model, after, limit))

    async def delete(self, reference_id: str, etag: str) -> None:
        """Raises: ReferenceNotFound; EtagMismatch."""
        await self._change(lambda: self._store.delete(reference_id, etag))

    async def freeze(self, reference_id: str, etag: str) -> Version:
        """Raises: ReferenceNotFound; TooFewRows; EtagMismatch."""
        with self._metrics.freeze_seconds.time():
            return await self._compute(lambda: freeze(self._store, reference_id, etag))

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

    async def read(self, reference_id: str, number: int | None) -> tuple[Reference, Version, Partial]:
        """The statistics of one version of a reference, the newest unless `number` names another.

        Raises: ReferenceNotFound; VersionNotFound; NotFrozen.
        """
        reference = await self.get(reference_id)
        version = _version(reference, number)
        state = await self._query(lambda: self._store.version_state(reference, version.number))
        if state is None:
            raise ReferenceNotFound(reference_id)
        return reference, version, await self._compute(lambda: partial_of(state))

    async def score(self, reference_id: str, number: int | None, batch: Batch) -> tuple[Score, Version]:
        """Score against one version of a reference, the newest unless `number` names another.

        Raises: InvalidArgument; ReferenceNotFound; VersionNotFound; NotFrozen; ReferenceMismatch.
        """
        _require_rows(batch.rows, "activations")
        start = perf_counter()
        reference, version = await self._find(reference_id, number, batch)
        score = await self._score(reference, version.number, batch)
        self._metrics.score_seconds.observe(perf_counter() - start)
        self._metrics.distance.observe(score.distance.distance)
        return score, version

    async def rank(self, reference_id: str, number: int | None, batches: Batches) -> tuple[tuple[Ranked, ...], Version]:
        """Batches of equal size, best first, against one version of a reference, the newest unless `number` names
        another.

        Raises: InvalidArgument; ReferenceNotFound; VersionNotFound; NotFrozen; ReferenceMismatch.
        """
        for index, rows in enumerate(batches.rows.values()):
            _require_rows(rows, f"batches[{index}].activations")
        start = perf_counter()
        reference, version = await self._find(reference_id, number, batches)
        ranked = await self._rank(reference, version.number, batches)
        self._metrics.rank_seconds.observe(perf_counter() - start)
        for each in ranked:
            self._metrics.distance.observe(each.score.distance.distance)
        return ranked, version

    async def healthy(self) -> bool:
        """True when the store answers; keeps the number of references up to date."""
        # Not in the pool of queries: those may all be busy.
        self._metrics.references.set(await asyncio.to_thread(self._store.count))
        return True

    def close(self) -> None:
        """Ends the threads, waiting for what they do; what waits for a thread is dropped."""
        self._computations.shutdown(cancel_futures=True)
        self._changes.shutdown(cancel_futures=True)
        self._queries.shutdown(cancel_futures=True)

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
            if not await self._query(lambda: self._store.has_shard(reference, shard)):
                body = await self._receive(intake, chunks)
                added = await self._change(lambda: self._store.add_shard(reference, shard, body))
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
                    digested = asyncio.gather(*map(self._compute, work))
            await digested
        finally:
            await asyncio.gather(digested, return_exceptions=True)
        return await self._compute(intake.finish)

    async def _find(
        self, reference_id: str, number: int | None, compared: Batch | Batches
    ) -> tuple[Reference, Version]:
        """Reference and version to compare with. Raises: as `score`."""
        require_range(compared.seed, "seed", at_least=0)
        reference = await self.get(reference_id)
        reference.require_source(compared.source, compared.unit)
        return reference, _version(reference, number)

    async def _score(self, reference: Reference, number: int, batch: Batch) -> Score:
        """In steps: a call that is cancelled begins no further one."""
        frozen, data_range = await self._compared(reference, number, batch.unit)
        floor = await self._floor(reference, number, frozen, batch.unit, len(batch.rows), batch.seed)
        rows = _columns(batch.rows, batch.unit)
        return await self._compute(lambda: score_batch(rows, frozen, floor, batch.seed, data_range))

    async def _rank(self, reference: Reference, number: int, batches: Batches) -> tuple[Ranked, ...]:
        """In steps, one for each batch: others have their turn between them."""
        frozen, data_range = await self._compared(reference, number, batches.unit)
        row_count = len(next(iter(batches.rows.values())))
        floor = await self._floor(reference, number, frozen, batches.unit, row_count, batches.seed)
        yardstick = Yardstick(frozen, data_range, floor, batches.seed, len(batches.rows))
        candidates: list[Candidate] = []
        for batch_id, rows in batches.rows.items():
            work = partial(yardstick.measure, batch_id, _columns(rows, batches.unit))
            candidates.append(await self._compute(work))
        return await self._compute(lambda: rank(candidates))

    async def _compared(self, reference: Reference, number: int, unit: int | None) -> tuple[Frozen, DataRange]:
        """What a batch is compared with: all of the layer, or one unit."""
        layer = await self._load(reference, number)
        data_range = DataRange.of(layer, reference.content.selection)
        return (layer, data_range) if unit is None else (layer.unit(unit), data_range.unit(unit))

    async def _load(self, reference: Reference, number: int) -> Frozen:
        key = (reference.key, number)
        return await self._compute(
            lambda: self._frozen.get(key, lambda: Frozen.from_body(self._store.version_frozen(reference, number)))
        )

    async def _floor(
        self, reference: Reference, number: int, frozen: Frozen, unit: int | None, row_count: int, seed: int
    ) -> NoiseFloor:
        key = (reference.key, number, unit, row_count, seed)
        return await self._compute(lambda: self._floors.get(key, lambda: noise_floor(frozen.gaussian, row_count, seed)))

    async def _query(self, work: Callable[[], Result]) -> Result:
        return await self._run(self._queries, work)

    async def _change(self, work: Callable[[], Result]) -> Result:
        return await self._run(self._changes, work)

    async def _compute(self, work: Callable[[], Result]) -> Result:
        return await self._run(self._computations, work)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        # The context carries the request id to the log lines of the thread.
        return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, work)


def _version(reference: Reference, number: int | None) -> Version:
    """The newest unless `number` names another. Raises: VersionNotFound; NotFrozen."""
    if number is None and not reference.versions:
        raise NotFrozen(reference.reference_id)
    return reference.version(number or len(reference.versions))


def _columns(rows: Rows, unit: int | None) -> Rows:
    return rows if unit is None or rows.shape[1] == 1 else rows[:, unit : unit + 1]


def _require_rows(rows: Rows, field: str) -> None:
    if len(rows) < MIN_ROWS:
        raise InvalidArgument(f"{field}.shape", f"has {len(rows)} row; a covariance needs at least {MIN_ROWS}")
    largest = float(np.abs(rows).max())
    if largest > LARGEST:
        raise InvalidArgument(f"{field}.data", f"reaches {largest:g}; at most {LARGEST:g}, FP32's largest value")
