"""The processes that make the load, from the side of whoever gives the orders."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from earwitness.bench.calls import Access, Work
from earwitness.bench.errors import BenchError
from earwitness.bench.generator import Order, Setup
from earwitness.bench.values import Kind
from earwitness.processes import ManagedProcess

STOP_GRACE_S = 10.0
LOG_TAIL_LINES = 3
SEEDS_EACH = 1_000_000
"""Processes draw their seeds this far apart."""


@dataclass(frozen=True)
class Child:
    """One of the processes, that is told and answers in lines."""

    managed: ManagedProcess

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self.managed.process.stdin is not None
        self.managed.process.stdin.write(f"{line}\n".encode())

    async def answer(self) -> dict[str, Any]:
        """Its answer to a setup, or to the end of an order.

        Raises: BenchError when it ends instead.
        """
        assert self.managed.process.stdout is not None
        answer = await self.managed.process.stdout.readline()
        if not answer:
            status = await asyncio.shield(self.managed.ended)
            tail = self.managed.last_lines(LOG_TAIL_LINES)
            raise BenchError(f"a process that makes the load ended with status {status}: {tail}")
        said: dict[str, Any] = json.loads(answer)
        return said


class Generators:
    """So many processes that make load; an asynchronous context manager. Their logs are in `folder`."""

    def __init__(self, access: Access, work: Work, calls: tuple[Kind, ...], count: int, folder: Path) -> None:
        self._setup = Setup(access, work, calls, 0)
        self._count = count
        self._folder = folder
        self._children: list[Child] = []
        self._exit = AsyncExitStack()
        self.metrics: list[str] = []
        """HOST:PORT of each one's metrics."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            for number in range(self._count):
                self._children.append(await self._start(number, starting))
            for number, child in enumerate(self._children):
                child.tell(replace(self._setup, seed=number * SEEDS_EACH).line())
            self.metrics = [f"127.0.0.1:{answer['port']}" for answer in await self._answers()]
            self._exit = starting.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    def begin(self, order: Order) -> None:
        """Share an order out."""
        for child, part in zip(self._children, shared(order, self._count), strict=True):
            child.tell(json.dumps(asdict(part)))

    async def end(self) -> None:
        """End the order; return when the last call of all of them has its answer.

        Raises: BenchError when a process ended instead.
        """
        for child in self._children:
            child.tell("end")
        await self._answers()

    async def _answers(self) -> list[dict[str, Any]]:
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(child.answer()) for child in self._children]
        return [each.result() for each in answers]

    async def _start(self, number: int, starting: AsyncExitStack) -> Child:
        command = (sys.executable, "-m", "earwitness.bench.generator")
        managed = await ManagedProcess.start(command, self._folder / f"generator-{number}.log", piped=True)
        starting.push_async_callback(managed.stop, STOP_GRACE_S)
        return Child(managed)


def shared(order: Order, count: int) -> list[Order]:
    """The order in so many parts, that together are it."""
    parts = []
    first = order.first
    for number in range(count):
        clients = order.clients // count + (number < order.clients % count)
        parts.append(
            replace(
                order,
                clients=clients,
                first=first,
                rate_per_s=order.rate_per_s / count,
                sweeping=order.sweeping and number == 0,
            )
        )
        first += clients
    return parts
