"""A study on paper: study.md to read, study.csv a line for each figure, study.json all of it."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.files import whole_file
from earwitness.text import json_text
from earwitness.training.replay.alterations import ALTERATIONS
from earwitness.training.replay.rates import Estimate
from earwitness.training.replay.study.conclusions import conclusions
from earwitness.training.replay.study.results import PARTS, Row, Study
from earwitness.training.replay.wording import points, rate

Table = tuple[list[str], list[list[str]]]
"""Names of the columns, those of numbers ending in #, and rows of cells."""

KINDS = "EER on eval by kind of loudspeaker"
SHORTCUTS = "EER on altered eval, and its difference from the untouched"
HOW_TO_READ = (
    "EER on the ROC's convex hull, mean over seeds; in brackets the interval that holds it in 95 of 100 cases, from "
    "resampling speakers (trials, where speakers are unknown). The interval is about other speakers, not about other "
    "seeds. With more data, windows of one second slide over whole utterances, and a score is the mean over them; "
    "`stc_lcnn` has four seconds else, and more parameters."
)


def write_study(study: Study, folder: Path) -> None:
    """Writes all three files; each is whole at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "study.md") as partial:
        partial.write_text(markdown(study), encoding="utf-8")
    with whole_file(folder / "study.json") as partial:
        partial.write_text(json_text(document(study)) + "\n", encoding="utf-8")
    with whole_file(folder / "study.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["network", "more_data", "seed", "part", "group", "figure", "value", "low", "high"])
        table.writerows(_lines(study))


def main_table(study: Study) -> Table:
    """The paper's table: a row for each network and amount of data; how far seeds differ, where there are several."""
    parts = [part for part in PARTS if part in study.trials]
    columns = ["network", "parameters#", "data", "seeds#", "epochs#", "minutes#", *(f"{part}#" for part in parts)]
    rows = []
    for row in study.rows:
        epochs = "–".join(dict.fromkeys(str(each([run.epochs for run in row.runs])) for each in (min, max)))
        minutes = f"{np.mean([run.seconds for run in row.runs]) / 60:.0f}"
        cells = [row.cell.network, f"{row.parameters:,}", row.cell.data, str(len(row.runs)), epochs, minutes]
        gap = row.gap
        cells += [*(rate(row.eer(part)) for part in parts), points(gap.change) if gap else "undefined"]
        rows.append([*cells, _seeds_on_eval(row)])
    columns.append("eval − dev#")
    several = any(len(row.runs) > 1 for row in study.rows)
    return ([*columns, "eval, seeds#"], rows) if several else (columns, [cells[:-1] for cells in rows])


def _seeds_on_eval(row: Row) -> str:
    """From the seed of the lowest EER to that of the highest; empty for one seed."""
    values = [100 * run.eers["eval"].value for run in row.runs if "eval" in run.eers]
    return f"{min(values):.1f} to {max(values):.1f} %" if len(values) > 1 else ""


def kinds_table(study: Study) -> Table:
    """EER on eval by kind of loudspeaker; no rows where the protocols tell none."""
    kinds = study.kinds
    rows = [[row.cell.network, row.cell.data, *(rate(row.kind(kind)) for kind in kinds)] for row in study.rows]
    return ["network", "data", *(f"{kind}#" for kind in kinds)], rows if kinds else []


def shortcuts_table(study: Study) -> Table:
    """EER on altered eval, and what that is more than the untouched one; no rows where none was asked for."""
    rows = []
    for row in study.rows:
        found = {name: pair for name in ALTERATIONS if (pair := row.shortcut(name))}
        if found:
            cells = [f"{100 * altered.value:.1f} %, {points(change)}" for altered, change in found.values()]
            rows.append([row.cell.network, row.cell.data, rate(row.eer("eval")), *cells])
    return ["network", "data", "untouched#", *(f"{each.words}#" for each in ALTERATIONS.values())], rows


def remarks(study: Study) -> list[str]:
    """Runs without figures, parts without EER, and warnings."""
    return [
        *(f"{run} {why}" for run, why in study.pending.items()),
        *(f"{part}: the EER is undefined: {why}" for part, why in study.undefined.items()),
        *study.warnings,
    ]


