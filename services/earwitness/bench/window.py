"""What counters and gauges did between two moments, from the samples that Prometheus took: exact, nothing extrapolated.

Every target is measured from its first scrape after the beginning to its last one before the end, so a rate divides by
the very seconds in which the counts came about. A series that appears in between began at 0: the first refusal counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from earwitness.bench.errors import BenchError

UP = "up"
"""Prometheus' own metric: 1 for every scrape that worked."""
Instance = tuple[str, str]
"""Job and address of a target."""
Samples = Mapping[float, float]


@dataclass(frozen=True)
class Series:
    """Samples of one series, value by time."""

    name: str
    labels: Mapping[str, str]
    samples: Samples

    @property
    def instance(self) -> Instance:
        """Whose it is."""
        return self.labels.get("job", ""), self.labels.get("instance", "")

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Series":
        """One result of a range selector, as Prometheus sends it."""
        labels = dict(found["metric"])
        return cls(labels.pop("__name__"), labels, {float(at): float(value) for at, value in found["values"]})


class Window:
    """The series of all targets between two moments.

    Raises: BenchError when fewer targets of a job than `jobs` says were scraped twice in between.
    """

    def __init__(self, series: Iterable[Series], jobs: Mapping[str, int] | None = None) -> None:
        self._series: dict[str, list[Series]] = defaultdict(list)
        for each in series:
            self._series[each.name].append(each)
        self._span: dict[Instance, tuple[float, float]] = {}
        for each in self._series.pop(UP, []):
            scrapes = [at for at, value in each.samples.items() if value == 1]
            if len(scrapes) > 1:
                self._span[each.instance] = (min(scrapes), max(scrapes))
        measured = [job for job, _ in self._span]
        for job, count in (jobs or {}).items():
            if measured.count(job) < count:
                raise _unseen(job)

    @property
    def seconds(self) -> float:
        """The measured time, on average over the targets that show anything."""
        shown = {each.instance for found in self._series.values() for each in found}
        spans = [last - first for instance, (first, last) in self._span.items() if instance in shown]
        return sum(spans) / len(spans) if spans else 0.0

    def interval_s(self, name: str) -> float:
        """How often the targets that show a metric are scraped, those least often: the shortest pause of each."""
        pauses = [[late - early for early, late in pairwise(sorted(each.samples))] for each in self._series[name]]
        return max(min(each, default=float("inf")) for each in pauses)

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a series."""
        return any(True for _ in self._matching(name, labels))

    def instances(self, name: str) -> set[Instance]:
        """The targets that show a metric of that name."""
        return {each.instance for each in self._series[name]}

    def increase(self, name: str, **labels: str) -> float:
        """How much counters with these labels grew, together."""
        return sum(self._growth(each) for each in self._matching(name, labels))

    def rate(self, name: str, of: set[Instance] | None = None, **labels: str) -> float:
        """The same a second; of all targets, or of some."""
        rate = 0.0
        for each in self._matching(name, labels):
            if of is None or each.instance in of:
                rate += self._growth(each) / self._seconds_of(each)
        return rate

    def increases(self, name: str, by: str, **labels: str) -> dict[str, float]:
        """How much counters grew, by the values of one label."""
        found: dict[str, float] = defaultdict(float)
        for each in self._matching(name, labels):
            found[each.labels.get(by, "")] += self._growth(each)
        return dict(found)

    def rates(self, name: str, by: str, **labels: str) -> dict[str, float]:
        """The same a second."""
        found: dict[str, float] = defaultdict(float)
        for each in self._matching(name, labels):
            found[each.labels.get(by, "")] += self._growth(each) / self._seconds_of(each)
        return dict(found)

    def percentile(self, name: str, share: float, **labels: str) -> float | None:
        """The value below which a share (0 to 1) of a histogram's new observations lie; None without any."""
        buckets = self.increases(f"{name}_bucket", "le", **labels)
        return percentile([(float(upper), count) for upper, count in buckets.items()], share)

    def mean(self, name: str, **labels: str) -> float | None:
        """The mean of gauges over the samples, summed over the series; None where there is none."""
        means = [sum(each.samples.values()) / len(each.samples) for each in self._matching(name, labels)]
        return sum(means) if means else None

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterable[Series]:
        for each in self._series.get(name, ()):
            if all(each.labels.get(key) == value for key, value in labels.items()):
                yield each

    def _growth(self, series: Series) -> float:
        """Raises: BenchError for a counter that went back, whose process was therefore restarted."""
        first, last = self._ends(series)
        if last not in series.samples:
            return 0.0
        growth = series.samples[last] - series.samples.get(first, 0.0)
        if growth < 0:
            raise BenchError(f"{' '.join(series.instance)} was restarted in the measured time; measure again")
        return growth

    def _seconds_of(self, series: Series) -> float:
        first, last = self._ends(series)
        return last - first

    def _ends(self, series: Series) -> tuple[float, float]:
        if series.instance not in self._span:
            raise _unseen(" ".join(series.instance))
        return self._span[series.instance]


def _unseen(target: str) -> BenchError:
    return BenchError(
        f"Prometheus scraped {target} less than twice in the measured time; longer steps (--seconds) give it more of it"
    )


def percentile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the observations lie, None without observations.

    `buckets` are upper bounds, the last infinite, each with the count of observations up to it. Inside a bucket they
    are taken to lie evenly, as Prometheus' `histogram_quantile` does; beyond the last finite bound, the answer is that
    bound.
    """
    ordered = sorted(buckets)
    total = ordered[-1][1] if ordered else 0.0
    if total <= 0:
        return None
    wanted = share * total
    low, below = 0.0, 0.0
    for upper, count in ordered:
        if count >= wanted and count > below:
            return low if upper == float("inf") else low + (upper - low) * (wanted - below) / (count - below)
        low, below = upper, count
    return low
