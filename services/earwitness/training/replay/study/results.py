"""What a study found, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from earwitness.training.replay.rates import Estimate, mean_of
from earwitness.training.replay.study.config import Cell

PARTS = ("train", "dev", "eval", "other")
"""The splits of the corpus, and another corpus, of which nothing was trained on."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run: what it cost, and its EERs (convex hull) on every part of PARTS that has one.

    `kinds` are those of eval's spoofs by kind of loudspeaker, against all its genuine trials; `shortcuts` those of eval
    by the name of its alteration.
    """

    seed: int
    epochs: int
    best_epoch: int
    seconds: float
    eers: Mapping[str, Estimate]
    kinds: Mapping[str, Estimate] = field(default_factory=dict)
    shortcuts: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Row:
    """A network with one amount of data: means over its runs, of which there is at least one."""

    cell: Cell
    parameters: int
    runs: Sequence[Run]

    def eer(self, part: str) -> Estimate | None:
        """The mean over seeds on a part; None where it is not defined."""
        return _mean([run.eers for run in self.runs], part)

    @property
    def gap(self) -> "Gap | None":
        """From dev to eval; None where either is not defined."""
        dev, evaluation = self.eer("dev"), self.eer("eval")
        return Gap(dev, evaluation) if dev and evaluation else None

    def kind(self, name: str) -> Estimate | None:
        """The mean on eval with the spoofs of one kind of loudspeaker."""
        return _mean([run.kinds for run in self.runs], name)

    def shortcut(self, name: str) -> tuple[Estimate, Estimate] | None:
        """The mean on altered eval, and its difference from the untouched one."""
        altered, untouched = _mean([run.shortcuts for run in self.runs], name), self.eer("eval")
        return (altered, altered - untouched) if altered and untouched else None


class Gap(NamedTuple):
    """EERs where devices and rooms are partly known from training, and where they are new."""

    dev: Estimate
    evaluation: Estimate

    @property
    def change(self) -> Estimate:
        """EER on eval − EER on dev."""
        return self.evaluation - self.dev


@dataclass(frozen=True, eq=False)
class Study:
    """All rows that have a finished run.

    `pending` says of every run without figures why; `undefined` of every part without EER; `warnings` are what makes
    the figures less than they seem. `trials` counts genuine and replayed trials of each part.
    """

    corpus: Path
    other: Path | None
    rows: Sequence[Row]
    trials: Mapping[str, tuple[int, int]]
    pending: Mapping[str, str]
    undefined: Mapping[str, str]
    warnings: Sequence[str]
    settings: Mapping[str, Any]
    resamples: int
    seed: int

    def row(self, cell: Cell) -> Row | None:
        """That of a cell, where it has a finished run."""
        return next((row for row in self.rows if row.cell == cell), None)

    @property
    def kinds(self) -> list[str]:
        """Kinds of loudspeaker in eval."""
        return sorted({kind for row in self.rows for run in row.runs for kind in run.kinds})


def _mean(runs: Sequence[Mapping[str, Estimate]], name: str) -> Estimate | None:
    found = [run[name] for run in runs if name in run]
    return mean_of(found) if found else None
