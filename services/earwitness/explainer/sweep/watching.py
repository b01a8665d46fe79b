"""Those who wait for a sweep: told of each change, and of what other processes did every second."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from earwitness.errors import InvalidArgument
from earwitness.explainer.errors import Draining
from earwitness.explainer.sweep.record import SweepRecord
from earwitness.explainer.sweep.store import SweepStore

POLL_S = 1.0
"""How often the database is asked for what other processes did."""


class Watching:
    """The sweeps of `store`, as those see them who wait; equal reads at one time are one."""

    def __init__(self, store: SweepStore) -> None:
        self._store = store
        self._changed = asyncio.Event()
        self._reads: dict[str, asyncio.Task[SweepRecord]] = {}
        self._draining = False

    def tell(self) -> None:
        """Something about a sweep was written: wake those who wait."""
        self._changed.set()
        self._changed = asyncio.Event()
        self._reads = {}  # what was read before is no answer any more

    def drain(self) -> None:
        """Send those who wait away, as the server stops."""
        self._draining = True
        self.tell()

    async def watch(self, sweep_id: str, after: int) -> AsyncGenerator[SweepRecord]:
        """The sweep as it is, when that is newer than `after`, and whenever it changes, until it is over.

        Raises: SweepNotFound, StoreUnavailable; InvalidArgument for an `after` that is to come; Draining.
        """
        while True:
            changed = self._changed
            record = await self._read(sweep_id)
            if after > record.sequence:
                raise InvalidArgument("after", f"is {after}; sweeps/{sweep_id} has come to {record.sequence}")
            if record.sequence > after:
                after = record.sequence
                yield record
            if record.state.over:
                return
            if self._draining:
                raise Draining(after)
            await either(changed, POLL_S)

    async def wait(self, sweep_id: str, timeout_s: float | None) -> SweepRecord:
        """The sweep when it is over, or after `timeout_s` seconds. Raises: as `watch`."""
        end_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        record = await self._read(sweep_id)
        while not record.state.over and (left_s := end_s - time.monotonic()) > 0:
            if self._draining:
                raise Draining(record.sequence)
            await either(self._changed, min(left_s, POLL_S))
            record = await self._read(sweep_id)
        return record

    async def _read(self, sweep_id: str) -> SweepRecord:
        """The sweep now. Raises: SweepNotFound, StoreUnavailable."""
        reading = self._reads.get(sweep_id)
        if reading is None:
            reading = self._reads[sweep_id] = asyncio.create_task(asyncio.to_thread(self._store.get, sweep_id))
            reading.add_done_callback(lambda read: self._forget(sweep_id, read))
        return await asyncio.shield(reading)

    def _forget(self, sweep_id: str, read: "asyncio.Task[SweepRecord]") -> None:
        if self._reads.get(sweep_id) is read:
            del self._reads[sweep_id]
        if not read.cancelled():
            read.exception()  # looked at, as everyone who wanted to know may be gone


async def either(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set, or after `timeout_s` seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
