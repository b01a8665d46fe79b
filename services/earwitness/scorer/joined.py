"""Equal work, asked for by many at once, is done once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass
class _Running(Generic[Result]):
    task: "asyncio.Task[Result]"
    waiting: int = 0


class Joined(Generic[Key, Result]):
    """Who asks for work that is being done waits with the others for it; it is cancelled when nobody waits any more."""

    def __init__(self) -> None:
        self._running: dict[Key, _Running[Result]] = {}

    async def do(self, key: Key, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What `work` returns or raises, or the equal work of the same `key` that is being done."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Running(asyncio.create_task(work()))
            running.task.add_done_callback(lambda _: self._forget(key, running))
        running.waiting += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and not running.task.done():
                self._forget(key, running)  # later callers start again
                running.task.cancel()

    def _forget(self, key: Key, running: _Running[Result]) -> None:
        if self._running.get(key) is running:
            del self._running[key]
        if running.task.done() and not running.task.cancelled():
            running.task.exception()  # it was raised in those who waited; it is not lost
