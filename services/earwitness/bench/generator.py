"""A process that makes load: `python -m earwitness.bench.generator`, which takes orders as JSON lines on stdin.

The first line says where to call and with what (`Setup`); the answer is the port of this process' metrics. Then come
pairs: an `Order`, and any line that ends it, answered when its last call has come back. It ends with its stdin.
"""

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from earwitness.bench.calls import Access, Calls, Work
from earwitness.bench.values import Kind, Load
from earwitness.client.channel import Tls
from earwitness.errors import EarwitnessError
from earwitness.rpc.errors import RpcFailure
from earwitness.rpc.scrape import MetricsServer

BEGUN = "earwitness_bench_begun"
CALL_SECONDS = "earwitness_bench_call_seconds"
ROW_STEPS = "earwitness_bench_row_steps"
STEP = 1.1
"""Between two bounds of the histogram of times: percentiles are right to 10 %, and better where calls lie even."""
BUCKETS_S = tuple(0.0002 * STEP**power for power in range(140))
"""From 0.2 ms to two minutes."""


@dataclass(frozen=True)
class Setup:
    """Where to call, what for, and the calls of a client's round; `seed` differs between processes."""

    access: Access
    work: Work
    round: tuple[Kind, ...]
    seed: int

    def line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def read(cls, line: str) -> "Setup":
        """What `line` wrote."""
        said = json.loads(line)
        tls = said["access"].pop("tls")
        paths = {key: Path(value) if value else None for key, value in tls.items()} if tls else {}
        access = Access(**said["access"], tls=Tls(**paths) if tls else None)
        return cls(access, Work(**said["work"]), tuple(said["round"]), said["seed"])


@dataclass(frozen=True)
class Order:
    """Load: closed loops of the clients numbered from `first`, or calls at `rate_per_s` unless that is 0.

    It goes on until it is ended, `seconds` at most.
    With `sweeping` one sweep after another runs behind them.
    """

    load: Load
    clients: int
    first: int
    rate_per_s: float
    seconds: float
    sweeping: bool


class Generator:
    """Makes the load of orders, and counts it in a registry."""

    def __init__(self, setup: Setup, calls: Calls, registry: CollectorRegistry) -> None:
        self._round = setup.round
        self._calls = calls
        self._rng = np.random.default_rng(setup.seed)
        self._begun = Counter(BEGUN, "Calls begun.", ["kind"], registry=registry)
        for kind in get_args(Kind):
            self._begun.labels(kind)
        self._seconds = Histogram(
            CALL_SECONDS,
            "Time from when a call was to begin to its end.",
            ["kind", "code"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._row_steps = Counter(ROW_STEPS, "Row-steps of calls that succeeded.", ["kind"], registry=registry)

    async def carry_out(self, order: Order, ended: asyncio.Event) -> None:
        """Begin no call when `ended` is set; return when the last one has its answer."""
        asyncio.get_running_loop().call_later(order.seconds, ended.set)
        kinds: tuple[Kind, ...] = ("infer",) if order.load == "triton" else self._round
        async with asyncio.TaskGroup() as tasks:
            if order.rate_per_s:
                tasks.create_task(self._open_loop(kinds, order.rate_per_s, ended))
            else:
                for number in range(order.first, order.first + order.clients):
                    tasks.create_task(self._closed_loop(kinds, number, ended))
            if order.sweeping:
                tasks.create_task(self._closed_loop(("sweep",), 0, ended))

    async def _closed_loop(self, kinds: tuple[Kind, ...], number: int, ended: asyncio.Event) -> None:
        """A client that calls again when it has its answer, or when a refusal says that it may."""
        loop = asyncio.get_running_loop()
        for kind in itertools.islice(itertools.cycle(kinds), number % len(kinds), None):
            wait_s = await self._timed(kind, loop.time())
            if await _within(wait_s, ended):
                return

    async def _open_loop(self, kinds: tuple[Kind, ...], rate_per_s: float, ended: asyncio.Event) -> None:
        """Calls at random moments (Poisson), each timed from when it was due: being late is a delay like any other."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for kind in itertools.cycle(kinds):
                due += self._rng.exponential(1 / rate_per_s)
                if await _within(due - loop.time(), ended):
                    return
                tasks.create_task(self._timed(kind, due))

    async def _timed(self, kind: Kind, due: float) -> float:
        """Make a call and count it; the seconds to wait before another one."""
        self._begun.labels(kind).inc()
        wait_s = 0.0
        try:
            row_steps = await self._calls.make(kind)
        except RpcFailure as failure:
            code, wait_s = failure.code.name, failure.retry_after_s or 0.0
        except EarwitnessError as err:
            code = err.code
        except TimeoutError:
            code = "DEADLINE_EXCEEDED"
        else:
            code = "OK"
            self._row_steps.labels(kind).inc(row_steps)
        self._seconds.labels(kind, code).observe(asyncio.get_running_loop().time() - due)
        return wait_s


async def _within(seconds: float, ended: asyncio.Event) -> bool:
    """Whether the end came, or comes in so many seconds; returns then, or after them."""
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
    return ended.is_set()


async def serve() -> None:
    """Carry out what stdin says until it ends, or until SIGTERM: then what goes on is given up."""
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    assert serving is not None
    loop.add_signal_handler(signal.SIGTERM, serving.cancel)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    setup = Setup.read((await lines.readline()).decode())
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = MetricsServer("127.0.0.1", 0, registry)
    try:
        async with Calls(setup.access, setup.work, setup.seed) as calls:
            generator = Generator(setup, calls, registry)
            _say({"port": metrics.port})
            while line := await lines.readline():
                ended = asyncio.Event()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(generator.carry_out(Order(**json.loads(line)), ended))
                    await lines.readline()
                    ended.set()
                _say({"done": True})
    finally:
        metrics.close()


def _say(said: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(serve())
