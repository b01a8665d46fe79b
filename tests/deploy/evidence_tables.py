"""The tables of deploy/evidence/README.md and CRITERIA.md, from the figures that lie beside them.

`python -m tests.deploy.evidence_tables` prints them, to be pasted where the figures have changed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.client.output.words import number, percent, settings_line
from earwitness.client.sweep_archive import read_archive
from earwitness.client.sweep_values import SweepResult
from earwitness.client.values import RankedBatch, Settings
from earwitness.evidence.ways.report import tables
from tests.deploy.chart import ROOT

EVIDENCE = ROOT / "deploy/evidence"
FIGURES = EVIDENCE / "evidence.json"
WAYS = EVIDENCE / "ways"


def folders() -> list[Path]:
    """Of the sweeps."""
    return sorted(path for path in EVIDENCE.iterdir() if path.is_dir() and path != WAYS)


def ways_files() -> list[Path]:
    """What `earwitness evaluate ways` found, a file for each model."""
    return sorted(WAYS.glob("*.json"))


def ways_tables(file: Path) -> str:
    """The tables of a model's ways, each under its title."""
    return "\n\n".join(f"### {each.title}\n\n{each.markdown()}" for each in tables(json.loads(file.read_text())))


def objective_of(folder: Path) -> dict[str, Any]:
    """What the judges' figures say of a folder's sweep."""
    sweep_id = read_archive(folder).sweep.sweep_id
    found: list[dict[str, Any]] = json.loads(FIGURES.read_text())["objectives"]
    (objective,) = (each for each in found if each["sweep"] == sweep_id)
    return objective


def oppositions() -> list[dict[str, Any]]:
    """What the judges say of objectives that should sound opposite."""
    found: list[dict[str, Any]] = json.loads(FIGURES.read_text())["oppositions"]
    return found


def criteria_figures() -> list[Path]:
    """What was found of criteria, a file for each model."""
    return sorted(EVIDENCE.glob("criteria-*.json"))


def compared(figures: Path) -> dict[str, Any]:
    """The one model of such a file."""
    (model,) = json.loads(figures.read_text())["models"]
    return dict(model)


def criteria_table(model: dict[str, Any]) -> str:
    """What every criterion chooses whatever the range, and what that is worth; the regret of what it chooses within."""
    rows = []
    for place, free in enumerate(model["whole"]["choices"]):
        if free["within_range"]:
            continue
        within = model["whole"]["choices"][place + 1]
        assert (within["criterion"], within["within_range"]) == (free["criterion"], True)
        cells = [
            f"`{free['criterion']}`",
            *(
                "/".join(f"{each[name]:g}" for name in ("learning_rate", "prior_weight", "steps"))
                for each in free["settings"]
            ),
            *(f"{each:.3f}" for each in free["auc"].values()),
            " / ".join(f"{each:.3f}" for each in free["kernel"]),
            f"{free['regret']:.2f}",
            f"{held_out(model, place):.2f}",
            f"{within['regret']:.2f}",
            f"{held_out(model, place + 1):.2f}",
        ]
        rows.append(" | ".join(cells))
    meanings, judges = (" | ".join(each) for each in (model["meanings"], model["whole"]["choices"][0]["auc"]))
    head = (
        f"criterion | {meanings} | {judges} | kernel distance | regret | held out | within the range: regret | held out"
    )
    return _table(head, rows)


def held_out(model: dict[str, Any], place: int) -> float:
    """The mean regret over the splits of the choice at a place."""
    return float(np.mean([split["choices"][place]["regret"] for split in model["splits"]]))


def grid_table(folder: Path) -> str:
    """All settings of a sweep, the best first."""
    saved = read_archive(folder)
    (ranking,) = saved.sweep.rankings
    return _table(
        "rank | rate | λ | steps | activation, median | FID | 95 % interval | leaves the real range",
        (_grid_row(each, saved.sweep.results[int(each.id)]) for each in ranking.batches),
    )


def judges_table(objective: dict[str, Any]) -> str:
    """Chosen, median and worst setting and real audio, as the judges hear them."""
    rows = []
    for each in objective["settings"]:
        kernel = each["kernel"]
        interval = f"{number(kernel['interval_low'])} to {number(kernel['interval_high'])}"
        rows.append(
            f"{each['place']}: {settings_line(Settings(**each['settings']))} | {number(each['activation_median'])} | "
            f"{_heard(each)} | {number(kernel['distance'])}, {interval} | {number(each['diversity']['ratio'])}"
        )
    real, floor = objective["real"], objective["settings"][0]["kernel"]["noise_floor_high"]
    rows.append(f"real excerpts | {number(real['activation_median'])} | {_heard(real)} | below {number(floor)} | 1")
    heard = " | ".join(f"{name} hears a voice" for name in real["opinions"])
    return _table(f"setting | activation | {heard} | kernel distance to real, 95 % | spread, real audio's is 1", rows)


def contrasts_table(opposition: dict[str, Any]) -> str:
    """How well each judge tells two opposite objectives apart."""
    places = opposition["contrasts"]
    names = [each["judge"] for each in next(iter(places.values()))]
    return _table(
        "explanations | " + " | ".join(names),
        (f"{place} | " + " | ".join(_contrast_words(each) for each in found) for place, found in places.items()),
    )


def _grid_row(ranked: RankedBatch, result: SweepResult) -> str:
    score, settings = ranked.score, result.settings
    cells = [
        f"{ranked.rank} | {settings.learning_rate:g} | {settings.prior_weight:g} | {settings.steps}",
        number(float(np.median(result.activations))),
        number(score.distance),
        f"{number(score.interval_low)} to {number(score.interval_high)}",
        "yes" if ranked.leaves_range else "",
    ]
    return " | ".join(cells)


def _heard(figures: dict[str, Any]) -> str:
    return " | ".join(percent(each["vocal_share"]) for each in figures["opinions"].values())


def _contrast_words(contrast: dict[str, Any]) -> str:
    return f"{contrast['auc']:.3f}, {contrast['auc_low']:.3f} to {contrast['auc_high']:.3f}"


def _table(head: str, rows: Iterable[str]) -> str:
    lines = [head, "|".join(["---"] * (head.count("|") + 1)), *rows]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def main() -> None:
    """Print all tables."""
    for folder in folders():
        print(f"## {folder.name}\n\n{judges_table(objective_of(folder))}\n\n{grid_table(folder)}\n")
    for file in ways_files():
        print(f"## Ways to search: {file.stem}\n\n{ways_tables(file)}\n")
    for each in oppositions():
        print(f"## {each['high']} against {each['low']}\n\n{contrasts_table(each)}\n")
    for figures in criteria_figures():
        model = compared(figures)
        print(f"## {model['model']}\n\n{criteria_table(model)}\n")


if __name__ == "__main__":
    main()
