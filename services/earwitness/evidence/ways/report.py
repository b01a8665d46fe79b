"""Writes evidence for ways as files: a document, tables in Markdown, a page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.client.output.directory import new_directory
from earwitness.client.output.folder import write_json
from earwitness.client.output.words import number, percent
from earwitness.evidence.ways.page import write_ways_page
from earwitness.evidence.ways.values import WaysEvidence, goals

WAYS_MARKS = ("ways.json", "ways.md")
"""A folder of evidence for ways has them."""


@dataclass(frozen=True)
class Table:
    """A title, columns, and rows as wide as these."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As a document has it, without its title."""
        lines = [" | ".join(self.columns), "|".join(["---"] * len(self.columns)), *map(" | ".join, self.rows)]
        return "\n".join(f"|{line}|" if place == 1 else f"| {line} |" for place, line in enumerate(lines))


def write_ways(directory: Path, evidence: WaysEvidence, *, example_count: int, force: bool = False) -> None:
    """Write the folder: `ways.json` (all figures), `ways.md` (the tables) and `index.html`, one page that holds its
    sounds, `example_count` of each way and objective.

    The folder appears whole or not at all. Raises: InvalidArgument when it holds something and `force` is not given.
    """
    document = ways_document(evidence)
    with new_directory(directory, force=force, marks=WAYS_MARKS) as folder:
        write_json(document, folder / "ways.json")
        found = tables(document)
        text = "\n\n".join(f"## {each.title}\n\n{each.markdown()}" for each in found)
        (folder / "ways.md").write_text(f"{text}\n", encoding="utf-8")
        write_ways_page(evidence, found, folder / "index.html", example_count)


def ways_document(evidence: WaysEvidence) -> dict[str, Any]:
    """The evidence as JSON: everything but sounds."""
    met = {
        way.name: [
            {"words": each.words, "figure": each.figure, "limit": each.limit, "met": each.met}
            for each in goals(evidence, way)
        ]
        for way in evidence.whole.ways
        if not way.is_real
    }
    return {"earwitness_version": __version__, **evidence.to_dict(), "goals": met}


def tables(document: Mapping[str, Any]) -> list[Table]:
    """The tables of a document: all recordings, each split, the bands where they were listened to, and the goals."""
    high, low = document["meanings"]
    found = [_main_table(f"{document['model']}: {high} / {low}", document, document["whole"])]
    for index, part in enumerate(document["splits"], 1):
        title = f"Split {index}: learnt from {_names(part['learned'])}; judged by {_names(part['judging'])}"
        found.append(_main_table(title, document, part))
    whole = document["whole"]["ways"]
    if bands := tuple(whole[0]["bands"]):
        rows = ((each["name"], *(_auc(each["bands"][name]) for name in bands)) for each in whole)
        found.append(Table(f"Energy by band: AUC of {high} over {low}", ("way", *bands), tuple(rows)))
    goals_met = (_goal_row(name, each) for name, held in document["goals"].items() for each in held)
    return [*found, Table("Goals", ("way", "goal", "figure", "limit", "met"), tuple(goals_met))]


def _main_table(title: str, document: Mapping[str, Any], part: Mapping[str, Any]) -> Table:
    meaning = document["meanings"][0]
    columns = (
        "way",
        *(f"{name}, AUC" for name in document["judges"]),
        *(f"{name} hears {meaning}" for name in document["judges"]),
        "kernel distance",
        "unit FID",
        "spread",
        "activation",
        "evaluations a row",
        "seconds a row",
    )
    return Table(title, columns, tuple(_row(each, document["judges"]) for each in part["ways"]))


def _row(way: Mapping[str, Any], judges: Sequence[str]) -> tuple[str, ...]:
    told = [way["told_apart"][name] for name in judges]
    return (
        way["name"],
        *map(_auc, told),
        *(f"{percent(each['high_share'])} / {percent(each['low_share'])}" for each in told),
        _pair(way, lambda side: number(side["kernel"]["distance"])),
        _pair(way, lambda side: _known(side["distance"])),
        _pair(way, lambda side: number(side["diversity"]["ratio"])),
        _pair(way, lambda side: number(side["activation_median"])),
        _pair(way, lambda side: _known(side["evaluations"])),
        _pair(way, lambda side: _known(side["seconds"])),
    )


def _goal_row(way: str, goal: Mapping[str, Any]) -> tuple[str, ...]:
    return (way, goal["words"], number(goal["figure"]), number(goal["limit"]), "yes" if goal["met"] else "no")


def _pair(way: Mapping[str, Any], words: Callable[[Mapping[str, Any]], str]) -> str:
    """Of both objectives; empty where there is nothing to say of either."""
    found = [words(way[side]) for side in ("high", "low")]
    return " / ".join(found) if any(found) else ""


def _known(value: float | None) -> str:
    return "" if value is None else number(value)


def _auc(contrast: Mapping[str, Any]) -> str:
    return f"{contrast['auc']:.3f}, {contrast['auc_low']:.3f} to {contrast['auc_high']:.3f}"


def _names(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    shown = ", ".join(listed[:5])
    return shown if len(listed) <= 5 else f"{shown} and {len(listed) - 5} more"
