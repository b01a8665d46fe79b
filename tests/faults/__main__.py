"""The fault tests, again and again, and what became of the calls: `python -m tests.faults [--repeat N]`."""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.faults.tally import RECORD

FOLDER = Path(__file__).parent
COLUMNS = ("fault", "injections", "calls", "ok", "retryable", "final", "hangs", "wrong")
Record = dict[str, Any]


def run(record: Path, repeat: int, workers: int) -> int:
    """Run the tests so often, adding to `record`; how many runs failed."""
    command = [sys.executable, "-m", "pytest", "-q", f"-n{workers}", "--dist=loadfile", str(FOLDER)]
    environment = {**os.environ, RECORD: str(record)}
    return sum(subprocess.run(command, env=environment, check=False).returncode != 0 for _ in range(repeat))


def rows(records: list[Record]) -> list[dict[str, Any]]:
    """One row of COLUMNS for each fault, summed over its runs, and one for all."""
    summed: dict[str, dict[str, Any]] = {}
    for each in records:
        counts = {
            "injections": each["injections"],
            "ok": each["ok"],
            "retryable": sum(each["retryable"].values()),
            "final": sum(each["final"].values()),
            "hangs": each["hangs"],
            "wrong": each["wrong"],
        }
        counts["calls"] = sum(counts[name] for name in ("ok", "retryable", "final", "hangs"))
        for fault in (each["fault"], "all"):
            row = summed.setdefault(fault, {"fault": fault, **dict.fromkeys(COLUMNS[1:], 0)})
            for name, count in counts.items():
                row[name] += count
    total = summed.pop("all", None)
    return [*summed.values(), *([total] if total else [])]


def figures(records: list[Record]) -> dict[str, list[float]]:
    """What tests measured by the way, over their runs."""
    found: dict[str, list[float]] = defaultdict(list)
    for each in records:
        for name, value in each["figures"].items():
            found[f"{each['fault']} {name}"].append(value)
    return found


def main() -> None:
    """See above; exits with 1 when a test failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="runs of every test")
    parser.add_argument("--workers", type=int, default=2, help="files at once")
    parser.add_argument(
        "--record", type=Path, default=Path("out/faults.jsonl"), help="written anew, a line for each test"
    )
    options = parser.parse_args()
    options.record.unlink(missing_ok=True)
    failed = run(options.record.absolute(), options.repeat, options.workers)
    records = [json.loads(line) for line in options.record.read_text().splitlines()]
    print(" | ".join(COLUMNS))
    for row in rows(records):
        print(" | ".join(str(row[name]) for name in COLUMNS))
    for name, values in figures(records).items():
        print(f"{name}: {', '.join(f'{value:.3g}' for value in values)}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
