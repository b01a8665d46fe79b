"""The pages: one for a run, one that sets several runs side by side. Plain HTML and CSS, nothing from a network."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from earwitness import __version__
from earwitness.client.output.run import Run, Scoring, file_stem
from earwitness.client.output.scale import Scale, Span, Tick
from earwitness.client.values import Explanation, Score, Settings

COLOURS = {"maximise": "#e2711d", "minimise": "#2389b5"}
"""Warm for a high activation, cool for a low one; both read on a light and on a dark ground."""


@dataclass(frozen=True)
class Card:
    """One explanation on the page; the names are those of its files, where it has them."""

    number: str
    explanation: Explanation
    picture: str | None
    sound: str | None


@dataclass(frozen=True)
class DistanceScale:
    """A score drawn on a logarithmic line: the distance, its interval, and what real audio of this size scores."""

    distance: float
    interval: Span
    noise: Span
    ticks: list[Tick]


@dataclass(frozen=True)
class ActivationScale:
    """Explanations' activations beside the range of the reference's selected rows."""

    dots: list[float]
    reference: Span
    low: float
    high: float
    ticks: list[Tick]


def write_run_page(run: Run, folder: Path) -> None:
    """Write `index.html` into the run's folder; it shows and plays the files beside it."""
    from earwitness.client.output.plots import trajectories_svg

    svg = trajectories_svg(run.result.explanations, COLOURS[run.objective.sense])
    _render("run.html.j2", folder / "index.html", {"side": _context(run, ""), "trajectories_svg": svg})


def write_index(path: Path, title: str, runs: Mapping[str, Run]) -> None:
    """Write a page that sets runs side by side; each key is the run's folder, relative to the page."""
    panels = [{**_context(run, f"{folder}/"), "folder": folder} for folder, run in runs.items()]
    _render("index.html.j2", path, {"title": title, "panels": panels})


def verdict(score: Score) -> str:
    """What a score says, in a sentence."""
    if score.distance <= score.noise_floor_high:
        return "The batch is as near to the reference as real audio of this size: this score does not tell them apart."
    ratio = score.distance / score.noise_floor if score.noise_floor > 0 else float("inf")
    return f"The batch scores {number(ratio)} times what real audio of this size scores."


def number(value: float) -> str:
    """Three significant digits; thousands separated by a thin space."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1000:
        return f"{value:#.3g}".rstrip(".").replace("-", "−")
    if 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}".replace(",", "\u2009").replace("-", "−")
    return f"{value:.2e}".replace("-", "−")


def settings_words(settings: Settings) -> list[tuple[str, str]]:
    """The settings as pairs of name and value; the prior or the weight decay, whichever is used."""
    words = [
        ("optimiser", str(settings.optimiser)),
        ("steps", str(settings.steps)),
        ("learning rate", f"{settings.learning_rate:g}"),
    ]
    if settings.weight_decay:
        return [*words, ("weight decay", f"{settings.weight_decay:g}")]
    return [*words, ("prior weight λ", f"{settings.prior_weight:g}")]


def _context(run: Run, prefix: str) -> dict[str, Any]:
    explanations = run.result.explanations
    activations = [each.activation for each in explanations]
    settings = {each.settings for each in explanations}
    return {
        "run": run,
        "colour": COLOURS[run.objective.sense],
        "cards": [_card(each, prefix) for each in explanations],
        "median": statistics.median(activations),
        "lowest": min(activations),
        "highest": max(activations),
        "settings": settings_words(next(iter(settings))) if len(settings) == 1 else [("settings", "differ by row")],
        "seeds": _seed_words([each.seed for each in explanations]),
        "scoring": run.scoring,
        "verdict": verdict(run.scoring.scored.score) if run.scoring else None,
        "distance_scale": _distance_scale(run.scoring.scored.score) if run.scoring else None,
        "activation_scale": _activation_scale(run, run.scoring, activations) if run.scoring else None,
    }


def _card(explanation: Explanation, prefix: str) -> Card:
    stem = file_stem(explanation)
    return Card(
        stem,
        explanation,
        picture=f"{prefix}{stem}.png" if explanation.picture_png else None,
        sound=f"{prefix}{stem}.wav" if explanation.audio_wav else None,
    )


def _distance_scale(score: Score) -> DistanceScale:
    values = (score.distance, score.interval_low, score.interval_high, score.noise_floor, score.noise_floor_high)
    scale = Scale(values, logarithmic=True)
    return DistanceScale(
        distance=scale.percent(score.distance),
        interval=scale.span(score.interval_low, score.interval_high),
        noise=scale.span(score.noise_floor, score.noise_floor_high),
        ticks=scale.ticks(),
    )


def _activation_scale(run: Run, scoring: Scoring, activations: Sequence[float]) -> ActivationScale | None:
    """None where the reference does not know the range of the objective's unit."""
    version, selection = scoring.scored.version, scoring.reference.selection
    if version.unit_minimum is None or version.unit_maximum is None:
        return None
    if (selection.unit or 0) != run.objective.unit:
        return None
    scale = Scale([*activations, version.unit_minimum, version.unit_maximum])
    return ActivationScale(
        dots=[scale.percent(value) for value in activations],
        reference=scale.span(version.unit_minimum, version.unit_maximum),
        low=version.unit_minimum,
        high=version.unit_maximum,
        ticks=scale.ticks(),
    )


def _seed_words(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("earwitness.client.output"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def _render(template: str, path: Path, context: Mapping[str, Any]) -> None:
    html = _environment().get_template(template).render(version=__version__, **context)
    path.write_text(html, encoding="utf-8")
