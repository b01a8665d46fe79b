"""How many searches may run, and how many may wait for their turn: overload is refused, never queued without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from earwitness.explainer.errors import TooManySearches

USUAL_SEARCH_S = 5.0
"""Expected length of a search before one has been seen."""
MEMORY = 0.8
"""Weight of the past in the running mean of search times."""


class Admission:
    """`max_running` slots for searches and `max_waiting` places to wait for one, first come first served."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._slots = asyncio.Semaphore(max_running)
        self._search_s = USUAL_SEARCH_S
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.running = 0
        self.waiting = 0

    async def quiet(self, timeout_s: float) -> None:
        """Return when nothing runs, or after `timeout_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # asyncio.wait_for of Python 3.11 may lose a cancellation
                await self._quiet.wait()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot; waits for one while there is a place to wait.

        Raises: TooManySearches telling when another try is worth it.
        """
        if self._slots.locked() and self.waiting >= self._max_waiting:
            raise TooManySearches(
                f"{self.running} searches run (at most {self._max_running}) and {self.waiting} wait "
                f"(at most {self._max_waiting}); try again later",
                retry_after_s=self._search_s * (self.waiting + 1) / self._max_running,
            )
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        self._quiet.clear()
        begun = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self.running -= 1
            if not self.running:
                self._quiet.set()
            self._slots.release()
            taken_s = asyncio.get_running_loop().time() - begun
            self._search_s = MEMORY * self._search_s + (1 - MEMORY) * taken_s
