"""Sound as a mono float32 waveform: what a file held and what is not right with it, other rates, and back to WAV."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import EarwitnessError

logger = logging.getLogger(__name__)

PCM16_PEAK = 32767

FlawKind = Literal["left-out", "cut-off", "remark"]
"""Nothing of the file is used; it breaks off, and what is there is used; something else worth knowing."""


class AudioError(EarwitnessError):
    """An audio file cannot be used; the message names the file and the way out."""

    code = "INVALID_ARGUMENT"
    reason = "AUDIO_UNUSABLE"


@dataclass(frozen=True)
class Flaw:
    """What is not as it should be with a file of sound; `message` goes on after its name."""

    path: Path
    kind: FlawKind
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    @classmethod
    def of(cls, path: Path, err: AudioError) -> "Flaw":
        """A file that is left out because of `err`."""
        return cls(path, "left-out", str(err).removeprefix(f"{path}: "))


OnFlaw = Callable[[Flaw], None]
"""Told of flaws as they are found, in whatever thread."""


def log_flaw(flaw: Flaw) -> None:
    """Warns of a flaw; what is told of them where nobody else listens."""
    logger.warning("%s%s", "left out: " if flaw.kind == "left-out" else "", flaw)


@dataclass(frozen=True)
class Decoded:
    """A file as it was recorded: the mean of its channels `[samples]`, float32, at its own rate.

    `promised_count` is the number of samples that its header tells, or that it holds where no header does; a file that
    is cut off decodes to fewer, or has None where it does not tell how long it was. `ending` says more of why it breaks
    off, `remarks` are on what else is odd. A `mended` file was not given to the decoder as it is: by itself it makes
    less of it.
    """

    waveform: NDArray[np.float32]
    sample_rate_hz: int
    promised_count: int | None
    channel_count: int
    ending: str = ""
    remarks: tuple[str, ...] = ()
    mended: bool = False

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate_hz

    @property
    def promised_seconds(self) -> float | None:
        return None if self.promised_count is None else self.promised_count / self.sample_rate_hz

    @property
    def breaks_off(self) -> str:
        """How much of the file is there and how much was promised, where it is cut off; else empty."""
        if self.promised_seconds is None:
            return f"breaks off after {self.seconds:.2f} s: {self.ending}"
        missing = (self.promised_count or 0) - len(self.waveform)
        if missing <= 0:
            return ""
        if missing < self.sample_rate_hz / 10:
            return f"breaks off {missing} samples before the {self.promised_seconds:.2f} s that its header tells"
        why = f" ({self.ending})" if self.ending else ""
        return f"breaks off after {self.seconds:.2f} of the {self.promised_seconds:.2f} s that its header tells{why}"

    def flaws(self, path: Path) -> list[Flaw]:
        """What is not as it should be, `path` being the file."""
        cut = self.breaks_off
        return [*([Flaw(path, "cut-off", cut)] if cut else []), *(Flaw(path, "remark", each) for each in self.remarks)]

    def at(self, path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
        """The waveform resampled to `sample_rate_hz`. Raises: AudioError for NaN or infinite samples."""
        if not np.isfinite(self.waveform).all():
            raise AudioError(f"{path}: holds NaN or infinite samples; export it again with finite values")
        return resample(self.waveform, self.sample_rate_hz, sample_rate_hz)


def resample(waveform: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    """`waveform` `[samples]` at `from_hz`, resampled to `to_hz` with soxr's high-quality filter, float32."""
    import soxr

    if from_hz == to_hz:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz, quality="HQ"), dtype=np.float32)


def write_wav(path: Path | str, waveform: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Writes `waveform` `[samples]` in [-1, 1] as 16-bit PCM; values beyond are clipped.

    Raises: AudioError when the waveform is not one-dimensional, or not finite.
    """
    import wave

    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioError(f"{path}: the waveform has shape {waveform.shape}; give one channel of finite samples")
    pcm = np.rint(np.clip(waveform, -1.0, 1.0) * PCM16_PEAK).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm.tobytes())
