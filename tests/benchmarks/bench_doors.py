"""What a stranger can do to a scorer: `bench_doors.py [--tree PATH ...] [--attack NAME ...] [--open] [--json PATH]`.

Each attack is made, on loopback and bounded in count and time, against a scorer of its own that is started from each
source tree given (this one, unless told), with a file of tokens that the stranger has none of, or without one
(`--open`). A process of its own attacks, a caller with a token calls GetReference fifty times a second, on a connection
that it had before. Told are the scorer's memory before, at most and after, and the caller's 99th percentile before and
during the attack, which goes on for seconds after all of it has been sent.

Two trees in one run: `git worktree add ../old COMMIT`, then `bench_doors.py --tree ../old --tree .`.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.scorer.v1 import scorer_pb2, scorer_pb2_grpc
from tests.helpers.machine import machine
from tests.helpers.processes import own_usage
from tests.helpers.strangers import Stranger

HERE = Path(__file__).resolve().parents[2]
MIB = 2**20
TARGET_MIB, TARGET_RATIO = 64.0, 2.0
UNLOADED_S, HELD_S, LIMIT_S = 8.0, 8.0, 60.0
INTERVAL_S = 0.02
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+), metrics port (\d+)")
TOKEN = "a-token-that-the-stranger-has-not"
WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
LIST = "/earwitness.scorer.v1.ScorerService/ListReferences"
APPEND = "/earwitness.scorer.v1.ScorerService/AppendActivations"
Attack = Callable[[int, int], Awaitable[list[Stranger]]]


async def half_sent(path: str, port: int) -> list[Stranger]:
    """80 connections, each with a message of 15 MiB that misses its last bytes."""
    open_ = [await Stranger.open(port) for _ in range(80)]
    await asyncio.gather(*(each.half(each.call(path), 15 * MIB, 15 * MIB - 10) for each in open_))
    return open_


async def streams(path: str, port: int, count: int, per_connection: int, whole: bool) -> list[Stranger]:
    """Calls of headers alone, or with an empty message, 2 000 a second; as many as each connection allows."""
    open_: list[Stranger] = []
    sent = 0
    while sent < count:
        try:
            one = await Stranger.open(port)
        except (ConnectionError, OSError):
            break
        open_.append(one)
        for _ in range(min(per_connection, one.max_streams or per_connection)):
            stream = one.call(path)
            if whole:
                one.whole(stream, b"")
            sent += 1
            if sent % 10 == 0:
                await asyncio.sleep(0.005)
    return open_


async def connections(port: int, count: int, preface: bool) -> list[Stranger]:
    """Connections that say nothing, or nothing after their greeting."""
    open_: list[Stranger] = []
    for _ in range(count):
        try:
            open_.append(await asyncio.wait_for(Stranger.open(port, preface=preface), 2.0))
        except (ConnectionError, OSError, TimeoutError):
            await asyncio.sleep(0.01)
    return open_


ATTACKS: dict[str, Attack] = {
    "half-sent messages": lambda port, _: half_sent(LIST, port),
    "half-sent streams": lambda port, _: half_sent(APPEND, port),
    "half-sent health checks": lambda port, _: half_sent(CHECK, port),
    "20 000 calls of headers": lambda port, _: streams(LIST, port, 20_000, 1_000, False),
    "14 000 health checks of headers": lambda port, _: streams(CHECK, port, 14_000, 1_000, False),
    "14 000 health watches": lambda port, _: streams(WATCH, port, 14_000, 1_000, True),
    "4 000 idle connections": lambda port, _: connections(port, 4_000, True),
    "4 000 silent connections": lambda port, _: connections(port, 4_000, False),
    "400 idle connections, metrics": lambda _, metrics: connections(metrics, 400, False),
}


@dataclass(frozen=True)
class Figure:
    """One attack on one tree: MiB resident, milliseconds, calls of the caller that failed."""

    tree: str
    attack: str
    before_mib: float
    peak_mib: float
    after_mib: float
    threads: int
    unloaded_p99_ms: float
    attacked_p99_ms: float
    failed: dict[str, int]
    newcomer: str
    held: str

    @property
    def met(self) -> bool:
        return (
            self.peak_mib - self.before_mib <= TARGET_MIB
            and self.attacked_p99_ms <= TARGET_RATIO * self.unloaded_p99_ms
            and not self.failed
        )


@dataclass
class Caller:
    """Calls at an even rate until it is told to stop, and what became of them."""

    stub: "scorer_pb2_grpc.ScorerServiceAsyncStub"
    milliseconds: list[float]
    failed: Counter[str] = field(default_factory=Counter)

    async def call(self, seconds: float | None, until: "asyncio.Future[object] | None" = None) -> None:
        self.milliseconds, self.failed = [], Counter()
        begun = time.monotonic()
        while (seconds is not None and time.monotonic() - begun < seconds) or (until is not None and not until.done()):
            start = time.perf_counter()
            try:
                await self.stub.ListReferences(
                    scorer_pb2.ListReferencesRequest(), timeout=20, metadata=[("authorization", f"Bearer {TOKEN}")]
                )
            except grpc.aio.AioRpcError as err:
                self.failed[f"{err.code().name}: {err.details()}"] += 1
            self.milliseconds.append(1e3 * (time.perf_counter() - start))
            await asyncio.sleep(INTERVAL_S)

    @property
    def p99_ms(self) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


async def newcomer(port: int) -> str:
    """How a caller fares who connects now: milliseconds, or its failure."""
    start = time.perf_counter()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_reconnect_backoff_ms", 500)]) as channel:
        try:
            await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as err:
            return f"{err.code().name}: {err.details()}"
    return f"{1e3 * (time.perf_counter() - start):.0f} ms"


@asynccontextmanager
async def scorer(tree: Path, guarded: bool) -> AsyncIterator[tuple[int, int, int]]:
    """A scorer of a tree: its process, port and metrics port."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--port=0", "--metrics-port=0", f"--data-dir={folder}"]
        if guarded:
            tokens = Path(folder) / "tokens"
            tokens.write_text(f"{TOKEN} admin caller\n")
            words.append(f"--token-file={tokens}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "earwitness.scorer", *words, stderr=asyncio.subprocess.PIPE, cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{tree}/services"},
        )  # fmt: skip
        assert process.stderr is not None
        found = None
        while found is None:
            line = (await asyncio.wait_for(process.stderr.readline(), LIMIT_S)).decode()
            assert line, "the scorer ended"
            found = LISTENING.search(line)
        reading = asyncio.create_task(_drop(process.stderr))
        try:
            yield process.pid, int(found[1]), int(found[2])
        finally:
            process.kill()
            await process.wait()
            await reading


