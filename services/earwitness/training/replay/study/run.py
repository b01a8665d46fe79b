"""Trains what is missing, scores what is trained, and puts the figures together; every step is kept on disk."""

import csv
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.eer import RankedTrials, UndefinedEer
from earwitness.detection.intervals import RESAMPLES, SEED
from earwitness.detection.keys import Trial
from earwitness.detection.report import ties_only
from earwitness.detection.scores import match_scores, read_scores, write_scores
from earwitness.training.checkpoint import file_sha256
from earwitness.training.datasets.asvspoof import UTTERANCE_SPLITS, SpoofingCorpus
from earwitness.training.replay.alterations import ALTERATIONS
from earwitness.training.replay.detector import ReplayDetector
from earwitness.training.replay.evaluation import duplicates, genuine_of, kind_of, of_part
from earwitness.training.replay.rates import Estimate, eer_estimate, part_seed
from earwitness.training.replay.study.config import Cell, StudyConfig
from earwitness.training.replay.study.results import Row, Run, Study
from earwitness.training.replay.utterances import UtteranceSplit
from earwitness.training.run_folder import Diverged, Progress, best_checkpoint, plain, silent, training_machine
from earwitness.training.train_replay import ReplayTrainingConfig, replay_run_ended, train_replay

UNFINISHED = "is not trained to the end"


def run_study(
    config: StudyConfig,
    corpus: SpoofingCorpus,
    other: SpoofingCorpus | None = None,
    *,
    train: bool = True,
    shortcuts: bool = False,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    progress: Progress = silent,
) -> Iterator[Study]:
    """The study as far as it is, after every run; the last one is all of it.

    Runs that are finished are kept, others go on where they were; without `train` they are left out. A run whose loss
    is no number is told in `Study.pending`, and the others go on. `other` is scored as a whole.

    Raises: InvalidArgument when train or dev holds one class only; AudioError naming files that cannot be used;
    CheckpointError when a run folder holds a run of another configuration or corpus.
    """
    trials = _trials_of(corpus, other)
    undefined = {part: said for part, each in trials.items() if (said := _undefined(each))}
    warnings = _warnings(corpus, other)
    pending: dict[str, str] = {}
    runs: dict[Cell, list[Run]] = {}
    parameters: dict[Cell, int] = {}
    left = list(config.runs())
    for number, (cell, run_seed) in enumerate(left, start=1):
        name, training = cell.run_name(run_seed), config.training(cell, run_seed)
        own = of_part(progress, f"{name} ({number} of {len(left)})")
        try:
            if train:
                train_replay(training, corpus, own)
            finished = replay_run_ended(training, corpus)
        except Diverged as err:
            pending[name] = str(err)
        else:
            if finished:
                evaluated = _Evaluation(training, config, resamples, seed, own)
                with training_machine(config.threads, run_seed):
                    runs.setdefault(cell, []).append(evaluated.run(corpus, other, undefined, shortcuts))
                parameters[cell] = evaluated.detector.parameters
                warnings += [f"{name}, {said}" for said in evaluated.doubts]
            else:
                pending[name] = UNFINISHED
        yield Study(
            corpus=corpus.root,
            other=other.root if other else None,
            rows=[Row(cell, parameters[cell], tuple(runs[cell])) for cell in config.cells if cell in runs],
            trials={part: _counts(each) for part, each in trials.items()},
            pending=dict(pending) | {cell.run_name(later): "is still to come" for cell, later in left[number:]},
            undefined=undefined,
            warnings=tuple(warnings),
            settings={key: value for key, value in plain(training).items() if key not in VARIED},
            resamples=resamples,
            seed=seed,
        )


VARIED = frozenset({"network", "features", "activation", "more_data", "seed"})
"""Settings of a run that the table's rows differ in."""


