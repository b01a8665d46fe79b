"""Numbers and settings in words, as pages and pictures write them."""

from collections.abc import Sequence

from earwitness.client.values import Criterion, Score, SearchResult, Settings, Target


def number(value: float) -> str:
    """Three significant digits; thousands separated by a thin space where no line breaks."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1000:
        return f"{value:#.3g}".rstrip(".").replace("-", "−")
    if 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    return f"{value:.2e}".replace("-", "−")


def whole(count: int) -> str:
    """A number of things, separated as by `number`."""
    return f"{count:,}".replace(",", "\u202f")


def verdict(score: Score) -> str:
    """What a score says, in a sentence."""
    if constant := constant_words(score):
        return constant
    if score.distance <= score.noise_floor_high:
        said = "The batch is as near to the reference as real audio of this size: this score does not tell them apart."
    elif score.noise_floor > 0:
        ratio = number(score.distance / score.noise_floor)
        said = f"The batch scores {ratio} times what real audio of this size scores."
    else:
        said = (
            f"The batch scores more than the {number(score.noise_floor_high)} that real audio of this size stays below."
        )
    return said if score.rank else f"{said} All its rows are the same: it has no spread to compare."


def constant_words(score: Score) -> str:
    """A warning if the reference does not vary, so that there is nothing to compare with the score of real audio."""
    if score.noise_floor_high > 0:
        return ""
    what = "the unit is dead, or saturated, on this audio" if score.dimension_count == 1 else "the layer is dead on it"
    return (
        f"All {score.reference_row_count} real activations of the reference are the same ({what}): real audio of any "
        "size scores 0, so that a distance says how far the batch lies from that one value, and there is no ratio."
    )


WAYS = {
    "adam": "Adam",
    "sgd": "gradient steps",
    "normalised": "normalised steps",
    "walk": "a walk that keeps the prior",
    "draws": "draws from the prior",
}
"""What each way is called."""


def settings_words(settings: Settings) -> list[tuple[str, str]]:
    """The settings as pairs of name and value, those alone that the way uses."""
    words = [("way", WAYS[settings.optimiser] if settings.optimiser else "the server's")]
    if settings.optimiser == "draws":
        return [*words, ("draws", "" if settings.draws is None else whole(settings.draws))]
    if settings.target is not None:
        words.append(("target", target_words(settings.target)))
    if (settings.start_draws or 1) > 1:
        words.append(("begins with", f"the best of {settings.start_draws} draws"))
    words.append(("steps" if settings.target is None else "steps at most", str(settings.steps)))
    words.append((rate_name(settings), _figure(settings.learning_rate)))
    if settings.weight_decay:
        return [*words, ("weight decay", _figure(settings.weight_decay))]
    if settings.prior_weight or settings.optimiser in ("adam", "sgd"):
        words.append(("prior weight λ", _figure(settings.prior_weight)))
    return words


def way_words(settings: Settings) -> str:
    """The way with all that it has beside rate, prior and steps, e.g. `normalised, to 4 to 7, best of 8 draws`."""
    parts: list[str] = [settings.optimiser or ""]
    if settings.optimiser == "draws" and settings.draws is not None:
        parts.append(f"{whole(settings.draws)} in all")
    if settings.target is not None:
        parts.append(f"to {target_words(settings.target)}")
    if (settings.start_draws or 1) > 1:
        parts.append(f"best of {settings.start_draws} draws")
    return ", ".join(parts)


def rate_name(settings: Settings) -> str:
    """What the learning rate is to the way."""
    return {"normalised": "step length", "walk": "b of its proposals"}.get(settings.optimiser or "", "learning rate")


def target_words(target: Target) -> str:
    """A target in words, e.g. `4 to 7` or `quantiles 0 to 1 of the reference`."""
    ends = f"{target.low:g}" if target.low == target.high else f"{target.low:g} to {target.high:g}"
    ends = ends.replace("-", "−")
    if not target.quantile:
        return ends
    return f"quantile{'' if target.low == target.high else 's'} {ends} of the reference"


def target_option(target: Target) -> str:
    """A target as the command line takes it, e.g. `q0:1`."""
    ends = f"{target.low:g}" if target.low == target.high else f"{target.low:g}:{target.high:g}"
    return f"q{ends}" if target.quantile else ends


def prior_words(settings: Settings) -> str:
    """What keeps the latent near the prior, e.g. `λ 0.01`; nothing where the way keeps it."""
    if settings.prior_weight is None:
        return ""
    return f"decay {settings.weight_decay:.3g}" if settings.weight_decay else f"λ {settings.prior_weight:.3g}"


def settings_line(settings: Settings, *, optimiser: bool = False) -> str:
    """The settings in one line, e.g. `rate 0.01, λ 0.001, 100 steps` of Adam; another way is always named."""
    if settings.optimiser == "draws":
        return f"{settings.draws} draws"
    if settings.optimiser in ("normalised", "walk"):
        rate = f"step {_figure(settings.learning_rate)}" if settings.optimiser == "normalised" else (
            f"b {_figure(settings.learning_rate)}"
        )  # fmt: skip
        parts = [settings.optimiser, rate]
        if settings.prior_weight or settings.weight_decay:
            parts.append(prior_words(settings))
    else:
        parts = [f"rate {_figure(settings.learning_rate)}", prior_words(settings)]
    parts.append(f"{settings.steps} steps")
    if settings.target is not None:
        parts.append(f"to {target_words(settings.target)}")
    if (settings.start_draws or 1) > 1:
        parts.append(f"best of {settings.start_draws} draws")
    if optimiser and settings.optimiser in ("adam", "sgd"):
        parts.append(settings.optimiser)
    return ", ".join(filter(None, parts))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def way_line(result: SearchResult) -> str:
    """How the explanations of one search were found, in a sentence without its full stop; and what that took."""
    summary, count = result.summary, len(result.explanations)
    settings = {each.settings for each in result.explanations}
    parts = [settings_line(next(iter(settings)), optimiser=True) if len(settings) == 1 else "settings differ by row"]
    if kept := kept_words(result):
        parts.append(kept)
    if summary.evaluation_count:
        each = number(summary.evaluation_count / count)
        parts.append(f"{whole(summary.evaluation_count)} evaluations, {each} for each explanation")
    return "; ".join(parts)


def criterion_words(criterion: Criterion | None) -> str:
    """What settings were ranked by, where that is not the published distance over the objective."""
    if criterion is None or criterion.kind == "unit":
        return ""
    layers = ", ".join(criterion.layers) or "all layers that the reference keeps"
    if criterion.kind == "nearness":
        return f"nearness to real excerpts in {layers}"
    return f"the distance over {layers}" if len(criterion.layers) == 1 else f"places by the distances over {layers}"


def kept_words(result: SearchResult) -> str:
    """That the nearest rows were kept, e.g. `kept 50 of 150`; nothing where all were."""
    searched, count = result.summary.searched_count, len(result.explanations)
    return f"kept {count} of {searched}" if searched > count else ""


def missed_words(result: SearchResult) -> str:
    """How many rows fell short of their targets, e.g. `3 of 50 rows did not reach their target`; else nothing."""
    aimed = [each for each in result.explanations if each.target is not None]
    missed = sum(not each.reached_target for each in aimed)
    return f"{missed} of {len(aimed)} rows did not reach their target" if missed else ""


def seed_words(seeds: Sequence[int]) -> str:
    """Seeds as a range where they are one."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def percent(share: float) -> str:
    """A probability as people read it; only 0 and 1 themselves are 0 and 100 %."""
    if 0 < share < 0.01:
        return "< 1 %"
    if 0.99 < share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"
