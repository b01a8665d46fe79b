"""What the distances of a grid of settings look like, beside what was published of the same grid.

Published (arXiv:1904.09533): gentle settings win, and aggressive ones leave the data's activations by orders of
magnitude; the two neurons of a two-output detector behave like the two senses of a one-output one.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earwitness.client.output.words import number, settings_line
from earwitness.client.values import Settings
from earwitness.errors import InvalidArgument

GENTLEST, MOST_AGGRESSIVE = 1.0, 100.0
"""Rate × steps of what was published to win, and of the other end of the published grid: what a grid must reach to both
sides before it shows whether that shape is there."""
ORDERS = 100.0
"""Worst over best from here on is by orders of magnitude."""
MIN_COMMON = 4
"""Settings in common below which two rankings are not compared."""


@dataclass(frozen=True)
class Scored:
    """A setting and its Fréchet distance."""

    settings: Settings
    distance: float

    @property
    def aggressiveness(self) -> float:
        """Learning rate times steps: how far Adam can move each latent value."""
        return round((self.settings.learning_rate or 0.0) * (self.settings.steps or 0), 9)


@dataclass(frozen=True)
class Published:
    """What the paper found for one objective; the worst setting was published for R1 alone."""

    name: str
    best: Settings
    best_distance: float
    median_distance: float | None = None
    worst_distance: float | None = None


_VOCAL_BEST = Settings("adam", 0.01, 0.001, 100)
_NON_VOCAL_BEST = Settings("adam", 0.001, 0.1, 1000)
PUBLISHED: Mapping[tuple[int, str], Published] = {
    (1, "vocal"): Published("R1, maximised", _VOCAL_BEST, 1.65, 33.1, 1557.7),
    (1, "non-vocal"): Published("R1, minimised", _NON_VOCAL_BEST, 0.54, 16.1, 60533.0),
    (2, "vocal"): Published("R2, vocal neuron", _VOCAL_BEST, 8.46),
    (2, "non-vocal"): Published("R2, non-vocal neuron", _NON_VOCAL_BEST, 3.89),
}
"""By the detector's number of outputs and the objective's meaning. Source: arXiv:1904.09533, section 4."""


@dataclass(frozen=True)
class Marginal:
    """What one of the settings does, whatever the others are: (its value, the median distance there), lowest first."""

    setting: str
    medians: tuple[tuple[float, float], ...]

    def words(self) -> str:
        """As in `rate: 0.001 → 2.10, 0.01 → 8.68`."""
        return f"{self.setting}: " + ", ".join(f"{value:g} → {number(median)}" for value, median in self.medians)


@dataclass(frozen=True)
class Shape:
    """The shape of one objective's distances over its grid.

    `correlation` is Spearman's between distance and aggressiveness, None where all settings are as aggressive. Gentle
    settings are the third with the least aggressiveness, aggressive ones the third with the most, ties included.
    `published_rank` is the place that the published best setting has here, of `setting_count`, None where it was not
    swept. `marginals` are of the settings that vary. `aggressiveness` is that of the gentlest and of the most
    aggressive setting; `thirds_apart` says that no setting is in the gentle third and in the aggressive one.
    """

    setting_count: int
    correlation: float | None
    gentle_median: float
    aggressive_median: float
    best: Scored
    median: float
    worst: Scored
    best_is_gentle: bool
    worst_is_aggressive: bool
    published: Published | None
    published_rank: int | None
    published_here: float | None
    marginals: tuple[Marginal, ...]
    aggressiveness: tuple[float, float]
    thirds_apart: bool

    @property
    def worst_ratio(self) -> float | None:
        """Worst over best; None where the best is 0."""
        return self.worst.distance / self.best.distance if self.best.distance > 0 else None

    @property
    def median_ratio(self) -> float | None:
        """Median over best; None where the best is 0."""
        return self.median / self.best.distance if self.best.distance > 0 else None

    @property
    def gentle_wins(self) -> bool:
        """The best setting is gentle, and gentle settings are typically nearer to real data than aggressive ones."""
        return self.best_is_gentle and self.gentle_median < self.aggressive_median

    @property
    def by_orders(self) -> bool:
        """The worst setting is an aggressive one and further by orders of magnitude than the best."""
        ratio = self.worst_ratio
        return self.worst_is_aggressive and self.worst.distance > 0 and (ratio is None or ratio >= ORDERS)

    @property
    def untold(self) -> str:
        """Why the grid cannot show whether the published shape is there, in words; empty where it can."""
        if self.published is not None and self.published_rank is None:
            return f"the published best setting, {settings_line(self.published.best)}, was not swept"
        low, high = self.aggressiveness
        if not self.thirds_apart:
            return "the settings swept are too few, or too alike in rate × steps, to part gentle from aggressive ones"
        if low > GENTLEST:
            return f"no setting swept is as gentle as those that won (rate × steps {GENTLEST:g}; here {low:g} and more)"
        if high < MOST_AGGRESSIVE:
            return (
                f"no setting swept is as aggressive as the published grid goes (rate × steps {MOST_AGGRESSIVE:g}; here "
                f"{high:g} at most)"
            )
        return ""

    @property
    def reproduced(self) -> bool | None:
        """Whether the published shape is there; None where the grid cannot show it."""
        return None if self.untold else self.gentle_wins and self.by_orders

    def words(self) -> str:
        """What the numbers say, in a few sentences."""
        said = [
            f"Gentle settings {'win' if self.gentle_wins else 'do not win'}: the best, "
            f"{settings_line(self.best.settings)} (FID {number(self.best.distance)}), is "
            f"{'' if self.best_is_gentle else 'not '}among the gentle third, whose median is "
            f"{number(self.gentle_median)} against {number(self.aggressive_median)} of the aggressive third"
            + ("." if self.correlation is None else f" (rank correlation with rate × steps {self.correlation:+.2f})."),
            self._ratio_words(),
        ]
        if self.marginals:
            said.append(f"Medians by {'; by '.join(each.words() for each in self.marginals)}.")
        if self.published is not None:
            said.append(self._published_words(self.published))
        if self.untold:
            return " ".join([*said, f"Whether the published shape is reproduced is undecided: {self.untold}."])
        verdict = "is reproduced" if self.reproduced else "is not reproduced"
        return " ".join([*said, f"The published shape {verdict}."])

    def _ratio_words(self) -> str:
        if self.worst_ratio is None or self.median_ratio is None:
            return f"The best distance is 0, the worst {number(self.worst.distance)}."
        return (
            f"The worst, {settings_line(self.worst.settings)}, is {'' if self.worst_is_aggressive else 'not '}among "
            f"the aggressive third and {number(self.worst_ratio)} times the best ({number(self.worst.distance)}), the "
            f"median {number(self.median_ratio)} times."
        )

    def _published_words(self, published: Published) -> str:
        words = (
            f"Published for {published.name}: best {settings_line(published.best)}, {number(published.best_distance)}"
        )
        if published.worst_distance is not None and published.median_distance is not None:
            worst, median = (
                each / published.best_distance for each in (published.worst_distance, published.median_distance)
            )
            words += f", worst {number(worst)} times that, median {number(median)} times"
        if self.published_rank is None or self.published_here is None:
            return f"{words}; that setting was not swept here."
        place = f"rank {self.published_rank} of {self.setting_count}, {number(self.published_here)}"
        return f"{words}; here that setting has {place}."


@dataclass(frozen=True)
class Likeness:
    """How alike the neuron of a two-output detector ranks settings to each sense of a one-output one.

    Spearman's correlations between distances over `setting_count` settings: with its `counterpart`, the sense that
    means the same, and with the `other` sense.
    """

    neuron: str
    counterpart: str
    other: str
    to_counterpart: float
    to_other: float
    setting_count: int

    @property
    def behaves_alike(self) -> bool:
        """It ranks settings as its counterpart does rather than as the other sense."""
        return self.to_counterpart > 0.5 and self.to_counterpart > self.to_other

    def words(self) -> str:
        """What the numbers say, in a sentence."""
        return (
            f"{self.neuron} {'behaves' if self.behaves_alike else 'does not behave'} like {self.counterpart}: over "
            f"{self.setting_count} settings its distances have a rank correlation of {self.to_counterpart:+.2f} with "
            f"that, and of {self.to_other:+.2f} with {self.other}."
        )


def shape_of(scored: Sequence[Scored], published: Published | None) -> Shape:
    """The shape of an objective's distances.

    Raises: InvalidArgument for fewer than two settings.
    """
    import numpy as np

    if len(scored) < 2:
        raise InvalidArgument("sweep", f"has {len(scored)} scored settings; a shape needs at least two settings")
    ordered = sorted(scored, key=lambda each: each.distance)
    force = [each.aggressiveness for each in ordered]
    low, high = (float(np.quantile(force, share, method="nearest")) for share in (1 / 3, 2 / 3))
    gentle = [each.distance for each in ordered if each.aggressiveness <= low]
    aggressive = [each.distance for each in ordered if each.aggressiveness >= high]
    rank = next(
        (place for place, each in enumerate(ordered, 1) if published and _same(each.settings, published.best)), None
    )
    return Shape(
        setting_count=len(ordered),
        correlation=_correlation(force, [each.distance for each in ordered]),
        gentle_median=statistics.median(gentle),
        aggressive_median=statistics.median(aggressive),
        best=ordered[0],
        median=statistics.median(each.distance for each in ordered),
        worst=ordered[-1],
        best_is_gentle=ordered[0].aggressiveness <= low < high,
        worst_is_aggressive=ordered[-1].aggressiveness >= high > low,
        published=published,
        published_rank=rank,
        published_here=ordered[rank - 1].distance if rank else None,
        marginals=_marginals(ordered),
        aggressiveness=(min(force), max(force)),
        thirds_apart=low < high,
    )


def likeness(
    neuron: tuple[str, Sequence[Scored]],
    counterpart: tuple[str, Sequence[Scored]],
    other: tuple[str, Sequence[Scored]],
) -> Likeness | None:
    """How alike three objectives, each with its name, rank the settings that all have; None where these are too few."""
    distances = [{each.settings: each.distance for each in scored} for _, scored in (neuron, counterpart, other)]
    common = [each for each in distances[0] if all(each in other for other in distances)]
    if len(common) < MIN_COMMON:
        return None
    own, alike, opposite = ([each[settings] for settings in common] for each in distances)
    to_counterpart, to_other = _correlation(own, alike), _correlation(own, opposite)
    if to_counterpart is None or to_other is None:
        return None
    return Likeness(neuron[0], counterpart[0], other[0], to_counterpart, to_other, len(common))


def _marginals(scored: Sequence[Scored]) -> tuple[Marginal, ...]:
    found = []
    for name, field in (("rate", "learning_rate"), ("λ", "prior_weight"), ("steps", "steps")):
        by_value: dict[float, list[float]] = {}
        for each in scored:
            by_value.setdefault(getattr(each.settings, field) or 0.0, []).append(each.distance)
        if len(by_value) > 1:
            medians = tuple((value, statistics.median(by_value[value])) for value in sorted(by_value))
            found.append(Marginal(name, medians))
    return tuple(found)


def _correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's; None where all of either are equal."""
    from scipy.stats import spearmanr

    if len(set(left)) < 2 or len(set(right)) < 2:
        return None
    return float(spearmanr(left, right).statistic)


def _same(settings: Settings, other: Settings) -> bool:
    fields = ("optimiser", "learning_rate", "prior_weight", "steps")
    return not settings.weight_decay and all(getattr(settings, name) == getattr(other, name) for name in fields)
