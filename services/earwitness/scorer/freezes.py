"""Who may freeze when: equal freezes are one, long ones wait for their turn, and one that nobody waits for ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from earwitness.scorer.errors import AlreadyFolded, TooManyFreezes
from earwitness.scorer.folding import Stop
from earwitness.scorer.freezing import is_heavy, is_needed, make
from earwitness.scorer.joined import Joined
from earwitness.scorer.metrics import ScorerMetrics
from earwitness.scorer.plan import FreezePlan
from earwitness.scorer.references import Version
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.threads import Threads


class Freezes:
    """The freezes of one scorer."""

    def __init__(
        self, store: ReferenceStore, threads: Threads, metrics: ScorerMetrics, *, at_once: int, most_waiting: int
    ) -> None:
        """Of the long ones `at_once` run, and `most_waiting` wait for their turn."""
        self._store = store
        self._threads = threads
        self._metrics = metrics
        self._joined: Joined[tuple[int, str, str], Version] = Joined()
        self._turns = asyncio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._waiting = 0

    async def freeze(self, reference_id: str, etag: str) -> Version:
        """The new version, or the newest one when no shard came since.

        Raises: ReferenceNotFound; TooFewRows; EtagMismatch; TooManyFreezes; FreezeTooLarge.
        """
        plan = await self._plan(reference_id, etag)
        if not is_needed(plan):
            return plan.reference.versions[-1]
        # Its etag stands for all that the reference holds: a shard that came since makes another freeze.
        key = (plan.reference.key, plan.reference.etag, etag)
        return await self._joined.do(key, partial(self._freeze, plan, etag))

    async def _freeze(self, plan: FreezePlan, etag: str) -> Version:
        with self._metrics.freeze_seconds.time():
            while is_needed(plan):
                try:
                    return await self._make(plan, etag)
                except AlreadyFolded:
                    plan = await self._plan(plan.reference.reference_id, etag)
            return plan.reference.versions[-1]

    async def _plan(self, reference_id: str, etag: str) -> FreezePlan:
        return await self._threads.query(lambda: self._store.plan_freeze(reference_id, etag))

    async def _make(self, plan: FreezePlan, etag: str) -> Version:
        stop = Stop()
        work = partial(make, self._store, plan, etag, stop)
        try:
            if not is_heavy(plan):
                return await self._threads.compute(work)
            async with self._turn():
                return await self._threads.freeze(work)
        except asyncio.CancelledError:
            stop.tell()
            raise

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Raises: TooManyFreezes."""
        if self._turns.locked() and self._waiting >= self._most_waiting:
            raise TooManyFreezes(self._most_waiting)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()
