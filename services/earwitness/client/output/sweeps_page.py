"""The page over several objectives of one sweep: what each one chose, and its grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.client.output.page import DistanceScale, render
from earwitness.client.output.report import Outcome, SweepReport
from earwitness.client.output.scale import Scale
from earwitness.client.output.words import settings_line


@dataclass(frozen=True)
class Part:
    """One objective: its folder, what is shown first of its outcomes and, where they are ranked, where that one lies
    on the line that all objectives share."""

    folder: str
    report: SweepReport
    shown: Outcome
    words: str
    scale: DistanceScale | None
    grid_svg: str
    tone: str


def write_sweeps_page(reports: Mapping[str, SweepReport], path: Path) -> None:
    """Write the page; each key is the folder of a report, beside it."""
    from earwitness.client.output.grid import Grid, grid_svg

    shown = {folder: _shown(report) for folder, report in reports.items()}
    scores = [each.ranked.score for each in shown.values() if each.ranked]
    shared = Scale(
        [value for each in scores for value in (each.distance, each.interval_high, each.noise_floor)] or [1.0],
        logarithmic=True,
    )
    parts = [
        Part(
            folder,
            report,
            shown[folder],
            settings_line(shown[folder].settings, optimiser=_several_optimisers(report)),
            DistanceScale.on(shared, ranked.score) if (ranked := shown[folder].ranked) else None,
            grid_svg(Grid.of(report.best_first), f"grid{number}", str(report.objective)),
            report.objective.sense,
        )
        for number, (folder, report) in enumerate(reports.items())
    ]
    first = parts[0].report
    render(
        "sweeps.html.j2",
        path,
        {"title": f"{first.model.name}: sweep of {len(parts)} objectives", "parts_of": parts, "first": first},
    )


def _shown(report: SweepReport) -> Outcome:
    """The best outcome; without a ranking the one that drives the objective furthest."""
    best = report.best_first[0]
    if best.ranked:
        return best
    sign = 1 if report.objective.sense == "maximise" else -1
    return max(report.outcomes, key=lambda each: sign * each.median)


def _several_optimisers(report: SweepReport) -> bool:
    return len({each.settings.optimiser for each in report.outcomes}) > 1
