"""The ways to search, from options."""

import math
import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client.values import Optimiser, Settings, Target

SETTINGS = "Settings of the search (default: those that the model recommends)"
NEAREST = "Which rows are kept"
TARGET_FORMS = "5, a range 4:7, or quantiles of what the reference keeps, q0.5 or q0:1"
Way = Literal["adam", "sgd", "normalised", "walk", "draws"]
WAYS = (
    "How latents are found: adam or sgd, as published (arXiv:1904.09533); normalised, steps of one length; walk, which "
    "keeps the prior and needs no gradient (Cotter et al. 2013); or draws from the prior, without any search."
)
Target_ = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help=f"Activation at which a row stops: {TARGET_FORMS}.",
        rich_help_panel=SETTINGS,
    ),
]
StartDraws = Annotated[
    int | None,
    typer.Option(min=1, help="Start from the best of this many draws, up to 64.", rich_help_panel=SETTINGS),
]
Draws = Annotated[
    int | None,
    typer.Option(min=1, help="Latents to draw, e.g. 4000; implies --optimiser draws.", rich_help_panel=SETTINGS),
]
Oversample = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Search so many rows for each explanation, and keep those nearest to the real excerpts that --reference "
        "keeps. Default: the model's recommendation where such a reference is given, else 1.",
        rich_help_panel=NEAREST,
    ),
]
NearnessLayers = Annotated[
    list[str] | None,
    typer.Option(
        "--nearness-layers",
        metavar="LAYERS",
        help="Layers to measure nearness in, separated by commas. Default: all that the reference keeps.",
        rich_help_panel=NEAREST,
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="What being unlike the other explanations that are kept counts beside being near: from 0, the nearest, to "
        "1, those furthest apart.",
        rich_help_panel=NEAREST,
    ),
]
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def target_of(words: str) -> "Target":
    """A target as people type it: `5`, `4:7`, `q0.5`, `q0:1`.

    Raises: InvalidArgument for anything else.
    """
    from earwitness.client.values import Target

    text = words.strip()
    quantile = text[:1] in ("q", "Q")
    low, colon, high = text[quantile:].partition(":")
    ends = [low, high] if colon else [low, low]
    if not all(_NUMBER.fullmatch(each) for each in ends):
        raise InvalidArgument("settings.target", f"got {words!r}; give an activation, {TARGET_FORMS}")
    target = Target(float(ends[0]), float(ends[1]), quantile)
    if not (math.isfinite(target.low) and math.isfinite(target.high)):
        raise InvalidArgument("settings.target", f"got {words!r}; activations are finite, as in {TARGET_FORMS}")
    if quantile and not (0 <= target.low <= 1 and 0 <= target.high <= 1):
        raise InvalidArgument("settings.target", f"got {words!r}; quantiles are 0 to 1, as in q0.5 or q0:1")
    if target.low > target.high:
        raise InvalidArgument("settings.target", f"got {words!r}; a range goes up: {'q' * quantile}{high}:{low}")
    return target


def settings_of(
    optimiser: "Optimiser | None",
    learning_rate: float | None,
    prior_weight: float | None,
    steps: int | None,
    weight_decay: float | None,
    target: str | None,
    start_draws: int | None,
    draws: int | None,
) -> "Settings":
    """Settings of one search, from options; `--draws` alone selects that way.

    Raises: InvalidArgument for a target that is none, and for options that the way has no use for.
    """
    from earwitness.client.values import Settings

    if draws is not None and optimiser is None:
        optimiser = "draws"
    unused = {
        "learning_rate": learning_rate,
        "prior_weight": prior_weight,
        "steps": steps,
        "weight_decay": weight_decay,
        "target": target,
        "start_draws": start_draws,
    }
    if optimiser == "draws":
        for name, value in unused.items():
            if value is not None:
                field = "settings.target" if name == "target" else name
                raise InvalidArgument(field, f"got {value}, but draws from the prior take no steps; leave it out")
    elif draws is not None:
        raise InvalidArgument(
            "draws", f"got {draws} beside --optimiser {optimiser}; give --optimiser draws, or --start-draws"
        )
    aim = None if target is None else target_of(target)
    return Settings(optimiser, learning_rate, prior_weight, steps, weight_decay, aim, start_draws, draws)


def layers_of(given: list[str] | None) -> tuple[str, ...]:
    """Layers that were named one by one, or several with commas between them, each once."""
    return tuple(dict.fromkeys(name for words in given or [] for name in words.split(",") if name))
