"""What a card says of how good a classifier is: every kind of detector by the figures of its own field."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from earwitness.detection.intervals import Interval
from earwitness.detection.report import Figures as ErrorRates
from earwitness.errors import InvalidArgument
from earwitness.training.corpus.config import IMITATING
from earwitness.training.datasets import open_spoofing_corpus
from earwitness.training.evaluate import ClassifierReport, Figures, evaluate_classifier
from earwitness.training.intervals import Intervals
from earwitness.training.replay.detector import ReplayDetector
from earwitness.training.replay.evaluation import SplitReport, evaluate_replay
from earwitness.training.replay.utterances import UtteranceSplit
from earwitness.training.run_folder import Progress

VALIDATION_FIGURES: Final[Mapping[str, str]] = {"valid_auc": "validation AUROC", "dev_eer": "dev EER"}
"""What training records tell of a network on the split it was chosen by, in words."""


KIND_ROWS: Final[Mapping[str, str]] = {IMITATING: "test, all voices against instruments that imitate them"}
"""What the row of a kind is called, where it is none of voices."""


@dataclass(frozen=True)
class Table:
    """A heading for each column, and the cells of each row by its name."""

    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DetectorFigures:
    """`words` say how the figures came about; `beside` has some of other detectors too, where there are such.

    `warnings` are what makes the figures less than they seem.
    """

    words: str
    table: Table
    beside: Table | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """What detectors are evaluated on: a corpus, real recordings apart from it, a folder to keep spectrograms in."""

    corpus: Path
    songs: Path | None
    cache: Path


Splits = Mapping[UtteranceSplit, SplitReport]
Measure = Callable[[Path, Mapping[str, Path], Material, Progress], DetectorFigures]


def measure_singing(
    classifier: Path, others: Mapping[str, Path], material: Material, progress: Progress
) -> DetectorFigures:
    """Figures of a singing-voice detector, and of `others` by name; see `evaluate_classifier`."""
    reports = {
        name: evaluate_classifier(path, material.corpus, material.songs, progress)
        for name, path in {"": classifier, **others}.items()
    }
    return singing_figures(reports.pop(""), reports)


def measure_replays(
    classifier: Path, others: Mapping[str, Path], material: Material, progress: Progress
) -> DetectorFigures:
    """Equal error rates of a replay detector, and of `others` by name; see `evaluate_replay`.

    Raises: InvalidArgument with songs, which are neither genuine nor replayed.
    """
    if material.songs is not None:
        require_songs_measurable("replay")
    opened = open_spoofing_corpus(material.corpus)
    reports = {
        name: evaluate_replay(ReplayDetector.load(path), opened, cache=material.cache, progress=progress)
        for name, path in {"": classifier, **others}.items()
    }
    splits = {name: report.splits for name, report in reports.items()}
    return replay_figures(splits.pop(""), splits, _warnings({name: each.warnings for name, each in reports.items()}))


MEASURES: Final[Mapping[str, Measure]] = {"svdnet": measure_singing, "replay": measure_replays}
"""By the architecture of `checkpoint.DETECTORS`."""


def require_songs_measurable(architecture: str) -> None:
    """Raises: InvalidArgument for a detector that songs say nothing of."""
    if architecture != "svdnet":
        raise InvalidArgument("songs", "are for a singing-voice detector; leave them out")


def singing_figures(report: ClassifierReport, others: Mapping[str, ClassifierReport]) -> DetectorFigures:
    """Frame by frame: the test set, its engines and kinds of voice, songs; the test set and songs of `others`."""
    sure = report.intervals
    # Only of the synthetic corpus, which has engines, is it known that no voice, track or song is in two splits.
    unseen = bool(report.engines) and not report.warnings
    rows = {"test: unseen voices, tracks and songs" if unseen else "test": _frames_row(report.test, sure.get("test"))}
    for engine, figures in report.engines.items():
        rows[f"test, singing by {engine} only"] = _frames_row(figures, None)
    for kind, figures in report.kinds.items():
        rows[KIND_ROWS.get(kind, f"test, {kind} voices only")] = _frames_row(figures, None)
    for name, figures in report.songs.items():
        rows[f"real song, {name.replace('_', ' ')}"] = _frames_row(figures, None)
    if report.all_songs is not None:
        rows["all real songs"] = _frames_row(report.all_songs, sure.get("songs"))
    beside = {}
    for name, each in {"this one": report, **others}.items():
        beside[f"{name}: test"] = _short_row(each.test, each.intervals.get("test"))
        if each.all_songs is not None:
            beside[f"{name}: real songs"] = _short_row(each.all_songs, each.intervals.get("songs"))
    kind = "of another kind than the training data" if unseen else "apart from the corpus"
    songs = f" The songs are real\nrecordings {kind}; they were used for nothing else." if report.all_songs else ""
    return DetectorFigures(
        f"Frame by frame, predictions median-filtered over 0.8 s, threshold {report.threshold:.3f} chosen on "
        f"validation.{songs}\n\nIn brackets 95 % intervals, from resampling whole files.",
        Table(("AUROC", "AUROC unfiltered", "error", "precision", "recall", "specificity", "F1", "frames"), rows),
        Table(("error", "AUROC", "F1"), beside) if others else None,
        _warnings({"": report.warnings, **{name: each.warnings for name, each in others.items()}}),
    )


def replay_figures(splits: Splits, others: Mapping[str, Splits], warnings: tuple[str, ...] = ()) -> DetectorFigures:
    """Equal error rates of each split, and of each kind of room and device in it; of the splits for `others`."""
    rows: dict[str, tuple[str, ...]] = {}
    for split, each in splits.items():
        rows[split] = _rates_row(each.figures)
        for fact, groups in each.groups.items():
            if fact.endswith(" kind"):
                rows |= {f"{split}, {fact.removesuffix(' kind')} {kind}": _rates_row(groups[kind]) for kind in groups}
    beside = {
        f"{name}: {split}": _rates_row(each.figures)[:1]
        for name, of in {"this one": splits, **others}.items()
        for split, each in of.items()
    }
    unseen = "" if warnings else " Training stopped by dev; eval has rooms and devices that neither has."
    return DetectorFigures(
        "Equal error rates, by the convex hull of the ROC curve and at the nearest threshold: a kind of replay against "
        f"all genuine\nspeech of its split.{unseen}\n\nIn brackets 95 % intervals, from resampling whole speakers.",
        Table(("EER, convex hull", "EER, nearest threshold", "genuine", "replayed"), rows),
        Table(("EER, convex hull",), beside) if others else None,
        warnings,
    )


def _warnings(of: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Those of the detector itself, named "", and of the others by their names."""
    return tuple(f"{name}: {each}" if name else each for name, found in of.items() for each in found)


