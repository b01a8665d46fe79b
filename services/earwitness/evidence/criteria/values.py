"""What evidence for criteria is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.client.values import FloatArray, Model, Objective, Settings


@dataclass(frozen=True, eq=False)
class Heard:
    """What judges make of n sounds: `probabilities` [n] of a voice by judge, of those that are asked, and `embeddings`
    [n, D] of the judge that has some."""

    probabilities: Mapping[str, NDArray[np.float64]]
    embeddings: FloatArray


@dataclass(frozen=True, eq=False)
class AskedSense:
    """One objective of a sweep, before anything is heard."""

    model: Model
    objective: Objective

    @property
    def meaning(self) -> str | None:
        """What the objective shows, in the model's words."""
        return self.model.meaning(self.objective)


@dataclass(frozen=True, eq=False)
class SweptSense(AskedSense):
    """One objective of a sweep that was heard: `activations` [B, M, U] of all layers of the rows of its B settings, and
    what judges `heard` of the first rows of each."""

    sweep_id: str
    settings: tuple[Settings, ...]
    activations: FloatArray
    heard: tuple[Heard, ...]


@dataclass(frozen=True)
class Choice:
    """What a criterion chooses of two opposite objectives, and what that is worth: how well each judge tells them apart
    (`auc`), each one's kernel distance to real audio, and how far it is from the Pareto front of both (`regret`)."""

    criterion: str
    within_range: bool
    settings: tuple[Settings, Settings]
    auc: Mapping[str, float]
    kernel: tuple[float, float]
    regret: float


@dataclass(frozen=True)
class Part:
    """All criteria with references of the recordings `learned`, set against real audio of those that are `judging`."""

    learned: tuple[str, ...]
    judging: tuple[str, ...]
    choices: tuple[Choice, ...]

    def choice(self, criterion: str, *, within_range: bool) -> Choice:
        """Raises: KeyError for a criterion that was not tried."""
        for each in self.choices:
            if (each.criterion, each.within_range) == (criterion, within_range):
                return each
        raise KeyError(criterion)


@dataclass(frozen=True, eq=False)
class CriteriaEvidence:
    """All criteria on the sweeps of one model; `whole` has all recordings on both sides, `splits` some on each.

    `row_count` rows of each setting were heard; `real_count` real excerpts of each objective made the references.
    """

    model: Model
    sweeps: tuple[str, str]
    objectives: tuple[Objective, Objective]
    meanings: tuple[str | None, str | None]
    row_count: int
    real_count: int
    whole: Part
    splits: tuple[Part, ...]
    finished: datetime

    @property
    def criteria(self) -> tuple[str, ...]:
        """Their names, in the order of `whole`."""
        return tuple(dict.fromkeys(each.criterion for each in self.whole.choices))

    def held_out_regret(self, criterion: str, *, within_range: bool) -> float | None:
        """The mean over the splits; None without any."""
        if not self.splits:
            return None
        return float(np.mean([each.choice(criterion, within_range=within_range).regret for each in self.splits]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.model.name,
            "weights_sha256": self.model.weights_sha256,
            "sweeps": self.sweeps,
            "objectives": [asdict(each) for each in self.objectives],
            "meanings": self.meanings,
            "row_count": self.row_count,
            "real_count": self.real_count,
            "whole": _part(self.whole),
            "splits": [_part(each) for each in self.splits],
            "finished": self.finished.isoformat(timespec="seconds"),
        }


def _part(part: Part) -> dict[str, Any]:
    choices = []
    for each in part.choices:
        settings = [{name: value for name, value in asdict(one).items() if value is not None} for one in each.settings]
        choices.append({**asdict(each), "settings": settings})
    return {"learned": part.learned, "judging": part.judging, "choices": choices}
