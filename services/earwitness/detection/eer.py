"""Equal error rates of scores of two classes, on the convex hull of the ROC and at the nearest threshold.

A trial is accepted as genuine when its score is at least the threshold. Pmiss is the share of genuine trials that are
rejected, Pfa the share of spoofs that are accepted. The convex hull of the ROC holds what a detector reaches that may
toss a coin between two thresholds; its EER is where that hull crosses Pmiss = Pfa. The nearest-threshold EER stays
with the thresholds there are: the mean of both errors where they differ least. On small sets the two differ.

No threshold parts trials of equal scores, so they are accepted or rejected together. The challenges' scripts sort all
trials and step from one to the next all the same, genuine ones first among equals: on scores with many ties, as whole
numbers are, that is another figure, and depends on the order among equals. Both ends of it are told beside ours.

Sources: N. Brümmer and E. de Villiers, The BOSARIS Toolkit (2011), for the hull, which the ASVspoof 2017 challenge
took; the evaluation scripts of ASVspoof 2019 to 5 for the nearest threshold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import EarwitnessError

Counts = NDArray[np.float64]

SHOWN = 5e-5
"""What changes a figure in per cent at its second decimal."""


@dataclass(frozen=True)
class Eer:
    """Both equal error rates, 0 to 1, and the threshold of the second; counts of the trials they rest on.

    Scores that cannot tell anything give 0.5. Scores the wrong way round give 0.5 on the hull, which may always toss a
    coin, and more than 0.5 at the nearest threshold.
    """

    convex_hull: float
    nearest_threshold: float
    threshold: float
    genuine: int
    spoof: int
    ties: "Ties | None" = None

    @property
    def ties_matter(self) -> bool:
        """Whether stepping through equal scores would change the second figure as it is shown."""
        ends = (self.ties.genuine_first, self.ties.spoofs_first) if self.ties else ()
        return any(abs(each - self.nearest_threshold) >= SHOWN for each in ends)


@dataclass(frozen=True)
class Ties:
    """`count` trials whose score one of the other class has as well, and the nearest-threshold EER of all trials taken
    one by one: where genuine ones are rejected first among equals, as the scripts of ASVspoof 2019 to 5 do, and where
    spoofs are."""

    count: int
    genuine_first: float
    spoofs_first: float


class UndefinedEer(EarwitnessError):
    """There is no equal error rate: one class is missing, or a score is no number."""

    code = "INVALID_ARGUMENT"
    reason = "UNDEFINED_EER"


def equal_error_rate(scores: ArrayLike, genuine: ArrayLike) -> Eer:
    """Both EERs of `scores` `[n]`, higher for genuine; `genuine` `[n]` says which trials are.

    Exact but for the last rounding of a float, up to 10^7 trials. Equal scores are accepted or rejected together.

    Raises: UndefinedEer when one class is missing or a score is not finite; ValueError when the shapes differ.
    """
    ranked = RankedTrials.of(scores, genuine)
    misses, false_alarms = ranked.errors()
    nearest, at = nearest_threshold_eers(misses, false_alarms)
    return Eer(
        convex_hull=float(convex_hull_eers(misses, false_alarms)[0]),
        nearest_threshold=float(nearest[0]),
        threshold=float(ranked.thresholds[at[0]]),
        genuine=int(misses[0, -1]),
        spoof=int(false_alarms[0, 0]),
        ties=_ties(ranked),
    )


@dataclass(frozen=True)
class RankedTrials:
    """`n` trials sorted once by score, for errors at every threshold under any weights.

    `order` `[n]` sorts the trials, `genuine` `[n]` is theirs in that order, `last` `[T]` the place of the last trial of
    each of T different scores. `thresholds` `[T + 1]` are these scores, and infinity, which rejects all.
    """

    order: NDArray[np.int64]
    genuine: NDArray[np.bool_]
    last: NDArray[np.int64]
    thresholds: NDArray[np.float64]

    @classmethod
    def of(cls, scores: ArrayLike, genuine: ArrayLike) -> "RankedTrials":
        """Raises: as `equal_error_rate`."""
        values, truth = np.asarray(scores, np.float64), np.asarray(genuine, bool)
        if values.ndim != 1 or values.shape != truth.shape:
            raise ValueError(f"scores {values.shape} and genuine {truth.shape} must be one value for each trial")
        finite = np.isfinite(values)
        if not finite.all():
            raise UndefinedEer(f"{len(values) - finite.sum()} of {len(values)} scores are not finite")
        if truth.all() or not truth.any():
            there = "there are no trials" if not len(truth) else f"all {len(truth)} trials are {class_name(truth[0])}"
            raise UndefinedEer(f"{there}; an equal error rate needs genuine trials and spoofs")
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        return cls(order, truth[order], last, np.append(ranked[last], np.inf))

    def one_by_one(self, *, genuine_first: bool) -> "RankedTrials":
        """The same as if no two scores were equal, with the genuine trials lowest among equals, or the spoofs."""
        level = np.repeat(np.arange(len(self.last)), np.diff(self.last, prepend=-1))
        order = np.lexsort((self.genuine != genuine_first, level))
        every = np.arange(len(order))
        return RankedTrials(self.order[order], self.genuine[order], every, np.append(self.thresholds[level], np.inf))

    def errors(self, weights: Counts | None = None) -> tuple[Counts, Counts]:
        """Weight of the genuine trials rejected and of the spoofs accepted at every threshold, both `[R, T + 1]`.

        `weights` `[R, n]` says how often each trial counts, in R ways; None counts each once (R = 1).
        """
        ranked = np.ones((1, len(self.order))) if weights is None else weights[:, self.order]
        rejected = np.cumsum(ranked, axis=1)[:, self.last]
        rejected_genuine = np.cumsum(ranked * self.genuine, axis=1)[:, self.last]
        start = np.zeros((len(ranked), 1))
        misses = np.hstack([start, rejected_genuine])
        rejected_spoof = np.hstack([start, rejected - rejected_genuine])
        return misses, rejected_spoof[:, -1:] - rejected_spoof


def _ties(ranked: RankedTrials) -> Ties | None:
    """What trials of equal scores and different classes are worth; None where there are none."""
    sizes = np.diff(ranked.last, prepend=-1)
    genuine = np.add.reduceat(ranked.genuine, ranked.last - sizes + 1, dtype=np.int64)
    count = int(sizes[(genuine > 0) & (genuine < sizes)].sum())
    if not count:
        return None
    ends = (nearest_threshold_eers(*ranked.one_by_one(genuine_first=first).errors())[0] for first in (True, False))
    genuine_first, spoofs_first = (float(each[0]) for each in ends)
    return Ties(count, genuine_first, spoofs_first)


def convex_hull_eers(misses: Counts, false_alarms: Counts) -> NDArray[np.float64]:
    """EERs `[R]` on the convex hull of R ROCs, from counts `[R, T + 1]`; NaN where one class is missing.

    The edge of the hull that crosses Pmiss = Pfa is found from the chord between both ends of the ROC: as long as a
    threshold lies below the chord, the lowest one takes the place of the end on its own side. It all happens in counts,
    whole numbers, so no edge is missed by rounding.
    """
    rows = np.arange(len(misses))
    genuine, spoof = misses[:, -1], false_alarms[:, 0]
    beyond = misses * spoof[:, np.newaxis] - false_alarms * genuine[:, np.newaxis]
    low, high = np.zeros_like(rows), np.full_like(rows, misses.shape[1] - 1)
    while True:
        miss_cost = false_alarms[rows, low] - false_alarms[rows, high]
        alarm_cost = misses[rows, high] - misses[rows, low]
        cost = miss_cost[:, np.newaxis] * misses + alarm_cost[:, np.newaxis] * false_alarms
        lowest = np.argmin(cost, axis=1)
        below = cost[rows, lowest] < cost[rows, low]
        if not below.any():
            break
        after = beyond[rows, lowest] > 0
        high = np.where(below & after, lowest, high)
        low = np.where(below & ~after, lowest, low)
    with np.errstate(invalid="ignore"):
        share = beyond[rows, low] / (beyond[rows, low] - beyond[rows, high])
        crossing = misses[rows, low] + share * (misses[rows, high] - misses[rows, low])
        return np.asarray(np.where(spoof > 0, crossing / genuine, np.nan))


def nearest_threshold_eers(misses: Counts, false_alarms: Counts) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """EERs `[R]` at the threshold where both errors differ least, the lowest of several, and its place `[R]`.

    From counts `[R, T + 1]`; NaN where one class is missing.
    """
    genuine, spoof = misses[:, -1:], false_alarms[:, :1]
    at = np.argmin(np.abs(misses * spoof - false_alarms * genuine), axis=1)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        errors = np.take_along_axis(misses, at, 1) / genuine + np.take_along_axis(false_alarms, at, 1) / spoof
    return errors[:, 0] / 2, at[:, 0]


def class_name(genuine: bool) -> str:
    return "genuine" if genuine else "spoofs"
