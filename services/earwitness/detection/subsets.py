"""Which trials of a key count, where it holds several subsets: ASVspoof 2021 has progress, eval and hidden ones."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from earwitness.detection.keys import Trial
from earwitness.detection.tables import SKIPPED
from earwitness.errors import InvalidArgument

EVAL = "eval"
"""What figures are published of."""
ALL = "all"


@dataclass(frozen=True)
class Subset:
    """The trials that count, and how many there are of each subset of the key; "" and none where it tells of none."""

    name: str
    trials: list[Trial]
    counts: Mapping[str, int]

    def __str__(self) -> str:
        total = sum(self.counts.values())
        if not self.counts or len(self.trials) == total:
            names = ", ".join(f"{count} {name}" for name, count in self.counts.items())
            return f"all {total} trials of the key ({names})" if self.counts else f"all {len(self.trials)} trials"
        rest = Counter(self.counts) - Counter(_name(trial) for trial in self.trials)
        left = ", ".join(f"{count} {name}" for name, count in rest.items())
        return f"{self.name}: {len(self.trials)} of {total} trials; left out: {left} (--subset all takes all)"


def chosen(trials: Sequence[Trial], wanted: str | None = None) -> Subset:
    """The trials of the subset `wanted`; by default of `eval` where the key tells of subsets, else all.

    `hidden` takes all hidden ones; of 2021 PA `hidden1` (simulated, not trimmed) and `hidden2` (trimmed) take one.

    Raises: InvalidArgument for a subset that the key has not, and where none is called eval and none wanted.
    """
    counts = Counter(map(_name, trials)) if any(trial.subset for trial in trials) else Counter[str]()
    if wanted == ALL or (wanted is None and not counts):
        return Subset(ALL if counts else "", list(trials), counts)
    there = ", ".join(f"{name} ({count})" for name, count in counts.items())
    if not counts:
        raise InvalidArgument("subset", f"is {wanted!r}; the key has no column of subsets")
    if wanted is None:
        if EVAL not in counts and len(counts) > 1:
            raise InvalidArgument("subset", f"must be chosen: the key has {there} and none called {EVAL}")
        wanted = EVAL if EVAL in counts else next(iter(counts))
    kept = [trial for trial in trials if _is_of(trial, wanted.lower())]
    if not kept:
        raise InvalidArgument("subset", f"is {wanted!r}; the key has {there}; or {ALL}")
    return Subset(wanted.lower(), kept, counts)


def coverage(subset: Subset, trials: Sequence[Trial], scored: Collection[str]) -> str:
    """Of how many trials of each subset of a key, which has `trials`, there are scores, in words."""
    found = Counter(_name(trial) for trial in trials if trial.id in scored)
    told = ", ".join(f"{name} {found[name]} of {count}" for name, count in subset.counts.items())
    return f"there are scores of {told}; {subset.name} is evaluated, --subset takes another"


def _name(trial: Trial) -> str:
    return trial.subset or SKIPPED


def _is_of(trial: Trial, wanted: str) -> bool:
    """Whether a trial is of a subset: by its name, or as the evaluation packages of 2021 call the hidden ones."""
    name = _name(trial)
    hidden = re.fullmatch(r"hidden(?:_?track)?_?([12])?(?:_pa)?", wanted)
    if name == wanted or hidden is None or not name.startswith("hidden"):
        return name == wanted
    number = hidden[1]
    own = re.fullmatch(r"hidden_track_([12])", name)
    return number in (None, own[1] if own else {"notrim": "1", "trim": "2"}.get(trial.trim or ""))
