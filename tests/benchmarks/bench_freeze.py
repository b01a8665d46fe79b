"""What freezing and reading take of a scorer, and of the small scores beside them: `bench_freeze.py [--json PATH]`.

One real scorer on a SQLite file of its own, its memory (that of its children counted) looked at every 20 ms:

- large: statistics of `--units` units (4096) are frozen while 50 rows of 64 units are scored again and again; before it
  the same scores are timed alone. Beside the file's own speed it depends on the cores: two are enough.
- shards: references of 20 000 and 100 000 shards of 2 rows of 64 units are frozen.
- readers: 20 callers read the large statistics, a chunk and then nothing for two seconds.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from earwitness.client.partials import Partial
from earwitness.client.values import Selection
from earwitness.scorer.collect import collector
from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.schema import segment
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from earwitness.storage.columns import new_key
from earwitness.storage.database import Database
from earwitness.vocabulary.reference import ALL
from tests.helpers.machine import machine
from tests.helpers.services import Service, service
from tests.integration.scorer.running import creation, partial_parts, parts, scoring

MIB = 2**20
SMALL_UNITS = 64
SHARDS = (20_000, 100_000)
READERS = 20
TARGETS = {"freeze_s": 15.0, "freeze_peak_mib": 600.0, "p99_ratio": 2.0, "shards_20000_s": 2.0, "shards_100000_s": 10.0}


@dataclass
class Figures:
    """Seconds, MiB and milliseconds; `*_mib` of the whole process tree, `idle_mib` before anything was asked."""

    idle_mib: float = 0
    small_p50_ms: float = 0
    small_p99_ms: float = 0
    freeze_s: float = 0
    freeze_peak_mib: float = 0
    beside_p50_ms: float = 0
    beside_p99_ms: float = 0
    p99_ratio: float = 0
    first_score_s: float = 0
    shards_20000_s: float = 0
    shards_100000_s: float = 0
    shards_peak_mib: float = 0
    readers_before_mib: float = 0
    readers_peak_mib: float = 0


class Memory:
    """The memory of a process and its children, each page counted once, and its peak."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak_mib = 0.0

    def now_mib(self) -> float:
        kib, pids = 0, [self._pid]
        for pid in pids:
            with contextlib.suppress(OSError):
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
                for task in Path(f"/proc/{pid}/task").iterdir():
                    pids += [int(each) for each in (task / "children").read_text().split() if int(each) not in pids]
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kib += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return kib / 1024

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        self.peak_mib = 0.0

        async def watch() -> None:
            while True:
                self.peak_mib = max(self.peak_mib, await asyncio.to_thread(self.now_mib))
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


async def small_scores(stub: Any, until: "asyncio.Future[Any]") -> list[float]:
    """Milliseconds of one small score after another."""
    request = scoring(np.random.default_rng(1).standard_normal((50, SMALL_UNITS)).astype(np.float32))
    request.reference = "references/small"
    times = []
    while not until.done():
        start = time.perf_counter()
        await stub.Score(request)
        times.append((time.perf_counter() - start) * 1e3)
    return times


async def send(call: Any, messages: Iterator[Any]) -> None:
    for message in messages:
        await call.write(message)
    await call.done_writing()
    await call


