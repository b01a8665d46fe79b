"""The page of a sweep: its grid, its ranking, and examples beside real audio."""

from dataclasses import dataclass
from pathlib import Path

from earwitness.client.output.page import (
    COLOURS,
    ActivationScale,
    Card,
    DistanceScale,
    activation_scale,
    distance_scale,
    excerpt_cards,
    explanation_card,
    render,
)
from earwitness.client.output.report import Examples, Outcome, SweepReport
from earwitness.client.output.scale import Scale
from earwitness.client.output.words import (
    criterion_words,
    percent,
    seed_words,
    settings_line,
    settings_words,
    verdict,
    way_words,
)
from earwitness.client.values import RankedBatch

SHOWN_ROWS = 30
"""Rows of the ranking that are open; more are folded."""


@dataclass(frozen=True)
class RankingRow:
    """A line of the ranking; `scale` is drawn on the line that all rows share."""

    outcome: Outcome
    values: tuple[str, ...]
    ranked: RankedBatch | None
    scale: DistanceScale | None


@dataclass(frozen=True)
class Side:
    """A column of sounds: explanations of one setting, or real excerpts."""

    name: str
    words: str
    ranked: RankedBatch | None
    cards: list[Card]
    activation_scale: ActivationScale | None
    lowest: float
    highest: float
    trajectories_svg: str | None
    tone: str


def write_sweep_page(report: SweepReport, folder: Path, real_folder: str, archive: str) -> None:
    """Write `index.html` into the sweep's folder; it shows and plays the files beside and below it."""
    from earwitness.client.output.grid import Grid, grid_svg

    outcomes = report.best_first
    best = outcomes[0] if report.against else None
    score = best.ranked.score if best and best.ranked else None
    grid = Grid.of(outcomes)
    sides = [_examples_side(report, each) for each in report.examples]
    if report.excerpts:
        sides.append(_real_side(report, real_folder))
    flagged = [each for each in outcomes if each.ranked and each.ranked.leaves_range]
    render(
        "sweep.html.j2",
        folder / "index.html",
        {
            "report": report,
            "archive": archive,
            "tone": report.objective.sense,
            "best": best,
            "best_words": settings_line(outcomes[0].settings),
            "settings": settings_words(outcomes[0].settings),
            "criterion": criterion_words(report.against.criterion) if report.against else "",
            "kept": _kept_words(outcomes[0], len(report.seeds)),
            "score": score,
            "distance_scale": distance_scale(score) if score else None,
            "verdict": verdict(score) if score else None,
            "certainty": _certainty(outcomes),
            "grid": grid,
            "grid_svg": grid_svg(grid),
            "columns": _columns(outcomes),
            "rows": _rows(outcomes),
            "shown_rows": SHOWN_ROWS,
            "flagged_count": len(flagged),
            "seeds": seed_words(report.seeds),
            "sides": sides,
        },
    )


def _kept_words(outcome: Outcome, seed_count: int) -> str:
    """How many rows of each setting were ranked, where not all were."""
    kept = outcome.ranked.kept_rows if outcome.ranked else ()
    return f"kept {len(kept)} of {seed_count}, those nearest to real excerpts" if kept else ""


def _certainty(outcomes: tuple[Outcome, ...]) -> str | None:
    """How sure the choice is, in a sentence."""
    ranked = [each.ranked for each in outcomes if each.ranked]
    if len(ranked) < 2:
        return None
    words = f"It is the best of {len(ranked)} settings with a probability of {percent(ranked[0].probability_best)}"
    rival = max(ranked[1:], key=lambda each: each.probability_best)
    if rival.probability_best < 0.05:
        return f"{words}."
    index = next(index for index, each in enumerate(ranked) if each is rival)
    return (
        f"{words}; the likeliest other is {settings_line(outcomes[index].settings)}, {percent(rival.probability_best)}."
    )


def _columns(outcomes: tuple[Outcome, ...]) -> list[str]:
    return [name for name, _ in _varied(outcomes, outcomes[0])]


def _varied(outcomes: tuple[Outcome, ...], outcome: Outcome) -> list[tuple[str, str]]:
    """The outcome's settings, without the way where all have the same."""
    settings = outcome.settings
    words = [
        ("learning rate", "" if settings.learning_rate is None else f"{settings.learning_rate:.3g}"),
        ("prior weight λ", f"{settings.prior_weight or 0:.3g}"),
    ]
    if any(each.settings.weight_decay for each in outcomes):
        words.append(("weight decay", f"{settings.weight_decay or 0:.3g}"))
    words.append(("steps", "" if settings.steps is None else str(settings.steps)))
    if len({way_words(each.settings) for each in outcomes}) > 1:
        words.append(("way", way_words(settings)))
    return words


def _rows(outcomes: tuple[Outcome, ...]) -> list[RankingRow]:
    scores = [each.ranked.score for each in outcomes if each.ranked]
    shared = Scale(
        [value for each in scores for value in (each.distance, each.interval_high, each.noise_floor)] or [1.0],
        logarithmic=True,
    )
    return [
        RankingRow(
            each,
            tuple(value for _, value in _varied(outcomes, each)),
            each.ranked,
            DistanceScale.on(shared, each.ranked.score) if each.ranked else None,
        )
        for each in outcomes
    ]


def _examples_side(report: SweepReport, examples: Examples) -> Side:
    from earwitness.client.output.plots import trajectories_svg

    activations: list[float] = examples.outcome.activations.tolist()
    against, colour = report.against, COLOURS[report.objective.sense]
    return Side(
        name=examples.name,
        words=settings_line(examples.outcome.settings),
        ranked=examples.outcome.ranked,
        cards=[explanation_card(each, f"{examples.name}/") for each in examples.explanations],
        activation_scale=activation_scale(report.objective, against.reference, against.version, activations)
        if against
        else None,
        lowest=min(activations),
        highest=max(activations),
        trajectories_svg=trajectories_svg(examples.explanations, colour, examples.name, f"the {examples.name} setting"),
        tone=report.objective.sense,
    )


def _real_side(report: SweepReport, folder: str) -> Side:
    activations = [each.activation for each in report.excerpts]
    sense = "most" if report.objective.sense == "maximise" else "least"
    return Side(
        name="real audio",
        words=f"the {len(report.excerpts)} excerpts that activate it {sense}",
        ranked=None,
        cards=excerpt_cards(report.excerpts, folder),
        activation_scale=None,
        lowest=min(activations),
        highest=max(activations),
        trajectories_svg=None,
        tone="real",
    )
