"""What a check of data found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from earwitness.training.datasets.problems import Problem, errors_of

Summary = TypeVar("Summary", "SplitSummary", "UtteranceSummary")


@dataclass(frozen=True)
class SplitSummary:
    """A split's recordings with labels in time that can be used."""

    files: int
    hours: float
    vocal_fraction: float


@dataclass(frozen=True)
class UtteranceSummary:
    """A split's recordings with one label each that can be used; `speakers` counts those that are known."""

    files: int
    hours: float
    genuine: int
    spoof: int
    speakers: int


@dataclass(frozen=True)
class DataReport(Generic[Summary]):
    """Everything that was found; `sample_rates` counts the recordings of each rate."""

    path: Path
    kind: str
    splits: Mapping[str, Summary]
    sample_rates: Mapping[int, int]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not errors_of(self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ok": self.ok, **asdict(self)}
