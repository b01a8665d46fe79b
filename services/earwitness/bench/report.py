"""Writes a benchmark as files: a document for comparisons, a table, pictures, a page."""

import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earwitness.bench.conclusions import conclude
from earwitness.bench.values import BenchReport, StepFigures
from earwitness.client.output.directory import new_directory
from earwitness.text import json_text

FORMAT = 1
"""Of the document; one more for every change that older ones cannot be compared with."""
BENCH_MARKS = ("bench.json", "bench.csv")
"""A folder of a benchmark has them."""


def write_bench(directory: Path, report: BenchReport, *, force: bool = False) -> None:
    """Write the folder: `bench.json` (all figures), `bench.csv` (a row for each step and kind of call), the pictures
    as PNG and `index.html`.

    The folder appears whole or not at all. Raises: InvalidArgument when it holds something and `force` is not given.
    """
    from earwitness.bench.page import write_bench_page
    from earwitness.bench.pictures import save

    with new_directory(directory, force=force, marks=BENCH_MARKS) as folder:
        (folder / "bench.json").write_text(json_text(bench_document(report)) + "\n", encoding="utf-8")
        rows = list(bench_rows(report))
        with (folder / "bench.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
            writer.writeheader()
            writer.writerows(rows)
        save(report, folder)
        write_bench_page(report, folder / "index.html")


def bench_document(report: BenchReport) -> dict[str, Any]:
    """A report as JSON."""
    return {
        "format": FORMAT,
        **asdict(report),
        "started": report.started.isoformat(timespec="seconds"),
        "finished": report.finished.isoformat(timespec="seconds"),
        "conclusions": asdict(conclude(report)),
    }


def bench_rows(report: BenchReport) -> Iterator[dict[str, Any]]:
    """A row for each kind of call in each step."""
    for loop, steps in (("closed", report.closed), ("triton alone", report.triton), ("open", report.opened)):
        for step in steps:
            for kind in step.kinds:
                yield {
                    "loop": loop,
                    **_step_cells(step),
                    "kind": kind.kind,
                    "kind_calls_per_s": kind.calls_per_s,
                    "kind_row_steps_per_s": kind.row_steps_per_s,
                    "p50_s": kind.p50_s,
                    "p95_s": kind.p95_s,
                    "p99_s": kind.p99_s,
                    "refused_p50_s": kind.refused_p50_s,
                    "refused_p99_s": kind.refused_p99_s,
                    **{f"calls_{code}": count for code, count in sorted(kind.codes.items())},
                }


def _step_cells(step: StepFigures) -> dict[str, Any]:
    cells = asdict(step)
    cpu = cells.pop("cpu_cores")
    for name in ("load", "kinds"):
        del cells[name]
    return {**cells, **{f"cpu_{process}": cores for process, cores in sorted(cpu.items())}}
