"""Figures of one or several detectors on the same trials: overall, and by how the spoofs were made or who spoke."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.bootstrap import EerIntervals, eer_intervals
from earwitness.detection.eer import Eer, RankedTrials, UndefinedEer, equal_error_rate
from earwitness.detection.intervals import RESAMPLES, SEED, Interval
from earwitness.detection.keys import Trial
from earwitness.detection.tables import FACTS, Fact
from earwitness.errors import InvalidArgument

OF_SPOOFS: frozenset[Fact] = frozenset({
    "playback", "recording", "attack", "vocoder", "task", "team", "attack_tag", "distance",
    "attack_room", "attack_microphone", "attack_device", "attack_distance",
})  # fmt: skip
"""How a spoof was made: spoofs of a group are set against all genuine trials. Where only genuine trials have a value,
as the talker's distance in 2021 PA, they are set against all spoofs. The groups of other facts have genuine trials of
their own; but where no genuine trial tells that fact, as the environment in 2017, it is as with these.

As the evaluation package of 2021 sets them against each other.
"""

Progress = Callable[[int, int, str], None]
"""Called with the figures done, those there are, and what the next one is of."""


def silent(_done: int, _total: int, _what: str) -> None:
    """Progress nobody watches."""


@dataclass(frozen=True)
class Figures:
    """EERs of some trials, or why there are none; intervals where trials were resampled, over `units` of `unit`."""

    genuine: int
    spoof: int
    eer: Eer | None
    undefined: str = ""
    intervals: EerIntervals | None = None
    unit: str = ""
    units: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are 0 to 1."""
        document: dict[str, Any] = {
            "genuine": self.genuine,
            "spoof": self.spoof,
            "eer_convex_hull": self.eer and self.eer.convex_hull,
            "eer_nearest_threshold": self.eer and self.eer.nearest_threshold,
            "nearest_threshold": self.eer and self.eer.threshold,
            "ties": self.eer and self.eer.ties and asdict(self.eer.ties),
        }
        if self.undefined:
            document["undefined"] = self.undefined
        if self.intervals is not None:
            document |= {
                "eer_convex_hull_interval": _ends(self.intervals.convex_hull),
                "eer_nearest_threshold_interval": _ends(self.intervals.nearest_threshold),
                "resampled": self.unit,
                "resampled_units": self.units,
            }
        return document


@dataclass(frozen=True)
class System:
    """One detector: figures over all trials, and by the values of each fact."""

    name: str
    figures: Figures
    groups: Mapping[Fact, Mapping[str, Figures]]

    def to_dict(self) -> dict[str, Any]:
        groups = {fact: {name: each.to_dict() for name, each in groups.items()} for fact, groups in self.groups.items()}
        return {"system": self.name, **self.figures.to_dict(), "groups": groups}


def evaluate_systems(
    trials: Sequence[Trial],
    scores: Mapping[str, NDArray[np.float64]],
    by: Sequence[Fact] = (),
    resamples: int = RESAMPLES,
    seed: int = SEED,
    progress: Progress = silent,
    *,
    lower_is_genuine: bool = False,
) -> list[System]:
    """Figures of every system of `scores` `[n]` on `trials`, all of which have a key.

    Groups without one of the classes have no EER and say so. No `resamples`: no intervals.

    Raises: UndefinedEer when all trials are of one class; InvalidArgument when no trial has a fact that is asked for.
    """
    genuine = np.array([bool(trial.genuine) for trial in trials], bool)
    speakers = numbered([trial.speaker for trial in trials])
    groups = {fact: _groups(trials, genuine, fact) for fact in by}
    total = len(scores) * (1 + sum(map(len, groups.values())))
    done = 0

    def figures(values: NDArray[np.float64], chosen: NDArray[np.bool_], what: str) -> Figures:
        nonlocal done
        progress(done, total, what)
        done += 1
        sign = -1 if lower_is_genuine else 1
        found = _figures(sign * values[chosen], genuine[chosen], speakers[chosen], resamples, seed)
        return (
            found if found.eer is None else replace(found, eer=replace(found.eer, threshold=sign * found.eer.threshold))
        )

    systems = []
    for name, values in scores.items():
        overall = figures(values, np.ones(len(trials), bool), name)
        if overall.eer is None:
            raise UndefinedEer(overall.undefined)
        parts = {
            fact: {group: figures(values, chosen, f"{name}, {fact} {group}") for group, chosen in members.items()}
            for fact, members in groups.items()
        }
        systems.append(System(name, overall, parts))
    return systems


def resampled_units(speakers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """What a bootstrap draws, `[n]`: the speakers, numbered on from 0; None for trials, where a speaker is unknown (-1)
    or there is one only."""
    there, units = np.unique(speakers, return_inverse=True)
    return units if there[0] >= 0 and len(there) > 1 else None


def ties_only(scores: NDArray[np.float64]) -> str:
    """That scores `[n]` are nothing but ties, in words, where they are; their EER of 50 % says nothing else."""
    if len(scores) > 1 and np.all(scores == scores[0]):
        return f"all {len(scores)} scores are {scores[0]:g}: ties only, which tell no trial from another"
    return ""


def numbered(names: Sequence[str | None]) -> NDArray[np.int64]:
    """The place of each name among the different ones, `[n]`; -1 for those that are not known."""
    places = {name: place for place, name in enumerate(sorted({name for name in names if name is not None}))}
    return np.array([-1 if name is None else places[name] for name in names], np.int64)


def _groups(trials: Sequence[Trial], genuine: NDArray[np.bool_], fact: Fact) -> dict[str, NDArray[np.bool_]]:
    """Which trials `[n]` each value of a fact is judged on."""
    values = [getattr(trial, fact) for trial in trials]
    places = numbered(values)
    names = sorted({value for value in values if value is not None})
    if not names:
        known = ", ".join(each for each in FACTS if any(getattr(trial, each) is not None for trial in trials))
        raise InvalidArgument(
            "by",
            f"no trial says its {fact}; the key tells {known or 'nothing but the class'}; give a key or --meta file "
            "that does".replace("_", "-"),
        )
    of_spoofs = fact in OF_SPOOFS or not (genuine & (places >= 0)).any()
    found = {}
    for place, name in enumerate(names):
        own = places == place
        if not of_spoofs:
            found[name] = own
        elif (own & ~genuine).any():
            found[name] = (own & ~genuine) | genuine
        elif fact == "distance":
            found[name] = own | ~genuine
    return found


def _figures(
    scores: NDArray[np.float64],
    genuine: NDArray[np.bool_],
    speakers: NDArray[np.int64],
    resamples: int,
    seed: int,
) -> Figures:
    counts = int(genuine.sum()), int((~genuine).sum())
    try:
        eer = equal_error_rate(scores, genuine)
    except UndefinedEer as err:
        return Figures(*counts, None, str(err))
    if not resamples:
        return Figures(*counts, eer)
    units = resampled_units(speakers)
    named = ("trials", len(scores)) if units is None else ("speakers", int(units.max()) + 1)
    intervals = eer_intervals(RankedTrials.of(scores, genuine), units, resamples, seed)
    return Figures(*counts, eer, "", intervals, *named)


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
