"""Chopped takes: slices of a voice or an instrument, played again on the grid of the beat as a sampler does."""

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import resample
from earwitness.training.corpus.score import Melody, Song

Waveform = NDArray[np.float32]

REPITCHED = (0, 0, 0, 0, 3, 5, 7, 12, -2, -5, -12)
"""Semitones by which slices are moved, formants and all."""
FADE_S = 0.004
PATTERN_BEATS = 4


def chop(take: Waveform, sample_rate_hz: int, melody: Melody, song: Song, rng: np.random.Generator) -> Waveform:
    """Slices of `take` `[samples]`, begun at the melody's notes, in a pattern of the beat: `[samples]` again.

    The pattern of four beats recurs, with changes; within it slices are moved in pitch, stuttered, at times reversed.
    Instead of that one clip in five is gated: the take itself, switched in rhythm.
    """
    step = song.beat_s / float(rng.choice([2, 4, 4]))
    if rng.random() < 0.2:
        return _gated(take, sample_rate_hz, step, rng)
    starts = [int(note.start_s * sample_rate_hz) for note in melody]
    chosen = rng.choice(len(starts), size=min(len(starts), int(rng.integers(2, 7))), replace=False)
    longest = int(4 * song.beat_s * sample_rate_hz)
    slices = [take[starts[int(each)] :][:longest] for each in chosen]
    steps = max(2, round(PATTERN_BEATS * song.beat_s / step))
    rests, stutters = rng.uniform(0.1, 0.45), rng.uniform(0.1, 0.4)
    out = np.zeros_like(take)
    pattern = _pattern(rng, steps, len(slices), rests)
    bar, place = 0, 0
    while place * step * sample_rate_hz < len(out):
        if bar and rng.random() < 0.3:
            pattern = _pattern(rng, steps, len(slices), rests)
        for at, length, number, semitones, reverse in pattern:
            start = int((place + at) * step * sample_rate_hz)
            wanted = int(length * step * sample_rate_hz)
            repeats = int(rng.choice([2, 4, 3])) if rng.random() < stutters else 1
            piece = _played(slices[number], semitones, wanted // repeats, sample_rate_hz, reverse=reverse)
            for repeat in range(repeats):
                first = start + repeat * (wanted // repeats)
                room = out[first : first + len(piece)]
                room += piece[: len(room)]
        place += steps
        bar += 1
    return out


def _pattern(rng: np.random.Generator, steps: int, slices: int, rests: float) -> list[tuple[int, int, int, int, bool]]:
    """(step, length in steps, slice, semitones, reversed) of each hit of a pattern."""
    hits, at = [], 0
    while at < steps:
        length = min(steps - at, int(rng.choice([1, 1, 2, 2, 3, 4])))
        if rng.random() >= rests:
            hits.append((at, length, int(rng.integers(slices)), int(rng.choice(REPITCHED)), bool(rng.random() < 0.08)))
        at += length
    return hits


def _played(piece: Waveform, semitones: int, samples: int, sample_rate_hz: int, *, reverse: bool) -> Waveform:
    """The first `samples` of a slice moved in pitch, with short fades."""
    factor = 2 ** (semitones / 12)
    source = piece[: int(samples * factor) + 64]
    if reverse:
        source = np.ascontiguousarray(source[::-1])
    moved = resample(source, sample_rate_hz * factor, sample_rate_hz)[:samples].copy() if len(source) else source
    fade = min(len(moved) // 2, int(FADE_S * sample_rate_hz))
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        moved[:fade] *= ramp
        moved[-fade:] *= ramp[::-1]
    return moved


def _gated(take: Waveform, sample_rate_hz: int, step_s: float, rng: np.random.Generator) -> Waveform:
    """The take switched on and off in a pattern of sixteen steps."""
    openings = rng.random(16) < rng.uniform(0.4, 0.75)
    times = np.arange(len(take)) / sample_rate_hz / step_s
    open_now = openings[times.astype(int) % 16] & (times % 1 < rng.uniform(0.5, 1.0))
    width = max(1, int(FADE_S * sample_rate_hz))
    envelope = np.convolve(open_now.astype(np.float32), np.full(width, 1 / width, np.float32), mode="same")
    return np.asarray(take * envelope, dtype=np.float32)
