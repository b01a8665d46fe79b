"""Small corpora of genuine and replayed speech in the layouts of ASVspoof 2017, versions 1 and 2."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfiltfilt

from earwitness.detection.keys import Trial
from earwitness.training.datasets.asvspoof import UTTERANCE_SPLITS
from earwitness.training.replay.utterances import UtteranceSplit
from tests.helpers.recordings import write_audio
from tests.helpers.trials import line_2017

RATE_HZ = 16_000
SECONDS = 0.5
LISTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


def spoken(seed: int, seconds: float = SECONDS, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Noise, `[samples]`."""
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * rate_hz))).astype(np.float32)


def made_corpus(per_split: int = 4) -> dict[UtteranceSplit, list[Trial]]:
    """Half genuine, half replayed; speakers of their own in each split."""
    made: dict[UtteranceSplit, list[Trial]] = {}
    for place, split in enumerate(UTTERANCE_SPLITS):
        made[split] = []
        for number in range(per_split):
            file, speaker = f"{'TDE'[place]}_{1_000_001 + number}.wav", f"M{100 * place + number // 2:04d}"
            facts = ("E01", f"P{place:02d}", "R03") if number % 2 else (None, None, None)
            made[split].append(Trial(file, not number % 2, speaker, "S01", *facts))
    return made


def write_version_2(root: Path, per_split: int = 4, suffix: str = ".wav", columns: int = 7) -> Path:
    """ASVspoof2017_V2_*/ and protocol_V2/."""
    for place, (split, trials) in enumerate(made_corpus(per_split).items()):
        _write_audio(root / f"ASVspoof2017_V2_{split}", trials, suffix, 100 * place)
        _write_lines(
            root / f"protocol_V2/ASVspoof2017_V2_{LISTS[split]}.txt", [line_2017(each, columns) for each in trials]
        )
    return root


def write_version_1(root: Path, per_split: int = 4) -> Path:
    """ASVspoof2017_*/ and protocol/, where the evaluation's list, key and meta file are apart."""
    for place, (split, trials) in enumerate(made_corpus(per_split).items()):
        _write_audio(root / f"ASVspoof2017_{split}", trials, ".wav", 100 * place)
        if split != "eval":
            name = f"protocol/ASVspoof2017_{LISTS[split]}.txt"
            _write_lines(root / name, [line_2017(each) for each in trials])
            continue
        forms: Mapping[str, Sequence[str]] = {
            "": [f"{each.file} {each.phrase}" for each in trials],
            "_key": [line_2017(each, 2) for each in trials],
            "_meta": [line_2017(each) for each in trials],
        }
        for part, lines in forms.items():
            _write_lines(root / f"protocol/ASVspoof2017_eval_v2{part}.trl.txt", lines)
    return root


def write_telltale(root: Path, per_split: int = 24, seed: int = 0) -> Path:
    """Version 2; replays lack everything above 7 kHz, and that alone: what takes it from all tells none from another.

    Four speakers in each split, phones and hi-fis among the loudspeakers.
    """
    dull = butter(8, 7_000, fs=RATE_HZ, output="sos")
    rng = np.random.default_rng(seed)
    for place, split in enumerate(UTTERANCE_SPLITS):
        trials = []
        for number in range(per_split):
            file, speaker = f"{'TDE'[place]}_{1_000_001 + number}.wav", f"M{100 * place + number // 2 % 4:04d}"
            device = f"P{2 * place + number // 2 % 2:02d}-{('phone', 'hifi')[number // 2 % 2]}"
            genuine = number % 2 == 0
            facts = (None, None, None) if genuine else (f"E{place:02d}-home", device, "R03-studio")
            trials.append(Trial(file, genuine, speaker, "S01", *facts))
            waveform = 0.1 * rng.standard_normal(int(rng.uniform(0.8, 1.8) * RATE_HZ))
            waveform = waveform if genuine else sosfiltfilt(dull, waveform)
            write_audio(root / f"ASVspoof2017_V2_{split}" / file, waveform.astype(np.float32), RATE_HZ)
        _write_lines(root / f"protocol_V2/ASVspoof2017_V2_{LISTS[split]}.txt", map(line_2017, trials))
    return root


def _write_audio(folder: Path, trials: Sequence[Trial], suffix: str, seed: int) -> None:
    for number, trial in enumerate(trials):
        write_audio((folder / trial.file).with_suffix(suffix), spoken(seed + number), RATE_HZ)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
