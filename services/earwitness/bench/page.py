"""The page of a benchmark: one file that holds its pictures."""

from dataclasses import dataclass
from pathlib import Path

from earwitness.bench.conclusions import conclude
from earwitness.bench.pictures import as_svg, drawings
from earwitness.bench.values import BenchReport, StepFigures
from earwitness.bench.words import COLUMNS, KIND_COLUMNS, step_cells, step_name
from earwitness.client.output.page import render


@dataclass(frozen=True)
class Picture:
    """A drawing, its file and what it shows."""

    name: str
    words: str
    svg: str


@dataclass(frozen=True)
class Part:
    """Steps of one sort, in a table; `rows` holds for each step its name and the cells of the step and its kinds."""

    title: str
    caption: str
    rows: list[tuple[str, list[str], list[list[str]]]]


def write_bench_page(report: BenchReport, path: Path) -> None:
    """Write the page."""
    parts = [
        _part(
            "Closed loop",
            "Each client calls again when it has its answer; one that is refused waits as long as the refusal says.",
            report.closed,
        ),
        _part(
            "Triton alone",
            "The search model through KServe's protocol, past the services: one step a call.",
            report.triton,
        ),
        _part(
            "Open loop",
            "Calls come at random moments and wait for nothing; times count from when they were due.",
            report.opened,
        ),
    ]
    render(
        "bench.html.j2",
        path,
        {
            "title": f"Throughput of {report.plan.model}",
            "report": report,
            "conclusions": conclude(report),
            "parts_of": [part for part in parts if part.rows],
            "columns": COLUMNS,
            "kind_columns": KIND_COLUMNS,
            "pictures": [
                Picture(name, words, as_svg(report, name, words, draw))
                for name, (words, draw) in drawings(report).items()
            ],
        },
    )


def _part(title: str, caption: str, steps: tuple[StepFigures, ...]) -> Part:
    rows = []
    for step in steps:
        cells, kinds = step_cells(step)
        rows.append((step_name(step), cells, kinds))
    return Part(title, caption, rows)
