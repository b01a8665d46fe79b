"""The hibari singer: a small neural text-to-speech network whose spectra are held on notes."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.score import Melody, PitchStyle, midi_to_hz, pitch_contour
from earwitness.training.corpus.syllables import Syllable, hold, interpolate, sung_spans, warp_frequencies

SPEAKER = "heart"
FRAMES_PER_S = 80.0
BIN_COUNT = 601
BIN_HZ = 20.0
SILENCE = -12.0
VOICED_ABOVE_HZ = 40.0
SLOW_SPEECH = 0.8
WARP_RANGE = (0.8, 1.1)

ONSETS = ("", *"bdfɡhklmnpɹstvwzʃj", "st", "tɹ", "bl")
VOWELS = tuple("ɑiuOAIɛæʌɔɪW")
"""In hibari's alphabet O, A, I and W are the diphthongs of go, say, my and now."""
CODAS = ("", "", "", "n", "m", "l", "z", "d")


def sing_hibari(
    melody: Melody, centre: int, duration_s: float, rng: np.random.Generator, style: PitchStyle | None = None
) -> tuple[NDArray[np.float32], int]:
    """The melody on random syllables: waveform `[samples]` and its rate in Hz. Without `style` one is drawn."""
    from hibari import dsp

    frame_count = int(duration_s * FRAMES_PER_S) + 1
    pitch = pitch_contour(melody, frame_count, FRAMES_PER_S, style or PitchStyle.draw(rng), rng)
    harmonic = np.full((frame_count, BIN_COUNT), SILENCE, np.float32)
    noise, phase = harmonic.copy(), np.zeros_like(harmonic)
    voiced = np.zeros(frame_count, bool)
    lyrics = [_draw_syllable(rng) for _ in range(8)]
    for number, span in enumerate(sung_spans(melody)):
        start, end = (min(frame_count, int(time * FRAMES_PER_S)) for time in (span.start_s, span.end_s))
        if end - start < 3:
            continue
        spoken = _speak(lyrics[number % len(lyrics)])
        source = hold(spoken.syllable, end - start, 1.0, rng)
        accent = float(rng.normal(0, 0.15))
        harmonic[start:end] = interpolate(spoken.harmonic, source) + accent
        noise[start:end] = interpolate(spoken.noise, source) + accent
        phase[start:end] = spoken.phase[source.astype(int)]
        voiced[start:end] = spoken.voiced[source.astype(int)]
    low, high = WARP_RANGE
    factor = float(np.clip(0.95 + 0.008 * (centre - 60) + rng.normal(0, 0.06), low, high))
    frequencies = np.arange(BIN_COUNT) * BIN_HZ
    ring = rng.uniform(0, 1.1) * np.exp(-(((frequencies - 2900 * factor) / 500) ** 2))
    tilt = rng.uniform(-0.25, 0.2) * np.log2(np.maximum(frequencies, 100) / 500)
    harmonic = warp_frequencies(harmonic, factor) + (ring + tilt).astype(np.float32)
    noise = warp_frequencies(noise, factor) + np.float32(rng.uniform(-0.5, 1.2)) + tilt.astype(np.float32)
    empty = np.full((BIN_COUNT, frame_count), SILENCE, np.float32)
    waveform = dsp.synth(
        np.ascontiguousarray(harmonic.T), np.ascontiguousarray(phase.T), np.ascontiguousarray(noise.T), empty,
        np.zeros_like(empty), np.where(voiced, midi_to_hz(pitch), 0.0).astype(np.float32), rng,
    )  # fmt: skip
    return np.asarray(waveform, dtype=np.float32), int(dsp.SR)


class _Spoken:
    """The network's output for one syllable, frames first: log magnitudes, phases, voicing, and its nucleus."""

    def __init__(self, harmonic: Any, phase: Any, noise: Any, f0: Any) -> None:
        power = (np.exp(2 * np.minimum(harmonic, 7)) * (f0 > VOICED_ABOVE_HZ) + np.exp(2 * np.minimum(noise, 7))).sum(0)
        sounding = np.flatnonzero(power > power.max() * 3e-4)
        kept = slice(sounding[0], sounding[-1] + 1)
        self.harmonic, self.phase, self.noise = (np.ascontiguousarray(x[:, kept].T) for x in (harmonic, phase, noise))
        self.voiced = f0[kept] > VOICED_ABOVE_HZ
        count = len(self.voiced)
        steady = np.flatnonzero(self.voiced & (power[kept] > 0.35 * power.max()))
        first, last = (int(steady[0]), int(steady[-1])) if len(steady) >= 3 else (count // 3, 2 * count // 3)
        margin = int(0.3 * (last - first))
        self.syllable = Syllable(0, first + margin, max(first + margin + 1, last - margin), count)


def _draw_syllable(rng: np.random.Generator) -> str:
    onset, vowel, coda = (choices[int(rng.integers(len(choices)))] for choices in (ONSETS, VOWELS, CODAS))
    return f"{onset}ˈ{vowel}{coda}"


@lru_cache(maxsize=1)
def _network() -> Any:
    from hibari import Hibari

    return Hibari(voice=SPEAKER, threads=1)


@lru_cache(maxsize=512)
def _speak(phonemes: str) -> _Spoken:
    network = _network()
    inputs = {"ids": np.array([network.ids(phonemes)], np.int64), "speed": np.array([SLOW_SPEECH], np.float32)}
    harmonic, phase, noise, _free, _free_phase, f0 = (output[0] for output in network.sess.run(None, inputs))
    return _Spoken(harmonic, phase, noise, f0)
