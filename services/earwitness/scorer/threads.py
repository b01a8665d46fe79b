"""The scorer's threads: one small pool for each kind of work, so that none keeps another waiting."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from earwitness.storage.errors import StoreDamaged

STORE_THREADS = 8
Result = TypeVar("Result")


class Threads:
    """Runs work in threads, for coroutines that only pass it on."""

    def __init__(self, compute_threads: int, freezes: int, on_damage: Callable[[StoreDamaged], None]) -> None:
        """`on_damage` receives any damage that was found in the store."""
        self._on_damage = on_damage
        # Two of the store's, because writers may all be waiting for a lock that readers do not need.
        self._queries = ThreadPoolExecutor(STORE_THREADS, "scorer-read")
        self._changes = ThreadPoolExecutor(STORE_THREADS, "scorer-write")
        self._computations = ThreadPoolExecutor(compute_threads, "scorer-compute")
        self._freezes = ThreadPoolExecutor(freezes, "scorer-freeze")

    async def query(self, work: Callable[[], Result]) -> Result:
        """Reads from the store."""
        return await self._run(self._queries, work)

    async def change(self, work: Callable[[], Result]) -> Result:
        """Writes to the store."""
        return await self._run(self._changes, work)

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Computes, for seconds at most."""
        return await self._run(self._computations, work)

    async def freeze(self, work: Callable[[], Result]) -> Result:
        """Waits for long work in a process of its own."""
        return await self._run(self._freezes, work)

    def close(self) -> None:
        """Ends the threads, waiting for what they do; what waits for a thread is dropped."""
        for pool in (self._freezes, self._computations, self._changes, self._queries):
            pool.shutdown(cancel_futures=True)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        try:
            # The context carries the request id to the log lines of the thread.
            return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, work)
        except StoreDamaged as err:
            self._on_damage(err)
            raise
