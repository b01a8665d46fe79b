"""Writes evidence as files: a document, a table, a page."""

import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.client.output.directory import new_directory
from earwitness.client.output.folder import write_json
from earwitness.evidence.judges import Opinion
from earwitness.evidence.page import write_evidence_page
from earwitness.evidence.values import REAL, Evidence, ObjectiveEvidence, SettingEvidence

EVIDENCE_MARKS = ("evidence.json", "evidence.csv")
"""A folder of evidence has them."""


def write_evidence(directory: Path, evidence: Evidence, *, example_count: int, force: bool = False) -> None:
    """Write the folder: `evidence.json` (all figures), `evidence.csv` (the table) and `index.html`, one page that holds
    its pictures and sounds, `example_count` of each setting and of real audio.

    The folder appears whole or not at all. Raises: InvalidArgument when it holds something and `force` is not given.
    """
    with new_directory(directory, force=force, marks=EVIDENCE_MARKS) as folder:
        write_json(evidence_document(evidence), folder / "evidence.json")
        rows = evidence_rows(evidence)
        with (folder / "evidence.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
            writer.writeheader()
            writer.writerows(rows)
        write_evidence_page(evidence, folder / "index.html", example_count)


def evidence_document(evidence: Evidence) -> dict[str, Any]:
    """The evidence as JSON: everything but arrays, sounds and pictures."""
    return {
        "earwitness_version": __version__,
        "finished": evidence.finished.isoformat(timespec="seconds"),
        "recordings": list(evidence.recordings),
        "unjudged": evidence.unjudged,
        "objectives": [each.to_dict() for each in evidence.objectives],
        "oppositions": [asdict(each) for each in evidence.oppositions],
        "likenesses": [
            {**asdict(each), "behaves_alike": each.behaves_alike, "words": each.words()} for each in evidence.likenesses
        ],
    }


def evidence_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """The table: a row for each judged setting of each objective, and one for the real audio beside them."""
    rows = []
    for each in evidence.objectives:
        rows += [_setting_row(each, setting) for setting in each.settings]
        rows.append(
            {
                **dict.fromkeys(rows[-1], ""),
                **_objective_cells(each),
                "place": REAL,
                "rows": each.real.row_count,
                "activation_median": each.real.activation_median,
                **_opinion_cells(each.real.opinions),
            }
        )
    return rows


def _setting_row(objective: ObjectiveEvidence, setting: SettingEvidence) -> dict[str, Any]:
    score, kernel, diversity = setting.ranked.score, setting.kernel, setting.diversity
    return {
        **_objective_cells(objective),
        "place": setting.place,
        **asdict(setting.settings),
        "rank": setting.ranked.rank,
        "rows": score.row_count,
        "fid": score.distance,
        "fid_interval_low": score.interval_low,
        "fid_interval_high": score.interval_high,
        "fid_noise_floor": score.noise_floor,
        "fid_noise_floor_high": score.noise_floor_high,
        "leaves_range": setting.ranked.leaves_range,
        "activation_median": setting.activation_median,
        **_opinion_cells(setting.opinions),
        "kernel_distance": kernel.distance,
        "kernel_interval_low": kernel.interval_low,
        "kernel_interval_high": kernel.interval_high,
        "kernel_noise_floor": kernel.noise_floor,
        "kernel_noise_floor_high": kernel.noise_floor_high,
        "diversity_ratio": diversity.ratio,
        "near_duplicates": diversity.near_duplicate_count,
    }


def _objective_cells(objective: ObjectiveEvidence) -> dict[str, Any]:
    gathered = objective.gathered
    return {
        "sweep": gathered.sweep_id,
        "model": gathered.model.name,
        "objective": str(gathered.objective),
        "meaning": gathered.meaning,
    }


def _opinion_cells(opinions: Mapping[str, Opinion]) -> dict[str, float]:
    cells = {}
    for name, opinion in opinions.items():
        cells[f"{name}_median"], cells[f"{name}_vocal_share"] = opinion.median, opinion.vocal_share
    return cells
