"""What evidence is gathered from, and what it is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from earwitness.client.output.report import Examples, Outcome, RealExcerpt
from earwitness.client.output.words import constant_words
from earwitness.client.values import FloatArray, Model, Objective, RankedBatch, Settings
from earwitness.evidence.distances import Diversity, KernelDistance
from earwitness.evidence.judges import Contrast, Opinion
from earwitness.evidence.shape import Likeness, Shape

PLACES = {"best": "chosen", "median": "median", "worst": "worst"}
"""Words for the settings that are judged, by their names in a sweep's page."""
REAL = "real audio"


@dataclass(frozen=True, eq=False)
class Gathered:
    """One objective of a finished, ranked sweep, with all explanations of its chosen, median and worst setting.

    `excerpts` are the real ones that activate it most, most first; `real_sounds` [n] those of them that take part in
    the measures, made from their spectrograms as the explanations' sounds are.
    """

    sweep_id: str
    model: Model
    objective: Objective
    outcomes: tuple[Outcome, ...]
    judged: tuple[Examples, ...]
    excerpts: tuple[RealExcerpt, ...]
    real_sounds: tuple[FloatArray, ...]

    @property
    def meaning(self) -> str | None:
        """What the objective shows, in the model's words."""
        return self.model.meaning(self.objective)

    @property
    def title(self) -> str:
        """The model and its objective, e.g. `svd-r1: maximise fc9[0]`."""
        return f"{self.model.name}: {self.objective}"


@dataclass(frozen=True)
class SettingEvidence:
    """What was measured of all explanations of one setting; `opinions` by judge, of those that have one."""

    place: str
    settings: Settings
    ranked: RankedBatch
    activation_median: float
    opinions: Mapping[str, Opinion]
    kernel: KernelDistance
    diversity: Diversity


@dataclass(frozen=True)
class RealEvidence:
    """The same of real excerpts, as far as it can be said of them: how many, what the judges hear in them."""

    row_count: int
    activation_median: float
    opinions: Mapping[str, Opinion]


@dataclass(frozen=True, eq=False)
class ObjectiveEvidence:
    """All that was found of one objective."""

    gathered: Gathered
    settings: tuple[SettingEvidence, ...]
    real: RealEvidence
    shape: Shape

    def words(self) -> str:
        """What the distances say, in a few sentences."""
        return " ".join(filter(None, [constant_words(self.settings[0].ranked.score), self.shape.words()]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        gathered, shape = self.gathered, self.shape
        return {
            "sweep": gathered.sweep_id,
            "model": gathered.model.name,
            "weights_sha256": gathered.model.weights_sha256,
            "objective": asdict(gathered.objective),
            "meaning": gathered.meaning,
            "settings": [asdict(each) for each in self.settings],
            "real": asdict(self.real),
            "shape": {
                **asdict(shape),
                "worst_ratio": shape.worst_ratio,
                "median_ratio": shape.median_ratio,
                "gentle_wins": shape.gentle_wins,
                "by_orders": shape.by_orders,
                "reproduced": shape.reproduced,
                "untold": shape.untold,
                "words": self.words(),
            },
            "grid": [
                {**asdict(each.settings), "distance": each.ranked.score.distance, "activation_median": each.median}
                for each in gathered.outcomes
                if each.ranked
            ],
        }


@dataclass(frozen=True)
class Opposition:
    """Two objectives that should sound opposite, by judge and place: is `high` more vocal than `low`?"""

    high: str
    low: str
    contrasts: Mapping[str, tuple[Contrast, ...]]
    """By place, one for each judge."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that there is to say of some sweeps."""

    objectives: tuple[ObjectiveEvidence, ...]
    oppositions: tuple[Opposition, ...]
    likenesses: tuple[Likeness, ...]
    recordings: tuple[str, ...]
    finished: datetime

    @property
    def judges(self) -> tuple[str, ...]:
        """The judges that have an opinion on any objective."""
        return tuple(dict.fromkeys(name for each in self.objectives for name in each.real.opinions))

    @property
    def unjudged(self) -> str:
        """Which models the judges have no opinion on, and why; empty where they have one on all."""
        models = dict.fromkeys(each.gathered.model.name for each in self.objectives if not each.real.opinions)
        if not models:
            return ""
        return (
            f"The judges hear whether there is a voice in music, and no output of {' or '.join(models)} is about that: "
            "they are not asked. The kernel distance and diversity are measured as ever."
        )

    def verdict(self) -> list[tuple[str, str]]:
        """Whether the published shape is reproduced, as (of what, what the numbers say)."""
        said = [(each.gathered.title, each.words()) for each in self.objectives]
        return said + [("the two neurons of R2", each.words()) for each in self.likenesses]