async def _drop(stream: asyncio.StreamReader) -> None:
    while await stream.read(2**16):
        pass


async def measure(tree: Path, attack: str, guarded: bool) -> Figure:
    """One attack on one scorer."""
    async with (
        scorer(tree, guarded) as (pid, port, metrics_port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        caller = Caller(scorer_pb2_grpc.ScorerServiceStub(channel), [])
        await caller.call(1.0)
        await caller.call(UNLOADED_S)
        unloaded = caller.p99_ms
        before, peak = own_usage(pid), own_usage(pid)
        threads = before.thread_count
        words = ["--strike", attack, str(port), str(metrics_port)]
        striking = await asyncio.create_subprocess_exec(
            sys.executable, __file__, *words, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{HERE / 'services'}:{HERE}"},
        )  # fmt: skip
        assert striking.stdout is not None
        ended = asyncio.ensure_future(striking.communicate())
        calling = asyncio.create_task(caller.call(None, ended))
        came = ""
        started = time.monotonic()
        while not ended.done():
            now = own_usage(pid)
            peak = max(peak, now, key=lambda usage: usage.resident_bytes)
            threads = max(threads, now.thread_count)
            if not came and time.monotonic() - started > UNLOADED_S:
                came = await newcomer(port)
            await asyncio.sleep(0.05)
        await calling
        held = (await ended)[0].decode().strip()
        await asyncio.sleep(2)
        after = own_usage(pid)
        return Figure(
            str(tree), attack, before.resident_bytes / MIB, peak.resident_bytes / MIB, after.resident_bytes / MIB,
            threads, unloaded, caller.p99_ms, dict(caller.failed), came, held,
        )  # fmt: skip


async def strike(attack: str, port: int, metrics_port: int) -> None:
    """The attack itself; says how many connections and calls the server still held at its end."""
    open_: list[Stranger] = []
    with suppress(TimeoutError):
        open_ = await asyncio.wait_for(ATTACKS[attack](port, metrics_port), LIMIT_S)
        await asyncio.sleep(HELD_S)
    alive = [each for each in open_ if not each.closed.is_set()]
    print(f"{len(alive)}/{sum(each.begun - len(each.ended) for each in alive)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", action="append", type=Path, help="source tree whose scorer is attacked")
    parser.add_argument("--attack", action="append", choices=[*ATTACKS])
    parser.add_argument("--open", action="store_true", help="scorers without tokens, which let everybody in")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strike", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.strike:
        asyncio.run(strike(options.strike[0], int(options.strike[1]), int(options.strike[2])))
        return
    found: list[Figure] = []
    print(
        f"{'attack':<32} {'tree':<20} {'before':>7} {'peak':>7} {'after':>7} {'threads':>7} {'p99 ms':>7} "
        f"{'attacked':>8} {'failed':>6} {'newcomer':>10} {'held':>11}  met"
    )
    for attack in options.attack or ATTACKS:
        for tree in [each.resolve() for each in options.tree or [HERE]]:
            each = asyncio.run(measure(tree, attack, not options.open))
            found.append(each)
            print(
                f"{attack:<32} {each.tree[-20:]:<20} {each.before_mib:7.0f} {each.peak_mib:7.0f} {each.after_mib:7.0f} "
                f"{each.threads:7} {each.unloaded_p99_ms:7.1f} {each.attacked_p99_ms:8.1f} "
                f"{sum(each.failed.values()):6} {each.newcomer:>10} {each.held:>11}  {'yes' if each.met else 'NO'}",
                flush=True,
            )
            for words, count in each.failed.items():
                print(f"    {count} failed: {words}", flush=True)
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "figures": [asdict(each) for each in found]}, indent=1)
        )


if __name__ == "__main__":
    main()
