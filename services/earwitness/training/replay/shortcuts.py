"""What a detector leans on: its EER on a split that is altered, and how far that is from the untouched one.

A replay should give itself away everywhere. Where the figure moves, the detector used what was taken away, or is led
astray by what it never heard in training; both are what an attacker, or another telephone line, can bring about.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.eer import RankedTrials
from earwitness.detection.intervals import RESAMPLES, SEED
from earwitness.detection.report import ties_only
from earwitness.training.datasets.asvspoof import SpoofingCorpus
from earwitness.training.replay.alterations import ALTERATIONS
from earwitness.training.replay.detector import ReplayDetector
from earwitness.training.replay.evaluation import genuine_of, of_part
from earwitness.training.replay.rates import Estimate, eer_estimate
from earwitness.training.replay.utterances import UtteranceSplit
from earwitness.training.run_folder import Progress, silent


@dataclass(frozen=True)
class Shortcut:
    """EER (convex hull) on altered utterances, and its difference from the untouched ones, trial by trial the same."""

    name: str
    words: str
    eer: Estimate
    difference: Estimate
    doubt: str = ""
    """Why the figure says nothing; empty where it does."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "words": self.words,
            "eer_convex_hull": self.eer.to_dict(),
            "difference": self.difference.to_dict(),
            **({"doubt": self.doubt} if self.doubt else {}),
        }


@dataclass(frozen=True)
class ShortcutReport:
    """A detector on `split` of a corpus, untouched and with every alteration."""

    detector: ReplayDetector
    corpus: Path
    split: UtteranceSplit
    genuine: int
    spoof: int
    untouched: Estimate
    shortcuts: tuple[Shortcut, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are 0 to 1."""
        return {
            **self.detector.to_dict(),
            "corpus": str(self.corpus),
            "split": self.split,
            "genuine": self.genuine,
            "spoof": self.spoof,
            "untouched": self.untouched.to_dict(),
            "shortcuts": {each.name: each.to_dict() for each in self.shortcuts},
        }


def evaluate_shortcuts(
    detector: ReplayDetector,
    corpus: SpoofingCorpus,
    split: UtteranceSplit = "eval",
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    workers: int = 0,
    progress: Progress = silent,
) -> ShortcutReport:
    """Scores `split` untouched and with each of ALTERATIONS; intervals and differences over the same resamples.

    Raises: UndefinedEer when the split is empty or has one class only; AudioError naming files that cannot be used.
    """
    trials = corpus.trials(split)
    genuine = genuine_of(trials)
    RankedTrials.of(np.zeros(len(trials)), genuine)  # refuses one class before anything is scored
    scores: dict[str | None, NDArray[np.float64]] = {}
    for alteration in (None, *ALTERATIONS):
        part = of_part(progress, ALTERATIONS[alteration].words if alteration else "untouched")
        with tempfile.TemporaryDirectory() as scratch:
            scores[alteration] = detector.scores(
                corpus.utterances(split), Path(scratch), alteration=alteration, workers=workers, progress=part
            )
    estimates = {name: eer_estimate(each, trials, resamples, seed) for name, each in scores.items()}
    untouched = estimates[None]
    return ShortcutReport(
        detector,
        corpus.root,
        split,
        int(genuine.sum()),
        int((~genuine).sum()),
        untouched,
        tuple(
            Shortcut(name, each.words, estimates[name], estimates[name] - untouched, ties_only(scores[name]))
            for name, each in ALTERATIONS.items()
        ),
    )
