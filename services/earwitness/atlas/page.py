"""The pages of an atlas: a grid of all units, and a page for each. They work from a folder, without a server."""

from collections import Counter
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from earwitness.atlas.showing import MEDIA
from earwitness.atlas.store import leave_only, whole, write_bytes
from earwitness.atlas.values import Atlas, SideReport, UnitKey, UnitReport
from earwitness.client import Model
from earwitness.client.output.page import distance_scale, render
from earwitness.client.output.words import number, settings_words, verdict
from earwitness.text import json_text

UNITS = "units"
DOCUMENT = "atlas.json"
TEMPLATES = "earwitness.client.output"
SENSES = {"maximise": "highest", "minimise": "lowest"}
LAST = 1e30
"""Of units without a score, by which they are sorted."""
NEIGHBOURS = 12
"""Units of the same cluster that a page of a unit names."""


@dataclass(frozen=True)
class Card:
    """A unit in the grid; `sort` has what it is sorted by, `words` what it is found by."""

    report: UnitReport
    page: str
    sort: dict[str, float]
    words: str
    sides: tuple[SideReport, ...]
    flags: tuple[str, ...]


def write_pages(atlas: Atlas, model: Model, folder: Path) -> None:
    """Write `index.html` and all that it shows; it comes last, so that what it names is there. Raises: OSError."""
    units = folder / UNITS
    units.mkdir(exist_ok=True)
    for name in ("style.css", "atlas.css", "atlas.js"):
        write_bytes(folder / name, resources.files(TEMPLATES).joinpath("templates", name).read_bytes())
    sizes = Counter(each.cluster for each in atlas.units)
    shared = {"atlas": atlas, "model": model, "media": MEDIA, "names": SENSES, "cluster_sizes": sizes}
    for report in atlas.units:
        _write("atlas_unit.html.j2", units / f"{report.key.file_name}.html", {**shared, **_unit_context(atlas, report)})
    pages = {f"{report.key.file_name}.html" for report in atlas.units}
    leave_only(units, lambda name: name in pages)
    write_bytes(folder / DOCUMENT, f"{json_text(asdict(atlas))}\n".encode())
    cards = [_card(report) for report in sorted(atlas.units, key=lambda each: each.place)]
    counts = {
        "dead": sum(each.dead for each in atlas.units),
        "duplicates": sum(each.duplicate_of is not None for each in atlas.units),
        "clusters": len([cluster for cluster, size in sizes.items() if cluster and size > 1]),
    }
    _write("atlas.html.j2", folder / "index.html", {**shared, "cards": cards, "counts": counts})


def _write(template: str, path: Path, context: dict[str, Any]) -> None:
    with whole(path) as partial:
        render(template, partial, context)


def _card(report: UnitReport) -> Card:
    relative = [side.relative for side in report.sides if side.relative is not None]
    return Card(
        report=report,
        page=f"{UNITS}/{report.key.file_name}.html",
        sort={
            "place": report.place,
            "score": max(relative) if relative else LAST,  # the sense that is explained worse
            "selectivity": report.selectivity,
        },
        words=" ".join(
            [
                str(report.key),
                f"{report.key.layer} {report.key.unit}",
                f"cluster {report.cluster}" if report.cluster else "",
                *_flags(report),
                *(side.meaning or "" for side in report.sides),
                *(name for side in report.sides for name, _ in side.origins),
            ]
        ).lower(),
        sides=report.sides,
        flags=_flags(report),
    )


def _flags(report: UnitReport) -> tuple[str, ...]:
    flags = []
    if report.dead:
        flags.append("dead")
    if report.duplicate_of is not None:
        flags.append(f"duplicate of {report.duplicate_of}")
    return tuple(flags)


def _unit_context(atlas: Atlas, report: UnitReport) -> dict[str, Any]:
    alike = [each for each in atlas.units if each.cluster == report.cluster and each.key != report.key]
    alike = sorted(alike, key=lambda each: (abs(each.place - report.place), each.place)) if report.cluster else []
    return {
        "report": report,
        "flags": _flags(report),
        "alike": [(each.key, f"{each.key.file_name}.html") for each in alike[:NEIGHBOURS]],
        "alike_count": len(alike),
        "duplicate_page": None if report.duplicate_of is None else f"{report.duplicate_of.file_name}.html",
        "sides": [
            {
                "side": side,
                "settings": settings_words(side.settings),
                "verdict": verdict(side.score) if side.score else None,
                "scale": distance_scale(side.score) if side.score else None,
                "relative": None if side.relative is None else number(side.relative),
                "command": _command(atlas, report.key, side),
            }
            for side in report.sides
        ],
    }


def _command(atlas: Atlas, key: UnitKey, side: SideReport) -> str:
    """What finds more of the same."""
    way = f" --draws {side.settings.draws}" if side.settings.optimiser == "draws" else ""
    seed = f" --seed {atlas.request.seed}" if atlas.request.seed else ""
    unit = f"--layer {key.layer} --unit {key.unit} --{side.sense}"
    return f"earwitness explain {atlas.model} {unit}{way}{seed} --out out/unit"
