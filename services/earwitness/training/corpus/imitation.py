"""What brings an instrument near a voice without making it one: resonances that move as those of a mouth do.

It is one or two wandering resonances, as of a wah pedal. A talk box or a vocoder, which put a speaker's whole mouth
onto an instrument, are left out: whether that is a voice, listeners disagree.
"""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

FRAME, HOP = 1024, 256
LOWER_HZ, UPPER_HZ = (300.0, 900.0), (900.0, 2500.0)
"""Ranges of the two resonances, those of the first two formants of vowels."""


def resonate(waveform: Waveform, sample_rate_hz: int, beat_s: float, rng: np.random.Generator) -> Waveform:
    """`waveform` `[samples]` through one or two resonances that stand, or swing in time with the beat."""
    from scipy import signal

    frequencies, times, spectrum = signal.stft(waveform, sample_rate_hz, nperseg=FRAME, noverlap=FRAME - HOP)
    octaves = np.log2(np.maximum(frequencies, 20.0))[:, None]
    period_s = beat_s * float(rng.choice([0.5, 1, 2, 4]))
    swing = rng.choice([0.0, rng.uniform(0.3, 1.0)], p=[0.25, 0.75])
    response = np.full(spectrum.shape, 10 ** (rng.uniform(-30, -12) / 20))
    ranges = (LOWER_HZ, UPPER_HZ)[: int(rng.choice([1, 2, 2]))]
    for low, high in ranges:
        phase = rng.uniform(0, 2 * np.pi)
        move = 0.5 + 0.5 * swing * np.sin(2 * np.pi * times / period_s + phase)
        centre = np.log2(low) + move * np.log2(high / low)
        width = rng.uniform(0.12, 0.35)
        response += np.exp(-0.5 * ((octaves - centre[None, :]) / width) ** 2)
    _, out = signal.istft(spectrum * response, sample_rate_hz, nperseg=FRAME, noverlap=FRAME - HOP)
    return np.asarray(np.pad(out, (0, max(0, len(waveform) - len(out))))[: len(waveform)], dtype=np.float32)
