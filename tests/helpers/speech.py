"""A speech-like sound at 16 kHz: a voice-like harmonic glide over a little noise."""

import numpy as np


def voice_like(seconds: float, seed: int = 0) -> np.ndarray:
    """`[samples]`, float32, at 16 kHz."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    phase = 2 * np.pi * np.cumsum(150 + 20 * np.sin(4 * np.pi * time)) / 16_000
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 40))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.1 * voice + 0.003 * noise).astype(np.float32)
