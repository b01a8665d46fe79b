"""What evidence for ways to search is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.client.values import FloatArray, Model, Objective, Score, Settings
from earwitness.evidence.distances import Diversity, KernelDistance
from earwitness.evidence.judges import Contrast
from earwitness.evidence.ways.detectors import Sound
from earwitness.evidence.ways.plan import PUBLISHED

REAL = "real audio"
CEILING = "real audio at the activations of "


@dataclass(frozen=True, eq=False)
class Batch:
    """The n sounds of one objective: `activations` [n], `spectrograms` [n, bands, frames], and `labels`, what each of
    them is, in words."""

    activations: NDArray[np.float64]
    spectrograms: FloatArray
    sounds: tuple[Sound, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What one of the explanations took that came back: latents that were evaluated, and seconds of search."""

    evaluations: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Group:
    """A pair of batches: what should be heard more, and less. `scores` are against the reference of each objective;
    real audio has none, and no cost."""

    name: str
    words: str
    high: Batch
    low: Batch
    settings: tuple[Settings, ...] = ()
    scores: tuple[Score, ...] = ()
    costs: tuple[Cost, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether it is of real audio."""
        return not self.scores


@dataclass(frozen=True)
class Side:
    """What was measured of one batch; `kernel` is to the real excerpts that activate most, of the recordings that
    references learnt from, or, of a split, of those that judge."""

    objective: str
    row_count: int
    activation_median: float
    distance: float | None
    leaves_range: bool | None
    kernel: KernelDistance
    diversity: Diversity
    evaluations: float | None
    seconds: float | None


@dataclass(frozen=True)
class WayEvidence:
    """What was measured of one way, or of real audio; `bands` says how far the energy in each band parts the two."""

    name: str
    words: str
    is_real: bool
    settings: tuple[Settings, ...]
    contrasts: tuple[Contrast, ...]
    bands: Mapping[str, Contrast]
    high: Side
    low: Side

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "words": self.words,
            "settings": [
                {name: value for name, value in asdict(each).items() if value is not None} for each in self.settings
            ],
            "told_apart": {each.judge: _contrast(each) for each in self.contrasts},
            "bands": {name: _contrast(each) for name, each in self.bands.items()},
            "high": asdict(self.high),
            "low": asdict(self.low),
        }


@dataclass(frozen=True)
class Part:
    """All ways by references of the recordings `learned`, set against the real audio of `judging`."""

    learned: tuple[str, ...]
    judging: tuple[str, ...]
    ways: tuple[WayEvidence, ...]

    def way(self, name: str) -> WayEvidence | None:
        """The one of that name, if there is one."""
        return next((each for each in self.ways if each.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"learned": self.learned, "judging": self.judging, "ways": [each.to_dict() for each in self.ways]}


@dataclass(frozen=True, eq=False)
class WaysEvidence:
    """All ways of one model; `whole` has all recordings on both sides, `splits` some on each."""

    model: Model
    objectives: tuple[Objective, Objective]
    meanings: tuple[str, str]
    judges: tuple[str, ...]
    whole: Part
    splits: tuple[Part, ...]
    finished: datetime
    groups: tuple[Group, ...] = ()
    """Of `whole`, for their sounds."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without sounds."""
        return {
            "model": self.model.name,
            "weights_sha256": self.model.weights_sha256,
            "objectives": [asdict(each) for each in self.objectives],
            "meanings": self.meanings,
            "judges": self.judges,
            "whole": self.whole.to_dict(),
            "splits": [each.to_dict() for each in self.splits],
            "finished": self.finished.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True)
class Goal:
    """What a way should reach, the figure that it has, and the one that it is held against."""

    words: str
    figure: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def goals(evidence: WaysEvidence, way: WayEvidence) -> tuple[Goal, ...]:
    """How a way fares: told apart as real audio is, within it by the unit, and no further from real audio that nothing
    was learnt from than the published rule's choice, or from all of it where nothing was held back."""
    found = []
    real = evidence.whole.way(REAL)
    if real is not None:
        found += [
            Goal(f"told apart by {each.judge} as real audio is", each.auc, other.auc, at_least=True)
            for each, other in zip(way.contrasts, real.contrasts, strict=True)
        ]
    found += [
        Goal(f"unit FID, {side.objective}", side.distance, 1.0, at_least=False)
        for side in (way.high, way.low)
        if side.distance is not None
    ]
    for index, part in enumerate(evidence.splits or (evidence.whole,), 1):
        own, published = part.way(way.name), part.way(PUBLISHED)
        if own is not None and published is not None and own is not published:
            where = f"split {index}" if evidence.splits else "no split"
            found += [
                Goal(
                    f"kernel distance, {one.objective}, {where}",
                    one.kernel.distance,
                    other.kernel.distance,
                    at_least=False,
                )
                for one, other in ((own.high, published.high), (own.low, published.low))
            ]
    if evidence.judges and (contrast := next(iter(way.contrasts), None)) is not None:
        found.append(Goal(f"share in which {contrast.judge} hears it", contrast.high.vocal_share, 0.9, at_least=True))
    return tuple(found)


def _contrast(contrast: Contrast) -> dict[str, Any]:
    """Of any judge: what it hears need not be a voice."""
    return {
        "auc": contrast.auc,
        "auc_low": contrast.auc_low,
        "auc_high": contrast.auc_high,
        "high_median": contrast.high.median,
        "high_share": contrast.high.vocal_share,
        "low_median": contrast.low.median,
        "low_share": contrast.low.vocal_share,
    }
