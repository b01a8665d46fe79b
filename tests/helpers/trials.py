"""Trials of ASVspoof's kind, their keys in its forms, and scores of a made-up detector."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from earwitness.detection.keys import Trial


def made_trials(count: int = 400, seed: int = 0) -> list[Trial]:
    """A quarter genuine, of four speakers; spoofs by three environments, two loudspeakers and two recorders."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        file, speaker, phrase = f"E_{1_000_001 + number}.wav", f"M{number % 5 % 4:04d}", f"S{number % 10 + 1:02d}"
        if number % 4 == 0:
            trials.append(Trial(file, True, speaker, phrase))
        else:
            env, play, rec = rng.integers(1, (4, 3, 3))
            trials.append(Trial(file, False, speaker, phrase, f"E{env:02d}", f"P{play:02d}", f"R{rec:02d}"))
    return trials


def made_scores(trials: Sequence[Trial], apart: float = 2.0, seed: int = 0) -> dict[str, float]:
    """By file: two Gaussians, `apart` from each other."""
    noise = np.random.default_rng(seed).normal(size=len(trials))
    return {
        trial.file: round(float(each + apart * bool(trial.genuine)), 6)
        for trial, each in zip(trials, noise, strict=True)
    }


def line_2017(trial: Trial, columns: int = 7) -> str:
    """A line of an ASVspoof 2017 protocol."""
    key = "genuine" if trial.genuine else "spoof"
    facts = (trial.speaker, trial.phrase, trial.environment, trial.playback, trial.recording)
    return " ".join([trial.file, key, *(fact or "-" for fact in facts)][:columns])


def write_key(path: Path, trials: Sequence[Trial], columns: int = 7) -> Path:
    """A key in the form of ASVspoof 2017."""
    path.write_text("".join(f"{line_2017(trial, columns)}\n" for trial in trials))
    return path


def write_score_lines(path: Path, scores: Mapping[str, float], form: str = "{file} {score}", header: str = "") -> Path:
    """A score file in any form."""
    lines = [form.format(file=file, stem=file.removesuffix(".wav"), score=score) for file, score in scores.items()]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path
