"""Writes a sweep of one objective as files."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.client.output.directory import new_directory
from earwitness.client.output.folder import write_excerpts, write_explanations, write_json
from earwitness.client.output.page import REAL_FOLDER
from earwitness.client.output.report import Outcome, SweepReport
from earwitness.client.output.sweep_page import write_sweep_page
from earwitness.client.output.sweeps_page import write_sweeps_page
from earwitness.client.output.words import target_option
from earwitness.client.saved_sweep import SavedSweep
from earwitness.client.sweep_archive import ARCHIVE_FILE, write_archive
from earwitness.client.values import Score, Settings

SWEEP_MARKS = ("sweep.json", "sweep.csv")
"""A sweep's folder has them."""
SWEEPS_MARKS = ("objectives.json", "index.html")
"""The folder of a sweep of several objectives has them."""
SCORE_COLUMNS = {"rank": "covariance_rank"}
"""Where a score's field is named otherwise in the table: its `rank` is the setting's place."""


def write_sweep(directory: Path, report: SweepReport, saved: SavedSweep, *, force: bool = False) -> None:
    """Write the folder: `sweep.csv` and `sweep.json` (every setting with all its figures), `sweep.npz` (the sweep with
    every latent: see `sweep_archive`), `grid.png`, a folder of explanations for each of the examples, `real/` with the
    excerpts, and `index.html`, which shows and plays all of it.

    The folder appears whole or not at all. Raises: InvalidArgument when it holds something and `force` is not given.
    """
    with new_directory(directory, force=force, marks=SWEEP_MARKS) as folder:
        write_archive(saved, folder)
        write_sweep_files(report, folder, archive=ARCHIVE_FILE)


def write_sweeps(
    directory: Path, reports: Mapping[str, SweepReport], saved: SavedSweep, *, force: bool = False
) -> None:
    """Write the folder of a sweep of several objectives: in it one folder for each, named by the key, as `write_sweep`
    writes it; `sweep.npz`, which holds all of them; `objectives.json`, what each one chose; and `index.html`, which
    shows all of them at a glance.

    The folder appears whole or not at all. Raises: InvalidArgument when it holds something and `force` is not given.
    """
    with new_directory(directory, force=force, marks=SWEEPS_MARKS) as folder:
        for name, report in reports.items():
            (folder / name).mkdir()
            write_sweep_files(report, folder / name, archive=f"../{ARCHIVE_FILE}")
        write_archive(saved, folder)
        write_json({name: _choice_document(report) for name, report in reports.items()}, folder / "objectives.json")
        write_sweeps_page(reports, folder / "index.html")


def write_sweep_files(report: SweepReport, folder: Path, *, archive: str) -> None:
    """What `write_sweep` writes into a folder that is there, beside the archive, whose path from it is `archive`."""
    from earwitness.client.output.grid import Grid, write_grid_png

    _write_table(report.best_first, folder / "sweep.csv")
    write_json(sweep_document(report), folder / "sweep.json")
    origin = (report.model.name, report.summary.weights_sha256, report.objective.layer)
    for examples in report.examples:
        (folder / examples.name).mkdir()
        write_explanations(examples.explanations, origin, folder / examples.name)
    write_excerpts(report.excerpts, folder / REAL_FOLDER)
    write_grid_png(Grid.of(report.best_first), f"{report.model.name}: {report.objective}", folder / "grid.png")
    write_sweep_page(report, folder, REAL_FOLDER, archive)


def sweep_document(report: SweepReport) -> dict[str, Any]:
    """The sweep as JSON: everything but arrays, sounds and pictures."""
    against = report.against
    return {
        "earwitness_version": __version__,
        "finished": report.finished.astimezone(UTC).isoformat(timespec="seconds"),
        "model": report.model.name,
        "weights_sha256": report.summary.weights_sha256,
        "objective": asdict(report.objective),
        "meaning": report.meaning,
        "seeds": list(report.seeds),
        "setting_count": report.setting_count,
        "summary": asdict(report.summary),
        "reference": None
        if against is None
        else {
            "version": against.version.name,
            "selection": str(against.reference.selection),
            "description": against.reference.description,
            "row_count": against.version.selected_count,
            "unit": against.unit,
            "criterion": against.criterion and asdict(against.criterion),
            "unit_minimum": against.version.unit_minimum,
            "unit_maximum": against.version.unit_maximum,
        },
        "outcomes": [_outcome_document(each) for each in report.best_first],
        "examples": {each.name: asdict(each.outcome.settings) for each in report.examples},
        "excerpts": [{"source": each.source, "activation": each.activation} for each in report.excerpts],
    }


def _choice_document(report: SweepReport) -> dict[str, Any]:
    """What a sweep chose for one objective; `best` is None where nothing was ranked."""
    best = report.best_first[0]
    return {
        "objective": asdict(report.objective),
        "meaning": report.meaning,
        "reference": report.against.version.name if report.against else None,
        "best": _outcome_document(best) if best.ranked else None,
    }


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    ranked = outcome.ranked
    place = {} if ranked is None else {
        "rank": ranked.rank,
        "probability_best": ranked.probability_best,
        "leaves_range": ranked.leaves_range,
        "criterion_value": ranked.criterion_value,
        "kept_rows": list(ranked.kept_rows),
        "score": asdict(ranked.score),
    }  # fmt: skip
    return {
        "settings": asdict(outcome.settings),
        **place,
        "diverged_count": outcome.diverged_count,
        "activations": [value if math.isfinite(value) else None for value in outcome.activations.tolist()],
    }


def _cell(settings: Settings, name: str) -> object:
    """A setting as a table holds it, a target as the command line takes it."""
    if name == "target":
        return None if settings.target is None else target_option(settings.target)
    return getattr(settings, name)


def _write_table(outcomes: Sequence[Outcome], path: Path) -> None:
    """One line for each setting, best first."""
    settings = [field.name for field in fields(Settings)]
    scores = [field.name for field in fields(Score)]
    places = ["rank", "probability_best", "leaves_range"]
    with path.open("w", newline="", encoding="utf-8") as file:
        ranked = all(each.ranked for each in outcomes)
        writer = csv.writer(file)
        score_columns = [SCORE_COLUMNS.get(name, name) for name in scores]
        writer.writerow(
            [*settings, "activation_median", "diverged_count", *([*places, *score_columns] if ranked else [])]
        )
        for each in outcomes:
            row = [*(_cell(each.settings, name) for name in settings), each.median, each.diverged_count]
            if each.ranked is not None and ranked:
                row += [getattr(each.ranked, name) for name in places]
                row += [getattr(each.ranked.score, name) for name in scores]
            writer.writerow(row)
