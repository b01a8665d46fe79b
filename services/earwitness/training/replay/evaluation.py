"""Equal error rates of a replay detector on each split of a corpus, overall and by how the replays were made."""

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.det import Curve, draw_det
from earwitness.detection.eer import UndefinedEer
from earwitness.detection.intervals import RESAMPLES, SEED
from earwitness.detection.keys import Trial
from earwitness.detection.report import Figures, evaluate_systems, ties_only
from earwitness.detection.scores import write_scores
from earwitness.detection.tables import Fact
from earwitness.files import whole_file
from earwitness.text import json_text
from earwitness.training.checkpoint import other_corpus
from earwitness.training.datasets.asvspoof import UTTERANCE_SPLITS, SpoofingCorpus
from earwitness.training.datasets.utterances import same_audio
from earwitness.training.replay.detector import ReplayDetector
from earwitness.training.replay.utterances import UtteranceSplit
from earwitness.training.run_folder import Progress, silent

FACTS: tuple[Fact, ...] = ("environment", "playback", "recording", "speaker")
OF_KINDS: tuple[Fact, ...] = FACTS[:3]
IN_TWO_SPLITS = "in-two-splits"


@dataclass(frozen=True)
class SplitReport:
    """Trials of a split with their scores `[n]`, higher for genuine; figures of all of them, and of groups by name.

    Groups are `playback kind` and its like, where devices are called by a kind as in P07-phone, then those of FACTS, as
    far as the protocols tell them.
    """

    trials: Sequence[Trial]
    scores: NDArray[np.float64]
    figures: Figures
    groups: Mapping[str, Mapping[str, Figures]]

    @property
    def doubt(self) -> str:
        """Why there is no EER, or why it says nothing; empty where it does."""
        return self.figures.undefined or ties_only(self.scores)


@dataclass(frozen=True)
class ReplayReport:
    """A detector on a corpus; `warnings` are what makes its figures less than they seem."""

    detector: ReplayDetector
    corpus: Path
    splits: Mapping[UtteranceSplit, SplitReport]
    warnings: Sequence[str]
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are 0 to 1."""
        return {
            **self.detector.to_dict(),
            "corpus": str(self.corpus),
            "warnings": list(self.warnings),
            "resamples": self.resamples,
            "seed": self.seed,
            "splits": {
                split: {
                    **report.figures.to_dict(),
                    **({"doubt": report.doubt} if report.doubt else {}),
                    "groups": {
                        fact: {name: each.to_dict() for name, each in groups.items()}
                        for fact, groups in report.groups.items()
                    },
                }
                for split, report in self.splits.items()
            },
        }

    def write(self, folder: Path) -> None:
        """Writes a score file of each split, report.json, groups.csv, and det.png where any split has an EER."""
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / "report.json") as partial:
            partial.write_text(json_text(self.to_dict()) + "\n", encoding="utf-8")
        for split, report in self.splits.items():
            named = {trial.file: float(score) for trial, score in zip(report.trials, report.scores, strict=True)}
            write_scores(folder / f"{split}.txt", named)
        with whole_file(folder / "groups.csv") as partial, partial.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["split", "by", "group", *FIGURE_COLUMNS])
            for split, report in self.splits.items():
                table.writerow([split, "", "", *figure_cells(report.figures)])
                table.writerows(
                    [split, fact, name, *figure_cells(each)]
                    for fact, groups in report.groups.items()
                    for name, each in groups.items()
                )
        curves: dict[str, Curve] = {
            split: Curve(report.scores, genuine_of(report.trials))
            for split, report in self.splits.items()
            if report.figures.eer is not None
        }
        if curves:
            draw_det(folder / "det.png", curves)


KINDS_OF_EER = ("convex_hull", "nearest_threshold")
FIGURE_COLUMNS = ("genuine", "spoof", *(f"eer_{kind}{end}" for kind in KINDS_OF_EER for end in ("", "_low", "_high")))


def figure_cells(figures: Figures) -> list[Any]:
    """A row under FIGURE_COLUMNS; empty where there is no EER or no interval."""
    eer, intervals = figures.eer, figures.intervals
    cells: list[Any] = [figures.genuine, figures.spoof]
    for name in KINDS_OF_EER:
        interval = getattr(intervals, name, None)
        cells += [getattr(eer, name, ""), getattr(interval, "low", ""), getattr(interval, "high", "")]
    return cells


def evaluate_replay(
    detector: ReplayDetector,
    corpus: SpoofingCorpus,
    splits: Sequence[UtteranceSplit] = UTTERANCE_SPLITS,
    *,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    workers: int = 0,
    progress: Progress = silent,
) -> ReplayReport:
    """Figures of `detector` on `splits`. Spectrograms are kept in `cache`, or for the while only.

    A split of one class has scores and no EER, and says so.

    Raises: InvalidArgument when a split is empty; AudioError naming files that cannot be used.
    """
    reports: dict[UtteranceSplit, SplitReport] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for split in splits:
            scores = detector.scores(
                corpus.utterances(split), cache or Path(scratch), workers=workers, progress=of_part(progress, split)
            )
            reports[split] = _report(corpus.trials(split), scores, resamples, seed, of_part(progress, split))
    warnings = [*duplicates(corpus), *other_corpus("detector", detector.corpus, corpus.fingerprint)]
    return ReplayReport(detector, corpus.root, reports, warnings, resamples, seed)


def duplicates(corpus: SpoofingCorpus) -> list[str]:
    """Recordings, or names, of more than one split: counted, the first told. Reads every file once."""
    problems = [*corpus.problems, *same_audio(corpus.spoken, corpus.digests)]
    return [str(problem) for problem in problems if problem.code == IN_TWO_SPLITS]


def genuine_of(trials: Sequence[Trial]) -> NDArray[np.bool_]:
    """Label of each trial `[n]`."""
    return np.array([bool(trial.genuine) for trial in trials], bool)


def kind_of(name: str | None) -> str | None:
    """`phone` of P07-phone: what the simulated corpus calls its devices and rooms by; None for a name without."""
    return (name or "").partition("-")[2] or None


def with_kinds(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the kinds of their rooms and devices in place of these."""
    return [
        replace(
            trial,
            environment=kind_of(trial.environment),
            playback=kind_of(trial.playback),
            recording=kind_of(trial.recording),
        )
        for trial in trials
    ]


def of_part(progress: Progress, part: str) -> Progress:
    """A Progress that names the part it is about."""
    return lambda done, total, text: progress(done, total, f"{part}: {text}")


def _report(
    trials: Sequence[Trial], scores: NDArray[np.float64], resamples: int, seed: int, progress: Progress
) -> SplitReport:
    """Figures of a split by kind and by name; where it has one class, why there are none."""
    figures, groups = None, dict[str, Mapping[str, Figures]]()
    try:
        for suffix, described in ((" kind", with_kinds(trials)), ("", trials)):
            facts = [fact for fact in (OF_KINDS if suffix else FACTS) if any(getattr(each, fact) for each in described)]
            if facts or not suffix:
                (system,) = evaluate_systems(described, {"all": scores}, facts, resamples, seed, progress)
                figures = system.figures
                groups |= {f"{fact}{suffix}": system.groups[fact] for fact in facts}
    except UndefinedEer as err:
        genuine = int(genuine_of(trials).sum())
        figures = Figures(genuine, len(trials) - genuine, None, str(err))
    assert figures is not None
    return SplitReport(trials, scores, figures, groups)
