"""Numbers and settings in words, as pages and pictures write them."""

from collections.abc import Sequence

from earwitness.client.values import Score, Settings


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
    """That the reference does not vary, where it does not: then nothing can be set against what real audio scores."""
    if score.noise_floor_high > 0:
        return ""
    what = "the unit is dead, or saturated, on this audio" if score.dimension_count == 1 else "the layer is dead on it"
    return (
        f"All {score.reference_row_count} real activations of the reference are the same ({what}): real audio of any "
        "size scores 0, so that a distance says how far the batch lies from that one value, and there is no ratio."
    )


def settings_words(settings: Settings) -> list[tuple[str, str]]:
    """The settings as pairs of name and value; the prior or the weight decay, whichever is used."""
    words = [
        ("optimiser", str(settings.optimiser)),
        ("steps", str(settings.steps)),
        ("learning rate", f"{settings.learning_rate:.3g}"),
    ]
    if settings.weight_decay:
        return [*words, ("weight decay", f"{settings.weight_decay:.3g}")]
    return [*words, ("prior weight λ", f"{settings.prior_weight:.3g}")]


def prior_words(settings: Settings) -> str:
    """What keeps the latent near the prior, e.g. `λ 0.01`."""
    return f"decay {settings.weight_decay:.3g}" if settings.weight_decay else f"λ {settings.prior_weight:.3g}"


def settings_line(settings: Settings, *, optimiser: bool = False) -> str:
    """The settings in one line, e.g. `rate 0.01, λ 0.001, 100 steps`."""
    words = f"rate {settings.learning_rate:.3g}, {prior_words(settings)}, {settings.steps} steps"
    return f"{words}, {settings.optimiser}" if optimiser else words


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
