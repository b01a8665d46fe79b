"""10 000 fuzzed requests to every RPC of real services: `python -m tests.fuzz [--requests N] [--json PATH]`.

Requests are right, wrong in some fields or wrong in their bytes, drawn from a seed: the same seed sends the same ones.
Every answer must be one that a caller can act on, and the services must be as well afterwards as before. Ends with
status 1 when a promise was broken, and says by which request.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.draw import Rpc, every_rpc
from tests.fuzz.run import Report, fuzz, ordinary_faults
from tests.fuzz.stage import staged
from tests.helpers.machine import machine

MIB = 2**20
SHOWN = 20
"""Findings that are printed; the JSON file has all of them."""
DEFECTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS")


async def run(rpcs: Sequence[Rpc], seed: int, indices: range, folder: Path) -> list[Report]:
    """A report for each RPC; after one that ended a service, the next finds them started again."""
    reports: list[Report] = []
    waiting = list(rpcs)
    while waiting:
        async with staged(folder) as stage:
            while waiting:
                rpc = waiting.pop(0)
                await stage.prepare(rpc.method.name)
                report = await fuzz(rpc, stage, seed, indices)
                reports.append(report)
                if not report.crash:
                    report.findings += await ordinary_faults(rpc, stage)
                print_line(report)
                if report.crash:
                    break
    return reports


def print_line(report: Report) -> None:
    codes = " ".join(f"{code}:{count}" for code, count in report.codes.most_common())
    memory = "/".join(f"{each / MIB:.0f}" for each in report.memory_bytes.values())
    print(
        f"{report.rpc.name:34} {report.count:8} {report.count / report.seconds:6.0f} {defects(report):9}"
        f" {int(bool(report.crash)):7} {len(report.findings):8} {report.slowest_s:9.2f}  {memory:11}  {codes}",
        flush=True,
    )


def defects(report: Report) -> int:
    """Answers that are our own fault."""
    return sum(report.codes[code] for code in DEFECTS)


def figures(report: Report) -> dict[str, object]:
    return {
        "rpc": report.rpc.path,
        "server": report.rpc.server,
        "requests": report.count,
        "seconds": report.seconds,
        "codes": dict(report.codes),
        "defects": defects(report),
        "slowest_s": report.slowest_s,
        "memory_bytes": report.memory_bytes,
        "crash": report.crash,
        "findings": [str(each) for each in report.findings],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="requests to each RPC (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="draws the requests (default: 0)")
    parser.add_argument("--rpc", help="one RPC alone, as the table names it, or one server's")
    parser.add_argument("--only", type=int, help="one request alone, by its number")
    parser.add_argument("--json", type=Path, help="write the figures, the findings and the machine's description here")
    options = parser.parse_args()
    rpcs = [each for each in every_rpc() if options.rpc in (None, each.server, each.name)]
    if not rpcs:
        parser.error(f"--rpc: no such RPC; there are {', '.join(each.name for each in every_rpc())}")
    indices = range(options.requests) if options.only is None else range(options.only, options.only + 1)
    print(
        f"{'RPC':34} {'requests':>8} {'per s':>6} {'INTERNALs':>9} {'crashes':>7} {'findings':>8} {'slowest s':>9}"
        f"  {'RSS MiB':11}  answers"
    )
    with tempfile.TemporaryDirectory(prefix="earwitness-fuzz-") as work:
        reports = asyncio.run(run(rpcs, options.seed, indices, Path(work)))
    findings = [finding for report in reports for finding in report.findings]
    for finding in findings[:SHOWN]:
        print(f"\n{finding}")
    crashes = sum(bool(report.crash) for report in reports)
    count, internals = sum(report.count for report in reports), sum(map(defects, reports))
    print(f"{count} requests, {internals} INTERNALs, {crashes} crashes, {len(findings)} findings")
    if options.json:
        body = {"machine": machine(), "seed": options.seed, "rpcs": [figures(report) for report in reports]}
        options.json.write_text(json.dumps(body, indent=2) + "\n")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
