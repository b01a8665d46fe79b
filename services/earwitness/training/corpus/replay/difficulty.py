"""How hard a replay corpus is for very simple classifiers: whether there is something to learn, and no give-away.

`python -m earwitness.training.corpus.replay.difficulty FOLDER` prints the figures as JSON.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.eer import equal_error_rate
from earwitness.training.corpus.replay.build import AUDIO_FOLDERS, PROTOCOL_FOLDER, PROTOCOLS
from earwitness.training.corpus.replay.config import REPLAY_SPLITS, SAMPLE_RATE_HZ, ReplaySplit

FRAME, HOP = 512, 160
BAND_BINS = 4
FLOOR = 1e-7
"""Of the power of a frame of samples in [-1, 1]."""
SPEECH_BELOW_PEAK_DB = 30.0

Vector = NDArray[np.float64]


class _Split(NamedTuple):
    """Features of a split's files, `[files, K]` each, which are genuine, and the columns of its protocol."""

    trivial: Vector
    spectrum: Vector
    genuine: NDArray[np.bool_]
    lines: list[list[str]]


def measure_difficulty(folder: Path) -> dict[str, Any]:
    """Equal error rates (0 to 1, nearest threshold) of linear discriminant analysis on two sets of features, by split
    and group.

    "trivial": duration, level, and the silence before and after. "spectrum": mean and spread of log spectral bands;
    its groups are kinds of loudspeaker, and whether training has the configuration, each against all genuine trials.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    splits = {split: _read(folder, split) for split in REPLAY_SPLITS}
    train = splits["train"]
    known = {line[5] for line in train.lines}
    report: dict[str, Any] = {}
    for name in ("trivial", "spectrum"):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        model.fit(getattr(train, name), train.genuine)
        scores = {split: model.decision_function(getattr(each, name)) for split, each in splits.items()}
        report[name] = {split: _eer(scores[split], each.genuine) for split, each in splits.items()}
    report["spectrum by group"] = {split: _by_group(scores[split], splits[split], known) for split in ("dev", "eval")}
    return report


def trivial_features(waveform: Vector) -> Vector:
    """Duration, RMS level, and seconds before and after the speech, of `waveform` `[samples]`: `[4]`."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    level_db = 10 * np.log10(np.mean(frames**2, axis=1) + FLOOR)
    loud = np.flatnonzero(level_db > level_db.max() - SPEECH_BELOW_PEAK_DB)
    before, after = loud[0], len(frames) - 1 - loud[-1]
    rms_db = 10 * np.log10(np.mean(waveform**2))
    return np.array(
        [len(waveform) / SAMPLE_RATE_HZ, rms_db, before * HOP / SAMPLE_RATE_HZ, after * HOP / SAMPLE_RATE_HZ]
    )


def spectrum_features(waveform: Vector) -> Vector:
    """Mean and spread over time of log power in bands of 125 Hz, without the overall level: `[128]`."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP] * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, 1:]) ** 2
    bands = np.log(power.reshape(len(power), -1, BAND_BINS).mean(axis=2) + FLOOR)
    bands -= bands.mean()
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


def _eer(scores: Vector, genuine: NDArray[np.bool_]) -> float:
    return round(equal_error_rate(scores, genuine).nearest_threshold, 4)


def _read(folder: Path, split: ReplaySplit) -> _Split:
    import soundfile

    text = (folder / PROTOCOL_FOLDER / PROTOCOLS[split]).read_text()
    lines = [line.split() for line in text.splitlines()]
    waveforms = [soundfile.read(folder / AUDIO_FOLDERS[split] / line[0])[0] for line in lines]
    return _Split(
        np.stack([trivial_features(each) for each in waveforms]),
        np.stack([spectrum_features(each) for each in waveforms]),
        np.array([line[1] == "genuine" for line in lines]),
        lines,
    )


def _by_group(scores: Vector, split: _Split, known: set[str]) -> Mapping[str, float]:
    """Equal error rate of all genuine trials against the replayed ones of a group."""
    groups: dict[str, list[bool]] = {}
    for name in ("phone", "laptop", "portable", "hifi"):
        groups[name] = [line[5].endswith(f"-{name}") for line in split.lines]
    groups["known to training"] = [line[5] in known and line[1] == "spoof" for line in split.lines]
    groups["new"] = [line[5] not in known for line in split.lines]
    members = {name: split.genuine | np.array(chosen) for name, chosen in groups.items() if any(chosen)}
    return {name: _eer(scores[chosen], split.genuine[chosen]) for name, chosen in members.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_difficulty(Path(sys.argv[1])), indent=2) + "\n")