def sure(value: float, interval: Interval | None) -> str:
    """A figure and, where it is known, its interval."""
    known = interval is not None and not math.isnan(interval.low)
    return f"{value:.3f} ({interval.low:.3f}–{interval.high:.3f})" if interval and known else f"{value:.3f}"


def _frames_row(figures: Figures, within: Intervals | None) -> tuple[str, ...]:
    shares = (figures.precision, figures.recall, figures.specificity)
    return (
        sure(figures.auroc, within.auroc if within else None),
        f"{figures.auroc_raw:.3f}",
        sure(figures.error, within.error if within else None),
        *(f"{share:.3f}" for share in shares),
        sure(figures.f1, within.f1 if within else None),
        str(figures.frames),
    )


def _short_row(figures: Figures, within: Intervals | None) -> tuple[str, ...]:
    return (
        sure(figures.error, within.error if within else None),
        sure(figures.auroc, within.auroc if within else None),
        sure(figures.f1, within.f1 if within else None),
    )


def _rates_row(figures: ErrorRates) -> tuple[str, ...]:
    counts = str(figures.genuine), str(figures.spoof)
    if figures.eer is None:
        return "undefined", "undefined", *counts
    within = figures.intervals
    return (
        sure(figures.eer.convex_hull, within.convex_hull if within else None),
        sure(figures.eer.nearest_threshold, within.nearest_threshold if within else None),
        *counts,
    )
