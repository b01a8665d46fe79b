"""Beats as hip hop has them: kick and snare, busy hi-hats with rolls, a deep bass, a loop or a few chords."""

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus import mixing, recordings
from earwitness.training.corpus.config import Split
from earwitness.training.corpus.identities import CHORD_INSTRUMENTS, programs
from earwitness.training.corpus.score import Song, compose_song
from earwitness.training.corpus.soundfont import (
    CHORDS_CHANNEL,
    CLAP,
    CLOSED_HAT,
    DRUM_CHANNEL,
    KICK,
    OPEN_HAT,
    SHAKER,
    SNARE,
    Hit,
    chord_hits,
    draw_drum_kit,
    play,
)

Waveform = NDArray[np.float32]

# Kicks by sixteenth of a 4/4 bar.
KICKS: tuple[tuple[int, ...], ...] = (
    (0, 10), (0, 7, 10), (0, 6, 10), (0, 3, 8, 11), (0, 2, 10, 13), (0, 8), (0, 5, 8, 14), (0, 3, 6, 10, 13),
)  # fmt: skip
ROLLS = (3, 4, 6)
"""Strokes within one eighth where the hi-hat rolls."""
LOWEST_BASS = 28
"""MIDI note of the lowest bass, 41 Hz."""


def play_beat(
    track: recordings.Track, split: Split, duration_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> tuple[Song, Waveform]:
    """A beat `[samples]` and the song that fits it: in half of the cases over a loop cut from `track`."""
    loop = None
    if rng.random() < 0.5:
        song, loop = _loop(track, duration_s, sample_rate_hz, rng)
    else:
        song = compose_song(rng, duration_s)
    drums = play(_drum_hits(song, rng), {}, duration_s, sample_rate_hz, drum_kit=draw_drum_kit(rng))
    beat = drums / mixing.rms(drums)
    if rng.random() < 0.75:
        bass = _deep_bass(song, len(beat), sample_rate_hz, rng)
        beat = beat + np.float32(rng.uniform(0.4, 1.3)) * bass / mixing.rms(bass)
    if loop is None and rng.random() < 0.85:
        program = int(rng.choice(programs(CHORD_INSTRUMENTS, split)))
        loop = play(chord_hits(song, rng), {CHORDS_CHANNEL: program}, duration_s, sample_rate_hz)
    if loop is not None:
        if rng.random() < 0.4:
            loop = mixing.low_pass(loop, sample_rate_hz, rng.uniform(800, 5_000))
        beat = beat + np.float32(rng.uniform(0.3, 1.2)) * loop / mixing.rms(loop)
    return song, np.asarray(beat, dtype=np.float32)


def _loop(
    track: recordings.Track, duration_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> tuple[Song, Waveform]:
    """One or two bars of the track over and over, and the song in its key and tempo."""
    semitones = int(rng.integers(-4, 5))
    tempo = track.beats_per_minute * 2 ** (semitones / 12)
    song = compose_song(rng, duration_s, (track.tonic + semitones) % 12, track.minor, tempo)
    bars_s = min(duration_s, 4 * song.beat_s * float(rng.choice([1, 2])))
    once = recordings.cut(track, bars_s, semitones, sample_rate_hz, rng)
    samples = round(duration_s * sample_rate_hz)
    return song, np.tile(once, -(-samples // len(once)))[:samples]


def _drum_hits(song: Song, rng: np.random.Generator) -> list[Hit]:
    """Kick, snare or clap, and hi-hats over the whole song, in sixteenths."""
    step = song.beat_s / 4
    bars = int(np.ceil(len(song.chords) * song.bar_s / (16 * step)))
    # Above 120 beats a minute the snare falls on the third beat alone, as if at half the tempo.
    backbeat = (8,) if song.beat_s < 0.5 and rng.random() < 0.7 else (4, 12)
    snare, loudness = int(rng.choice([SNARE, CLAP])), int(rng.integers(80, 115))
    every = int(rng.choice([1, 2, 2]))
    hat = int(rng.choice([CLOSED_HAT, CLOSED_HAT, SHAKER]))
    rolls, opens, swing = rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.12), rng.choice([0.0, 0.0, rng.uniform(0.1, 0.3)])
    kicks = KICKS[int(rng.integers(len(KICKS)))]
    hits: list[Hit] = []

    def strike(place: float, key: int, velocity: float | np.integer) -> None:
        late = swing * step if place % 2 == 1 else 0.0
        start = place * step + late + abs(rng.normal(0, 0.003))
        hits.append(Hit(start, 0.1, DRUM_CHANNEL, key, int(np.clip(velocity, 20, 127))))

    for bar in range(bars):
        if rng.random() < 0.2:
            kicks = KICKS[int(rng.integers(len(KICKS)))]
        for place in kicks:
            strike(16 * bar + place, KICK, loudness + rng.integers(-8, 12))
        for place in backbeat:
            strike(16 * bar + place, snare, loudness + rng.integers(-8, 12))
        for place in range(0, 16, every):
            at, accent = 16 * bar + place, 0 if place % 4 == 0 else -14
            if place % 2 == 0 and rng.random() < rolls:
                strokes = int(rng.choice(ROLLS))
                for stroke in range(strokes):
                    strike(at + 2 * stroke / strokes, hat, loudness - 15 - 4 * (strokes - stroke))
            else:
                strike(at, OPEN_HAT if rng.random() < opens else hat, loudness - 10 + accent + rng.integers(-8, 8))
    return hits


def _deep_bass(song: Song, samples: int, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    """The tuned kick drum of such beats `[samples]`: decaying sines on the chords' roots, some of them gliding."""
    time = np.arange(samples) / sample_rate_hz
    decay_s, drive = rng.uniform(0.25, 1.2), rng.uniform(1.0, 6.0)
    kicks = KICKS[int(rng.integers(len(KICKS)))]
    out = np.zeros(samples)
    step = song.beat_s / 4
    starts = [(16 * bar + place) * step for bar in range(int(time[-1] / (16 * step)) + 1) for place in kicks]
    for start, following in zip(starts, (*starts[1:], np.inf), strict=True):
        span = slice(int(start * sample_rate_hz), min(samples, int(min(following, time[-1] + 1) * sample_rate_hz)))
        elapsed = time[span] - start
        if not len(elapsed):
            continue
        midi = LOWEST_BASS + (song.chord_at(start)[0] - LOWEST_BASS) % 12
        glide = float(rng.choice([0.0, 0.0, 0.0, 5.0, -5.0, 12.0])) * np.clip((elapsed - 0.15) / 0.2, 0, 1)
        thump = 12 * np.exp(-elapsed / 0.02)
        hertz = 440 * 2 ** ((midi + glide + thump - 69) / 12)
        out[span] = np.sin(2 * np.pi * np.cumsum(hertz) / sample_rate_hz) * np.exp(-elapsed / decay_s)
    return mixing.saturate(out.astype(np.float32), drive)