def markdown(study: Study) -> str:
    """The whole study to read."""
    counts = ", ".join(f"{part} {genuine} + {spoof}" for part, (genuine, spoof) in study.trials.items())
    settings = ", ".join(f"{name} {value}" for name, value in study.settings.items() if value is not None)
    lines = [
        "# Replay detectors: how far they generalise",
        f"Corpus {study.corpus}" + (f", other {study.other} (all its splits)" if study.other else "") + ".",
        f"Trials, genuine + replayed: {counts}. {study.resamples} resamples. Each run: {settings}.",
        *_markdown_table(main_table(study)),
        *conclusions(study),
        HOW_TO_READ,
    ]
    for title, table in ((KINDS, kinds_table(study)), (SHORTCUTS, shortcuts_table(study))):
        if table[1]:
            lines += [f"## {title}", *_markdown_table(table)]
    if remarks(study):
        lines += ["## Remarks", "\n".join(f"- {each}" for each in remarks(study))]
    return "\n\n".join(lines) + "\n"


def document(study: Study) -> dict[str, Any]:
    """All of it as plain values for JSON; rates are 0 to 1, null where there is none."""
    return {
        "corpus": str(study.corpus),
        "other": study.other and str(study.other),
        "trials": {part: {"genuine": genuine, "spoof": spoof} for part, (genuine, spoof) in study.trials.items()},
        "settings": dict(study.settings),
        "resamples": study.resamples,
        "seed": study.seed,
        "rows": [_row_document(row, study) for row in study.rows],
        "conclusions": conclusions(study),
        "pending": dict(study.pending),
        "undefined": dict(study.undefined),
        "warnings": list(study.warnings),
    }


def _row_document(row: Row, study: Study) -> dict[str, Any]:
    gap = row.gap
    shortcuts = {name: pair for name in ALTERATIONS if (pair := row.shortcut(name))}
    return {
        "network": row.cell.network,
        "more_data": row.cell.more_data,
        "parameters": row.parameters,
        "eer": {part: (eer := row.eer(part)) and eer.to_dict() for part in study.trials},
        "gap": gap and gap.change.to_dict(),
        "kinds": {kind: (eer := row.kind(kind)) and eer.to_dict() for kind in study.kinds},
        "shortcuts": {
            name: {"eer": altered.to_dict(), "difference": change.to_dict()}
            for name, (altered, change) in shortcuts.items()
        },
        "runs": [
            {
                "seed": run.seed,
                "epochs": run.epochs,
                "best_epoch": run.best_epoch,
                "seconds": run.seconds,
                "eer": {part: eer.to_dict() for part, eer in run.eers.items()},
            }
            for run in row.runs
        ],
    }


def _lines(study: Study) -> Iterator[list[Any]]:
    """study.csv: figures of each seed, then of the mean."""
    for row in study.rows:
        start = [row.cell.network, int(row.cell.more_data)]
        for run in row.runs:
            yield [*start, run.seed, "", "", "epochs", run.epochs, "", ""]
            yield [*start, run.seed, "", "", "seconds", run.seconds, "", ""]
            for part, eer in run.eers.items():
                yield [*start, run.seed, part, "", *_figure("eer", eer)]
        for part in study.trials:
            yield from ([*start, "mean", part, "", *_figure("eer", eer)] for eer in [row.eer(part)] if eer)
        if row.gap:
            yield [*start, "mean", "eval", "", *_figure("eval-dev", row.gap.change)]
        for kind in study.kinds:
            yield from ([*start, "mean", "eval", kind, *_figure("eer", eer)] for eer in [row.kind(kind)] if eer)
        for name in ALTERATIONS:
            if pair := row.shortcut(name):
                yield [*start, "mean", "eval", name, *_figure("eer", pair[0])]
                yield [*start, "mean", "eval", name, *_figure("difference", pair[1])]


def _figure(name: str, estimate: Estimate) -> list[Any]:
    return [name, estimate.value, estimate.interval.low, estimate.interval.high]


def _markdown_table(table: Table) -> Sequence[str]:
    columns, rows = table
    if not rows:
        return ["No run is finished yet."]
    head = [column.removesuffix("#") for column in columns]
    rule = ["---:" if column.endswith("#") else "---" for column in columns]
    return ["\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))]