class _Evaluation:
    """The figures of one finished run. Its scores are kept beside it, for this very checkpoint and corpus."""

    def __init__(
        self, training: ReplayTrainingConfig, config: StudyConfig, resamples: int, seed: int, progress: Progress
    ) -> None:
        self.detector = ReplayDetector.load(best_checkpoint(training.run_folder), config.device)
        self.doubts: list[str] = []
        self._training = training
        self._config = config
        self._resamples = resamples
        self._seed = seed
        self._progress = progress
        self._sha256 = file_sha256(self.detector.path)

    def run(
        self,
        corpus: SpoofingCorpus,
        other: SpoofingCorpus | None,
        undefined: Mapping[str, str],
        shortcuts: bool,
    ) -> Run:
        """Every figure that is defined."""
        scores = {str(split): self._scores(corpus, split) for split in UTTERANCE_SPLITS}
        if other is not None:
            scores["other"] = np.concatenate([self._scores(other, split) for split in UTTERANCE_SPLITS])
        trials = _trials_of(corpus, other)
        self.doubts += [f"{part}: {said}" for part, each in scores.items() if (said := ties_only(each))]
        defined = [part for part in scores if part not in undefined]
        altered = {name: self._scores(corpus, "eval", name) for name in ALTERATIONS if shortcuts and "eval" in defined}
        with (self._training.run_folder / "curves.csv").open() as file:
            epochs = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        return Run(
            seed=self._training.seed,
            epochs=len(epochs),
            best_epoch=1 + int(np.argmin([epoch["dev_loss"] for epoch in epochs])),
            seconds=sum(epoch["seconds"] for epoch in epochs),
            eers={part: self._eer(scores[part], trials[part], part) for part in defined},
            kinds=self._by_kind(scores["eval"], trials["eval"]) if "eval" in defined else {},
            shortcuts={name: self._eer(each, trials["eval"], "eval") for name, each in altered.items()},
        )

    def _eer(self, scores: NDArray[np.float64], trials: list[Trial], part: str) -> Estimate:
        """Resampled alike in every run, and with every alteration."""
        return eer_estimate(scores, trials, self._resamples, part_seed(self._seed, part))

    def _by_kind(self, scores: NDArray[np.float64], trials: list[Trial]) -> dict[str, Estimate]:
        """Of the spoofs on eval of each kind of loudspeaker, against all genuine trials; nothing where none is told."""
        kinds, genuine = np.array([kind_of(trial.playback) or "" for trial in trials]), genuine_of(trials)
        chosen = {kind: genuine | (kinds == kind) for kind in sorted(set(kinds[~genuine]) - {""})}
        return {
            kind: self._eer(scores[mask], [trial for trial, there in zip(trials, mask, strict=True) if there], "eval")
            for kind, mask in chosen.items()
        }

    def _scores(
        self, corpus: SpoofingCorpus, split: UtteranceSplit, alteration: str | None = None
    ) -> NDArray[np.float64]:
        """Scores of a split `[n]`, read where they are there."""
        identity = hashlib.sha256(f"{self._sha256} {corpus.fingerprint}".encode()).hexdigest()[:16]
        path = self._training.run_folder / "scores" / identity / f"{'-'.join(filter(None, (split, alteration)))}.txt"
        trials = corpus.trials(split)
        if not path.is_file():
            part = of_part(self._progress, ", ".join(filter(None, (split, alteration))))
            # Altered spectrograms serve this run only; those of the splits serve all runs with the same front end.
            with tempfile.TemporaryDirectory() as scratch:
                found = self.detector.scores(
                    corpus.utterances(split),
                    Path(scratch) if alteration else self._config.spectrograms,
                    alteration=alteration,
                    workers=self._config.workers,
                    progress=part,
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_scores(path, {trial.file: float(each) for trial, each in zip(trials, found, strict=True)})
        return match_scores(trials, read_scores(path, columns=("file", "score")))


def _trials_of(corpus: SpoofingCorpus, other: SpoofingCorpus | None) -> dict[str, list[Trial]]:
    """The trials of each part, see `results.PARTS`."""
    trials = {str(split): corpus.trials(split) for split in UTTERANCE_SPLITS}
    if other is not None:
        trials["other"] = [trial for split in UTTERANCE_SPLITS for trial in other.trials(split)]
    return trials


def _counts(trials: list[Trial]) -> tuple[int, int]:
    genuine = int(genuine_of(trials).sum())
    return genuine, len(trials) - genuine


def _undefined(trials: list[Trial]) -> str:
    """Why there is no EER whatever the scores; empty where there is one."""
    try:
        RankedTrials.of(np.zeros(len(trials)), genuine_of(trials))
    except UndefinedEer as err:
        return str(err)
    return ""


def _warnings(corpus: SpoofingCorpus, other: SpoofingCorpus | None) -> list[str]:
    found = duplicates(corpus)
    if other is not None:
        shared = len(set(corpus.digests) & set(other.digests))
        if shared:
            found.append(f"{shared} recordings of {other.root} are in {corpus.root} too, by content")
    return found
