"""The Prometheus that watches a benchmark: one of our own, or one that scrapes the stack already."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from earwitness.bench.errors import BenchError
from earwitness.bench.figures import OF_EXPLAINER, OF_SCORER, OF_TRITON
from earwitness.bench.load import Generators
from earwitness.bench.machine import CpuCollector
from earwitness.bench.prometheus import Prometheus, PrometheusServer
from earwitness.bench.values import Plan, Target
from earwitness.rpc.scrape import MetricsServer

SCRAPE_S = 1.0
SCRAPES_A_STEP = 3
"""A shorter step is scraped more often, to have so many."""
LOOK_BACK_S = 300.0


@dataclass(frozen=True)
class Watch:
    """The Prometheus to ask: a program to start, or `running`, the address of one that scrapes the stack already.

    `labels` narrows what a running one is asked for. Data and logs of what is started go to `folder`.
    """

    folder: Path
    program: Path | None = None
    running: str | None = None
    labels: str = ""


@asynccontextmanager
async def watching(
    plan: Plan, target: Target, watch: Watch, generators: Generators
) -> AsyncIterator[tuple[Prometheus, dict[str, int]]]:
    """The Prometheus to ask, and the jobs whose every target it is to have scraped, with how many they are."""
    if watch.running is not None:
        prometheus = Prometheus(watch.running, watch.labels)
        needed = {"explainer": OF_EXPLAINER, "scorer": OF_SCORER}
        if plan.triton_alone and target.triton is not None:
            needed["triton"] = OF_TRITON
        yield prometheus, await _jobs_of(prometheus, plan.seconds, needed)
        return
    assert watch.program is not None
    async with AsyncExitStack() as opened:
        targets = {f"earwitness-{name}": [urlsplit(url).netloc] for name, url in target.metrics.items()}
        targets["earwitness-bench"] = generators.metrics
        if target.process_ids:  # the stack runs on this machine
            registry = CollectorRegistry()
            triton = target.process_ids.get("triton")
            registry.register(CpuCollector({} if triton is None else {"triton": triton}))
            machine = MetricsServer("127.0.0.1", 0, registry)
            opened.callback(machine.close)
            targets["machine"] = [f"127.0.0.1:{machine.port}"]
        server = PrometheusServer(
            watch.program, watch.folder, targets, scrape_s=min(SCRAPE_S, plan.seconds / SCRAPES_A_STEP)
        )
        prometheus = await opened.enter_async_context(server)
        yield prometheus, {job: len(addresses) for job, addresses in targets.items()}


async def _jobs_of(prometheus: Prometheus, seconds: float, needed: Mapping[str, str]) -> dict[str, int]:
    """The jobs of a running Prometheus that show metrics, by what shows them, and how many targets each has.

    Raises: BenchError when one is missing, or scraped too seldom for steps of so many seconds.
    """
    now = await prometheus.now()
    found = await prometheus.window("|".join(needed.values()), now - LOOK_BACK_S, now)
    jobs: Counter[str] = Counter()
    for name, metric in needed.items():
        if not found.instances(metric):
            raise BenchError(f"Prometheus at {prometheus.url} has not scraped the {name} in the last five minutes")
        jobs.update(job for job, _ in found.instances(metric))
        least_s = SCRAPES_A_STEP * found.interval_s(metric)
        if seconds < least_s:
            raise BenchError(
                f"Prometheus at {prometheus.url} scrapes the {name} every {least_s / SCRAPES_A_STEP:.2g} s: give steps "
                f"of at least --seconds {least_s:.3g}, or let one be started (--prometheus FILE)"
            )
    return dict(jobs)
