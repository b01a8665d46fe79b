"""The pages: one for a run, one that sets several runs side by side. Plain HTML and CSS, nothing from a network."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from earwitness import __version__
from earwitness.client.output.advice import advice
from earwitness.client.output.media import FADE_S, LOUDNESS_DB, levelled
from earwitness.client.output.report import RealExcerpt
from earwitness.client.output.run import Run, file_stem
from earwitness.client.output.scale import Scale, Span, Tick
from earwitness.client.output.words import (
    kept_words,
    missed_words,
    number,
    percent,
    seed_words,
    settings_words,
    verdict,
    whole,
)
from earwitness.client.values import Explanation, Objective, Reference, ReferenceVersion, Score

COLOURS = {"maximise": "#e2711d", "minimise": "#2389b5"}
"""Of drawings: warm for a high activation, cool for a low one; seen on light and on dark grounds. Words need more
contrast: the classes of these names in `style.css` have a darker and a lighter colour for them."""


DARK_FOLDER = "dark"
"""Beside pictures: the same for a dark page."""
START_FOLDER, REAL_FOLDER = "start", "real"
"""In the folder of a run: what its searches began with, and real audio."""


@dataclass(frozen=True)
class Card:
    """One sound on the page: `what` it is, links to its files where it has them, and `notes` at its foot."""

    anchor: str
    what: str
    activation: float
    picture: str | None
    dark_picture: str | None
    sound: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DistanceScale:
    """A score drawn on a logarithmic line: the distance, its interval, and what real audio of this size scores."""

    distance: float
    interval: Span
    noise: Span
    ticks: list[Tick]

    @classmethod
    def on(cls, scale: Scale, score: Score) -> "DistanceScale":
        """A score on a line that others may share."""
        return cls(
            distance=scale.percent(score.distance),
            interval=scale.span(score.interval_low, score.interval_high),
            noise=scale.span(score.noise_floor, score.noise_floor_high),
            ticks=scale.ticks(),
        )


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
    render("run.html.j2", folder / "index.html", {"side": _context(run, ""), "trajectories_svg": svg})


def write_index(path: Path, title: str, runs: Mapping[str, Run]) -> None:
    """Write a page that sets runs side by side; each key is the run's folder, relative to the page."""
    panels = [{**_context(run, f"{folder}/"), "folder": folder} for folder, run in runs.items()]
    render("index.html.j2", path, {"title": title, "panels": panels})


def _context(run: Run, prefix: str) -> dict[str, Any]:
    explanations = run.result.explanations
    activations = [each.activation for each in explanations]
    settings = {each.settings for each in explanations}
    return {
        "run": run,
        "tone": run.objective.sense,
        "cards": [explanation_card(each, prefix) for each in explanations],
        "starts": [
            explanation_card(each, f"{prefix}{START_FOLDER}/", "the first latent of explanation", "before the search")
            for each in run.starts
        ],
        "real": excerpt_cards(run.excerpts, f"{prefix}{REAL_FOLDER}"),
        "unit_words": run.model.output_words if run.objective.layer == run.model.output_layer.name else None,
        "median": statistics.median(activations),
        "lowest": min(activations),
        "highest": max(activations),
        "settings": settings_words(next(iter(settings))) if len(settings) == 1 else [("settings", "differ by row")],
        "kept": kept_words(run.result),
        "missed": missed_words(run.result),
        "advice": advice(run),
        "seeds": seed_words([each.seed for each in explanations]),
        "scoring": run.scoring,
        "verdict": verdict(run.scoring.scored.score) if run.scoring else None,
        "score": run.scoring.scored.score if run.scoring else None,
        "distance_scale": distance_scale(run.scoring.scored.score) if run.scoring else None,
        "activation_scale": activation_scale(
            run.objective, run.scoring.reference, run.scoring.scored.version, activations
        )
        if run.scoring
        else None,
    }


def explanation_card(
    explanation: Explanation, prefix: str, what: str = "explanation", step_words: str | None = None
) -> Card:
    """The card of an explanation whose files lie below `prefix`, "" or ending in a slash."""
    stem = file_stem(explanation)
    return Card(
        f"row-{prefix.replace('/', '-')}{stem}",
        f"{what} {stem}",
        explanation.activation,
        picture=f"{prefix}{stem}.png" if explanation.picture_png else None,
        dark_picture=f"{prefix}{DARK_FOLDER}/{stem}.png" if explanation.picture_png else None,
        sound=f"{prefix}{stem}.wav" if explanation.audio_wav else None,
        notes=(
            f"seed {explanation.seed}",
            *(_found_words(explanation) if step_words is None else [step_words]),
            *([] if explanation.diverged_step is None else [f"diverged at step {explanation.diverged_step}"]),
            *gain_words(explanation.audio_wav),
        ),
    )


def _found_words(explanation: Explanation) -> list[str]:
    """How far it had to go, and whether it got where it should."""
    words = []
    if explanation.settings.optimiser != "draws":
        words.append(f"best step {explanation.best_step} of {explanation.settings.steps}")
    if explanation.target is not None:
        reached = "reached" if explanation.reached_target else "missed"
        words.append(f"target {number(explanation.target)} {reached}")
    if explanation.nearness is not None:
        words.append(f"nearness: place {number(explanation.nearness)}")
    return words


def excerpt_cards(excerpts: Sequence[RealExcerpt], folder: str) -> list[Card]:
    """The cards of real excerpts whose files `write_excerpts` wrote into a folder below the page."""
    return [
        Card(
            f"{folder.replace('/', '-')}-{index:03d}",
            f"real excerpt {each.source}",
            each.activation,
            picture=f"{folder}/{index:03d}.png" if each.picture_png else None,
            dark_picture=f"{folder}/{DARK_FOLDER}/{index:03d}.png" if each.picture_png else None,
            sound=f"{folder}/{index:03d}.wav" if each.audio_wav else None,
            notes=(each.source, *gain_words(each.audio_wav)),
        )
        for index, each in enumerate(excerpts)
    ]


def gain_words(wav: bytes | None) -> list[str]:
    """By how much a sound is louder on the page than it was made, where there is one."""
    return [] if wav is None else [f"{levelled(wav).gain_db:+.1f} dB".replace("-", "−")]


def distance_scale(score: Score) -> DistanceScale:
    """Where a score and what belongs to it lie on a line of their own."""
    values = (score.distance, score.interval_low, score.interval_high, score.noise_floor, score.noise_floor_high)
    return DistanceScale.on(Scale(values, logarithmic=True), score)


def activation_scale(
    objective: Objective, reference: Reference, version: ReferenceVersion, activations: Sequence[float]
) -> ActivationScale | None:
    """`None` where the reference does not know the range of the objective's unit."""
    if version.unit_minimum is None or version.unit_maximum is None:
        return None
    if (reference.selection.unit or 0) != objective.unit:
        return None
    scale = Scale([*activations, version.unit_minimum, version.unit_maximum])
    return ActivationScale(
        dots=[scale.percent(value) for value in activations],
        reference=scale.span(version.unit_minimum, version.unit_maximum),
        low=version.unit_minimum,
        high=version.unit_maximum,
        ticks=scale.ticks(),
    )


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
    environment.filters["whole"] = whole
    environment.filters["probability"] = lambda share: percent(share).replace(" ", "\u00a0")
    return environment


def render(template: str, path: Path, context: Mapping[str, Any]) -> None:
    """Write a page."""
    html = (
        _environment()
        .get_template(template)
        .render(version=__version__, loudness_db=LOUDNESS_DB, fade_ms=1e3 * FADE_S, **context)
    )
    path.write_text(html, encoding="utf-8")