async def build_large(stub: Any, units: int) -> None:
    await stub.CreateReference(creation("large", unit_count=units))
    for index in range(2):
        rows = np.random.default_rng(index).standard_normal((units // 2 + 2, units)).astype(np.float32)
        whole = Partial.of(np.concatenate([rows, rows[::-1] * 0.5]), Selection())
        messages = partial_parts(whole, reference="references/large", shard_id=f"part {index}")
        await send(stub.MergeStatistics(), iter(messages))


def write_shards(url: str, count: int) -> str:
    """A reference with so many small shards, written straight into the database."""
    database, name = Database(url), f"shards-{count}"
    request = creation(name, unit_count=SMALL_UNITS)
    from earwitness.scorer import convert

    made = ReferenceStore(database).create(request.request_id, convert.new_reference(request))
    values = []
    for index in range(count):
        rows = np.random.default_rng(index).standard_normal((2, SMALL_UNITS)).astype(np.float32)
        one = collector(ALL, SMALL_UNITS)
        one.add_rows(rows, "", 0)
        values.append(
            {
                "key": new_key() + index,
                "reference_key": made.key,
                "shard_id": f"shard {index}",
                "sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
                "row_count": 2,
                "body": one.body(),
            }
        )
    with database.writing() as connection:
        connection.execute(segment.insert(), values)
    database.close()
    return name


def freeze(stub: Any, reference_id: str) -> Any:
    return stub.FreezeReference(pb.FreezeReferenceRequest(name=f"references/{reference_id}"), timeout=600)


async def read_slowly(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = scorer_pb2_grpc.ScorerServiceStub(channel)
        stream = stub.ReadStatistics(pb.ReadStatisticsRequest(name="references/large"))
        await anext(aiter(stream))
        await asyncio.sleep(2)
        stream.cancel()


async def measure(folder: Path, units: int, seconds: float) -> Figures:
    figures, url = Figures(), f"sqlite:///{folder / 'scorer.db'}"
    database = Database(url)
    SCHEMA.migrate(database)
    database.close()
    named = {count: write_shards(url, count) for count in SHARDS}
    async with service("scorer", database_url=url) as scorer:
        await measure_running(scorer, figures, units, seconds, named)
    return figures


async def measure_running(scorer: Service, figures: Figures, units: int, seconds: float, named: dict[int, str]) -> None:
    stub, memory = scorer_pb2_grpc.ScorerServiceStub(scorer.channel), Memory(scorer.process.pid)
    figures.idle_mib = memory.now_mib()
    real = np.random.default_rng(0).standard_normal((500, SMALL_UNITS)).astype(np.float32)
    await stub.CreateReference(creation("small", unit_count=SMALL_UNITS))
    await send(stub.AppendActivations(), iter(parts(real, reference="references/small")))
    await freeze(stub, "small")
    await build_large(stub, units)
    await small_scores(stub, asyncio.ensure_future(asyncio.sleep(1)))
    alone = await small_scores(stub, asyncio.ensure_future(asyncio.sleep(seconds)))
    async with memory.watched():
        start = time.perf_counter()
        freezing = asyncio.ensure_future(freeze(stub, "large"))
        beside = await small_scores(stub, freezing)
        await freezing
        figures.freeze_s = time.perf_counter() - start
    figures.freeze_peak_mib = memory.peak_mib
    (figures.small_p50_ms, figures.small_p99_ms), (figures.beside_p50_ms, figures.beside_p99_ms) = (
        map(float, np.percentile(times, [50, 99])) for times in (alone, beside)
    )
    figures.p99_ratio = figures.beside_p99_ms / figures.small_p99_ms
    rows = np.random.default_rng(2).standard_normal((50, units)).astype(np.float32)
    request = scoring(rows)
    request.reference = "references/large"
    start = time.perf_counter()
    await stub.Score(request)
    figures.first_score_s = time.perf_counter() - start
    async with memory.watched():
        for count, name in named.items():
            start = time.perf_counter()
            await freeze(stub, name)
            setattr(figures, f"shards_{count}_s", time.perf_counter() - start)
    figures.shards_peak_mib = memory.peak_mib
    figures.readers_before_mib = memory.now_mib()
    async with memory.watched():
        await asyncio.gather(*(read_slowly(scorer.address) for _ in range(READERS)))
    figures.readers_peak_mib = memory.peak_mib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    parser.add_argument("--units", type=int, default=4096, help="of the large reference (default: 4096)")
    parser.add_argument("--seconds", type=float, default=10, help="that scores alone are timed for (default: 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), options.units, options.seconds))
    for name, value in asdict(figures).items():
        target = TARGETS.get(name)
        missed = "" if target is None else f"   at most {target:g}{'  MISSED' if value > target else ''}"
        print(f"{name:20} {value:10.2f}{missed}")
    if options.json:
        found = {"machine": machine(("numpy", "sqlalchemy")), "figures": asdict(figures)}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
