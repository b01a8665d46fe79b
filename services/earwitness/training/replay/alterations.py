"""What an utterance is changed by to see whether a detector leans on it: silence, bands, bandwidth, level.

Pure functions of a waveform `[samples]`, float32, at any rate; all keep the rate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from earwitness.features import resample

Waveform = NDArray[np.float32]

SILENT_DB = -30.0
"""Blocks that lie this far below the loudest one are silence: rooms and microphones are never quite silent."""
BLOCK_S = 0.01
FILTER_ORDER = 8
"""Of a Butterworth filter, run forwards and backwards: twice this in effect, without delay."""


@dataclass(frozen=True)
class Alteration:
    """A change of utterances: its name, what it does in words, and `apply(waveform, sample_rate_hz)`."""

    name: str
    words: str
    apply: Callable[[Waveform, int], Waveform]


def without_leading_silence(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """From the first block on that is not silent."""
    block = max(1, round(BLOCK_S * sample_rate_hz))
    blocks = waveform[: len(waveform) // block * block].reshape(-1, block).astype(np.float64)
    power = np.mean(blocks**2, axis=1)
    if not power.any():
        return waveform
    first = int(np.argmax(power >= power.max() * 10 ** (SILENT_DB / 10)))
    return waveform[first * block :]


def without_band(low_hz: float | None, high_hz: float | None) -> Callable[[Waveform, int], Waveform]:
    """Removes everything below `low_hz`, or above `high_hz`, where given."""

    def apply(waveform: Waveform, sample_rate_hz: int) -> Waveform:
        for edge_hz, kind in ((low_hz, "highpass"), (high_hz, "lowpass")):
            if edge_hz is not None:
                sections = butter(FILTER_ORDER, edge_hz, kind, fs=sample_rate_hz, output="sos")
                pad = min(3 * (2 * len(sections) + 1), len(waveform) - 1)
                waveform = sosfiltfilt(sections, waveform, padlen=pad).astype(np.float32)
        return waveform

    return apply


def through_rate(rate_hz: int) -> Callable[[Waveform, int], Waveform]:
    """Resampled to `rate_hz` and back, which removes everything above half of it."""
    return lambda waveform, sample_rate_hz: resample(
        resample(waveform, sample_rate_hz, rate_hz), rate_hz, sample_rate_hz
    )


def with_gain(gain_db: float) -> Callable[[Waveform, int], Waveform]:
    """Louder or softer, without clipping."""
    factor = np.float32(10 ** (gain_db / 20))
    return lambda waveform, _sample_rate_hz: waveform * factor


ALTERATIONS: Final[Mapping[str, Alteration]] = {
    each.name: each
    for each in (
        Alteration("no-leading-silence", "leading silence cut", without_leading_silence),
        Alteration("above-300-hz", "nothing below 300 Hz", without_band(300.0, None)),
        Alteration("below-6-khz", "nothing above 6 kHz", without_band(None, 6000.0)),
        Alteration("at-8-khz", "at 8 kHz and back", through_rate(8000)),
        Alteration("6-db-louder", "6 dB louder", with_gain(6.0)),
        Alteration("6-db-softer", "6 dB softer", with_gain(-6.0)),
    )
}
"""By name."""
