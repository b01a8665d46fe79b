"""How much of a sound lies in the bands that detectors of replays are known to lean on: pure functions of waveforms."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

BANDS: Mapping[str, tuple[float, float]] = {
    "below 300 Hz": (0.0, 300.0),
    "above 6 kHz": (6000.0, math.inf),
    "above 4 kHz": (4000.0, math.inf),
}
"""What `earwitness evaluate shortcuts` takes away, as low (included) and high end (not) in Hz."""
SILENCE_DB = -120.0
"""Of a band without any energy."""


def band_levels(waveform: NDArray[np.float32], sample_rate_hz: int) -> dict[str, float]:
    """The energy in each of BANDS in dB over all that `waveform` [samples] has; silence has SILENCE_DB in each."""
    power = np.square(np.abs(np.fft.rfft(waveform.astype(np.float64))))
    frequencies_hz = np.fft.rfftfreq(len(waveform), 1 / sample_rate_hz)
    whole = float(power.sum())
    levels = {}
    for name, (low_hz, high_hz) in BANDS.items():
        part = float(power[(frequencies_hz >= low_hz) & (frequencies_hz < high_hz)].sum())
        levels[name] = max(10 * math.log10(part / whole), SILENCE_DB) if part > 0 else SILENCE_DB
    return levels
