"""A stack under mixed load for 20 minutes or longer: `soak.py [--minutes N] [--out FOLDER]`. What grows?

Callers explain, leave in the middle of a stream, sweep, cancel, build, score and delete references, on this machine
alone. All that they make they delete, so nothing should grow. Every few seconds the processes' memory, open files and
threads, the databases' sizes and the latencies are written down. Figures of the start are taken after a warm-up.
Leaves `samples.csv`, `soak.json` and `soak.png`; ends with status 1 when a call failed or a process ended.
"""

import argparse
import asyncio
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import ExplainerClient, ScorerClient, SweepClient
from tests.benchmarks.soak_load import Load
from tests.benchmarks.soak_report import Sample, draw_picture, print_report, report
from tests.helpers.machine import machine
from tests.helpers.processes import own_usage, usage

SERVERS = ("explainer", "scorer", "triton")
TOLD_S = 30.0
"""Seconds between two lines of progress."""
WARM_UP_SHARE, WARM_UP_S = 0.2, 180.0
"""Of the whole time, but no more than this: caches fill, code is compiled, pools of threads and connections open."""


@dataclass(frozen=True)
class Plan:
    """How long, how often and how hard."""

    seconds: float
    interval_s: float
    callers: int
    pause_s: float

    @property
    def warm_up_s(self) -> float:
        return min(WARM_UP_SHARE * self.seconds, WARM_UP_S)


async def soak(plan: Plan, settings: StackSettings, model: str) -> tuple[list[Sample], Load, str]:
    """Samples and calls, their times counted from the start of the load, and where the models ran.

    Raises: StackError when a process ends.
    """
    samples: list[Sample] = []
    async with Stack(settings, say=print) as stack:
        endpoints = stack.endpoints
        async with (
            ExplainerClient(endpoints.explainer) as explainer,
            SweepClient(endpoints.explainer) as sweeping,
            ScorerClient(endpoints.scorer) as scorer,
        ):
            load = Load(explainer, sweeping, scorer, await explainer.get_model(model), began_s=time.monotonic())
            await load.prepare()
            parts = [
                asyncio.create_task(each)
                for each in (
                    stack.watch(),
                    load.run(plan.callers, plan.pause_s),
                    _sample(plan, load, endpoints.process_ids, settings.data, samples),
                )
            ]
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
            finally:
                for each in parts:
                    each.cancel()
                await asyncio.gather(*parts, return_exceptions=True)
    return samples, load, endpoints.backend


async def _sample(plan: Plan, load: Load, process_ids: Mapping[str, int], data: Path, samples: list[Sample]) -> None:
    told_s = 0.0
    while (at_s := load.now_s) < plan.seconds:
        processes = {"callers": own_usage(os.getpid())}
        processes |= {name: usage(process_ids[name]) for name in SERVERS if name in process_ids}
        databases = {name: _database_bytes(data / f"{name}.db") for name in ("explainer", "scorer")}
        samples.append(Sample(at_s, processes, databases, len(load.calls)))
        if at_s >= told_s:
            told_s += TOLD_S
            memory = ", ".join(f"{name} {each.resident_bytes / 2**20:.0f}" for name, each in processes.items())
            failed = sum(call.failed for call in load.calls)
            print(f"{at_s / 60:5.1f} min: {len(load.calls)} calls, {failed} failed; MiB: {memory}", flush=True)
        await asyncio.sleep(plan.interval_s)


def _database_bytes(path: Path) -> int:
    """Of a SQLite file and its log."""
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--callers", type=int, default=4, help="callers at once (default: 4)")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two calls of a caller (default: 0.2)")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two samples (default: 5)")
    parser.add_argument("--model", default="svd-r1", help="a model of the repository (default: svd-r1)")
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--backend", choices=("triton", "local"), help="default: Triton where it can run")
    parser.add_argument("--out", type=Path, default=Path("out/bench/soak"), help="default: out/bench/soak")
    options = parser.parse_args()
    plan = Plan(60 * options.minutes, options.interval, options.callers, options.pause)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="earwitness-soak-") as work:
        settings = StackSettings(
            options.model_repository, Path(work), options.backend, ports=Ports(0, 0, 0, 0, 0, 0), inherit=False
        )
        samples, load, backend = asyncio.run(soak(plan, settings, options.model))
    with (options.out / "samples.csv").open("w", newline="") as file:
        rows = [sample.row() for sample in samples]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figures = report(samples, load.calls, plan.warm_up_s)
    print_report(figures)
    body = {"machine": machine(), "backend": backend, "model": options.model, "callers": options.callers, **figures}
    (options.out / "soak.json").write_text(json.dumps(body, indent=2) + "\n")
    draw_picture(samples, load.calls, options.out / "soak.png")
    sys.exit(any(call.failed for call in load.calls))


if __name__ == "__main__":
    main()
