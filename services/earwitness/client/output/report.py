"""What the folder of a sweep is made of: one objective, all its settings, and examples to look at and listen to."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from earwitness.client.sweep_values import SweepResult
from earwitness.client.values import (
    Criterion,
    Explanation,
    FloatArray,
    Model,
    Objective,
    RankedBatch,
    Reference,
    ReferenceVersion,
    SearchSummary,
    Settings,
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one setting found: the objective's `activations` [seeds] float32, in the order of the report's seeds;
    `diverged_count` of these rows diverged, and hold their best until then.

    `ranked` is its place among the settings, `None` where there is no reference to rank them against.
    """

    settings: Settings
    activations: FloatArray
    ranked: RankedBatch | None = None
    diverged_count: int = 0

    @classmethod
    def of(cls, result: SweepResult, ranked: RankedBatch | None) -> "Outcome":
        """Of a result that is done."""
        diverged = np.asarray(result.diverged_steps) >= 0
        return cls(result.settings, result.activations, ranked, int(diverged.sum()))

    @property
    def median(self) -> float:
        """Median activation of the rows, a NaN left out."""
        return float(np.nanmedian(self.activations))


@dataclass(frozen=True, eq=False)
class Examples:
    """Explanations of one outcome, with artefacts; `name` says why it is shown and names their folder, e.g. `best`."""

    name: str
    outcome: Outcome
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True, eq=False)
class RealExcerpt:
    """An excerpt of a recording that activates the objective; `source` says of which, e.g. `song.ogg, 12.5 s`."""

    source: str
    activation: float
    spectrogram: FloatArray
    audio_wav: bytes | None = None
    picture_png: bytes | None = None


@dataclass(frozen=True)
class RankedAgainst:
    """The version that settings were ranked against, and how; `unit` compared alone, or `None` for the whole layer."""

    reference: Reference
    version: ReferenceVersion
    unit: int | None
    criterion: Criterion | None = None
    """What they were ranked by; None where that is the published distance."""


@dataclass(frozen=True, eq=False)
class SweepReport:
    """A sweep of one objective.

    `outcomes` are those of all settings that were done, in the sweep's order, all ranked or none; `setting_count` is
    how many there were to do. `examples` are shown in their order, `excerpts` (most activating first) beside them.
    """

    model: Model
    objective: Objective
    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    examples: tuple[Examples, ...]
    setting_count: int
    summary: SearchSummary
    finished: datetime
    against: RankedAgainst | None = None
    excerpts: tuple[RealExcerpt, ...] = ()

    @property
    def meaning(self) -> str | None:
        """What the objective shows, in the model's words."""
        return self.model.meaning(self.objective)

    @property
    def best_first(self) -> tuple[Outcome, ...]:
        """The outcomes in the order of their ranks; unranked ones in that of the sweep."""
        return tuple(sorted(self.outcomes, key=lambda each: each.ranked.rank if each.ranked else 0))


def example_ranks(count: int) -> dict[str, int]:
    """Ranks worth showing of `count` settings: the best, the median and the worst, each once."""
    ranks = {"best": 1, "median": (count + 1) // 2, "worst": count}
    return {name: rank for name, rank in ranks.items() if name == "best" or rank > 1}
