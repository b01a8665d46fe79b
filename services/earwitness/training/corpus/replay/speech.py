"""What is said before anybody records it: by espeak-ng voices, or in recordings of one's own.

An espeak-ng voice gets breath and a vocal tract of its own by WORLD. It says a phrase in one way, whatever the corpus:
the corpus' seed decides only how it is recorded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.arrays import load
from earwitness.features.audio import resample
from earwitness.training.corpus import espeak
from earwitness.training.corpus.native import extension
from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ
from earwitness.training.corpus.syllables import warp_frequencies

PHRASES = (
    "open the garden gate before the rain comes",
    "seven quiet boats are waiting in the harbour",
    "please let me in, my name is on the list",
    "a green lamp burns behind the kitchen window",
    "never trust a cat with a bowl of cream",
    "the last train to the coast leaves at nine",
    "my sister paints the mountains every summer",
    "two old friends share bread and black coffee",
    "turn the small brass key until it clicks",
    "nobody remembers who planted this apple tree",
)
"""Every voice reads them by its own language's rules: the same words in many accents."""

FRAME_MS = 10.0
SILENT_DB = -40.0
LONGEST_S = 3.4
"""What a slow voice says beyond this is cut, so that recordings last four seconds or so at most."""


def say_phrases(speaker: str, phrases: Sequence[str]) -> list[NDArray[np.float32]]:
    """The phrases in an espeak-ng voice `language+variant`: `[samples]` without silence around it, RMS 0.1, at 16 kHz.

    Once per process (see espeak.py).
    """
    world: Any = extension("pyworld", "pyworld")
    rng = np.random.default_rng([*b"replay", *speaker.encode()])
    spoken, rate_hz = espeak.speak(speaker, phrases, int(rng.integers(150, 195)), int(rng.integers(35, 75)))
    formants, pitch, breath_hz = rng.uniform(0.9, 1.12), rng.uniform(0.85, 1.2), rng.uniform(2_500, 8_000)
    tilt_db = rng.uniform(-2, 2)
    said = []
    for waveform in spoken:
        f0, times = world.dio(waveform, rate_hz, f0_floor=60.0, f0_ceil=600.0, frame_period=FRAME_MS)
        power = world.cheaptrick(waveform, f0, times, rate_hz)
        frequencies = np.linspace(0, rate_hz / 2, power.shape[1])
        tilt = tilt_db / 10 * np.log(10) * np.log2(np.maximum(frequencies, 100) / 500)
        warped = np.exp(warp_frequencies(np.log(power + 1e-16).astype(np.float32), formants) + tilt, dtype=np.float64)
        breath = np.clip(1 / (1 + np.exp(-(frequencies - breath_hz) / 900)), 0.002, 0.98)
        aperiodicity = np.where(f0[:, None] > 0, breath, 1.0)
        # No two periods of a real voice are equally long.
        wander = np.exp(0.01 * rng.standard_normal(len(f0)) + 0.03 * np.sin(np.cumsum(rng.normal(0, 0.1, len(f0)))))
        voiced = world.synthesize(
            f0 * pitch * wander, np.ascontiguousarray(warped), np.ascontiguousarray(aperiodicity), rate_hz, FRAME_MS
        )
        said.append(trimmed(resample(np.asarray(voiced, np.float32), rate_hz, SAMPLE_RATE_HZ)))
    return said


def trimmed(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """`waveform` `[samples]` from the first to the last 10 ms that are not silent, `LONGEST_S` at most, RMS 0.1."""
    block = SAMPLE_RATE_HZ // 100
    blocks = waveform[: len(waveform) // block * block].reshape(-1, block)
    level = np.sqrt(np.mean(blocks**2, axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (SILENT_DB / 20))
    start, end = loud[0] * block, (loud[-1] + 1) * block
    kept = waveform[start : min(end, start + round(LONGEST_S * SAMPLE_RATE_HZ))]
    return np.asarray(0.1 / np.sqrt(np.mean(kept**2)) * kept, dtype=np.float32)


def save_speech(said: Sequence[NDArray[np.float32]], path: Path) -> None:
    """Stores what one speaker says."""
    with path.open("wb") as file:
        np.savez(file, **{str(number): waveform for number, waveform in enumerate(said)})  # type: ignore[arg-type]


def load_speech(path: Path) -> list[NDArray[np.float32]]:
    """What `save_speech` stored."""
    with load(path) as stored:
        return [stored[str(number)] for number in range(len(stored.files))]
