"""Benchmarks in tables and words."""

from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.cli import console

if TYPE_CHECKING:
    from earwitness.bench.values import BenchReport


def print_comparison(first: Path, second: Path, *, json_output: bool) -> None:
    """Ratios of two runs, after anything that makes them incomparable.

    Raises: as `read_document`.
    """
    from earwitness.bench.compare import compare, read_document
    from earwitness.client.output.words import number

    documents = [read_document(path) for path in (first, second)]
    found = compare(*documents)
    if json_output:
        console.print_json(found.to_dict())
        return
    for difference in found.differences:
        console.show(f"not comparable: {difference}")
    rows = [
        [each.what, *("" if value is None else number(value) for value in (each.first, each.second, each.ratio))]
        for each in found.ratios
    ]
    console.print_table(f"{second} over {first}", ["", f"{first}#", f"{second}#", "ratio#"], rows)
    for path, document in zip((first, second), documents, strict=True):
        machine = document["machine"]
        console.show(
            f"{path}: {document['finished']}, earwitness {machine['earwitness']}, {machine['processors']} x "
            f"{machine['processor']}, load before {machine['load_average'][0]}, {document['backend']}"
        )


def print_report(report: "BenchReport") -> None:
    """Two tables for each part of a benchmark, of the steps and of the kinds of calls, and what they say."""
    from earwitness.bench.conclusions import conclude
    from earwitness.bench.words import COLUMNS, KIND_COLUMNS, step_cells, step_name

    parts = (("closed loop", report.closed), ("Triton alone", report.triton), ("open loop", report.opened))
    for title, steps in parts:
        if not steps:
            continue
        first = "rate" if title == "open loop" else "clients"
        rows, kinds = [], []
        for step in steps:
            cells, of_kinds = step_cells(step)
            rows.append([step_name(step), *cells])
            kinds += [[step_name(step) if place == 0 else "", *each] for place, each in enumerate(of_kinds)]
        console.print_table(title, [f"{first}#", *(f"{name}#" for name in COLUMNS)], rows)
        console.print_table(
            None, [f"{first}#", KIND_COLUMNS[0], *(f"{name}#" for name in KIND_COLUMNS[1:])], kinds, keys=2
        )
    for sentence in conclude(report).sentences:
        console.show(sentence)
