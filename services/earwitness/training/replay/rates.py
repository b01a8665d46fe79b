"""Equal error rates with what an interval needs, so that means over seeds and differences have intervals too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.detection.bootstrap import resampled_eers
from earwitness.detection.eer import RankedTrials, convex_hull_eers
from earwitness.detection.intervals import Interval, interval_of
from earwitness.detection.keys import Trial
from earwitness.detection.report import numbered, resampled_units


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure, and the same figure of every resample `[resamples]`."""

    value: float
    resamples: NDArray[np.float64]

    @property
    def interval(self) -> Interval:
        """Of 95 %; NaN where nothing was resampled."""
        return interval_of(self.resamples)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference: paired where both were resampled alike, of independent figures where they were not."""
        return Estimate(self.value - other.value, self.resamples - other.resamples)

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of zero; 0 where it does not, or is not known."""
        low, high = self.interval.low, self.interval.high
        return 1 if low > 0 else -1 if high < 0 else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"value": self.value, "interval": [self.interval.low, self.interval.high]}


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean, resample by resample: its interval is that of the mean over just these."""
    return Estimate(
        float(np.mean([each.value for each in estimates])), np.mean([each.resamples for each in estimates], axis=0)
    )


def part_seed(seed: int, part: str) -> int:
    """The seed of a part's resamples: parts with as many speakers each would else be drawn alike, as if paired."""
    return int(np.random.SeedSequence([seed, *part.encode()]).generate_state(1)[0])


def eer_estimate(scores: ArrayLike, trials: Sequence[Trial], resamples: int, seed: int) -> Estimate:
    """The EER on the convex hull of `scores` `[n]`, speakers resampled where known.

    The same trials are resampled alike whatever the scores.

    Raises: UndefinedEer when the trials are of one class.
    """
    ranked = RankedTrials.of(scores, [bool(trial.genuine) for trial in trials])
    value = float(convex_hull_eers(*ranked.errors())[0])
    if not resamples:
        return Estimate(value, np.empty(0))
    units = resampled_units(numbered([trial.speaker for trial in trials]))
    return Estimate(value, resampled_eers(ranked, units, resamples, seed).convex_hull)
