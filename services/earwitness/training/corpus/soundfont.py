"""Accompaniment and instrumental leads played on the General MIDI SoundFont of the pretty_midi package."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.config import Split
from earwitness.training.corpus.identities import CHORD_INSTRUMENTS, LEADS, programs
from earwitness.training.corpus.native import package_folder
from earwitness.training.corpus.score import Melody, PitchStyle, Song, pitch_contour

BASSES = (32, 33, 34, 35, 36, 38, 39)
PADS = (48, 49, 50, 61, 88, 89, 90, 92, 94, 95)
CHORDS_CHANNEL, BASS_CHANNEL, PAD_CHANNEL, COUNTER_CHANNEL, DRUM_CHANNEL = 0, 1, 2, 3, 9
KICK, SNARE, CLOSED_HAT, OPEN_HAT, RIDE, CRASH, CLAP, TAMBOURINE, SHAKER = 36, 38, 42, 46, 51, 49, 39, 54, 70
BEND_RANGE_SEMITONES = 12
BEND_CENTRE, BEND_MOST = 8_192, 16_383
BENDS_PER_S = 100.0

# Hits by eighth of a 4/4 bar, repeated cyclically in other metres.
DRUM_STYLES: tuple[dict[int, tuple[int, ...]], ...] = (
    {KICK: (0, 4), SNARE: (2, 6), CLOSED_HAT: tuple(range(8))},
    {KICK: (0, 2, 4, 6), CLAP: (2, 6), OPEN_HAT: (1, 3, 5, 7)},
    {KICK: (0, 3, 5), SNARE: (4,), RIDE: tuple(range(0, 8, 2))},
    {KICK: (0, 3, 6), SNARE: (2, 6), SHAKER: tuple(range(8))},
    {KICK: (0, 5), SNARE: (2, 6), CLOSED_HAT: (0, 2, 4, 6), OPEN_HAT: (7,)},
    {TAMBOURINE: (2, 6), SHAKER: tuple(range(8))},
    {64: (0, 3), 62: (2, 5, 6), 56: (0, 4), SHAKER: tuple(range(8))},
    {41: (0, 1, 4), 45: (2, 5), 48: (3, 6, 7), CRASH: (0,)},
)


@dataclass(frozen=True)
class Hit:
    """One MIDI note on a channel."""

    start_s: float
    duration_s: float
    channel: int
    key: int
    velocity: int


@dataclass(frozen=True)
class Bend:
    """Pitch of a channel moved by `semitones` from `time_s` on."""

    time_s: float
    channel: int
    semitones: float


def soundfont_path() -> Path:
    """TimGM6mb.sf2 inside the installed pretty_midi; found without importing that package."""
    return package_folder("pretty_midi") / "TimGM6mb.sf2"


def play(
    hits: Sequence[Hit], instruments: dict[int, int], duration_s: float, sample_rate_hz: int,
    bends: Iterable[Bend] = (), drum_kit: int = 0,
) -> NDArray[np.float32]:  # fmt: skip
    """`hits` on the General MIDI programs of their channels: mono waveform `[samples]`."""
    import tinysoundfont

    synthesiser = tinysoundfont.Synth(samplerate=sample_rate_hz, gain=-8)
    font = synthesiser.sfload(str(soundfont_path()))
    for channel, program in instruments.items():
        synthesiser.program_select(channel, font, 0, program)
    synthesiser.program_change(DRUM_CHANNEL, drum_kit, True)
    bends = tuple(bends)
    for channel in {bend.channel for bend in bends}:
        synthesiser.pitchbend_range(channel, BEND_RANGE_SEMITONES)
    # At equal times: end notes, bend, then start notes.
    ends = sorted((hit.start_s + hit.duration_s, 0, hit.channel, hit.key, 0) for hit in hits)
    turns = sorted((bend.time_s, 1, bend.channel, _bend_value(bend.semitones), 0) for bend in bends)
    starts = sorted((max(0.0, hit.start_s), 2, hit.channel, hit.key, hit.velocity) for hit in hits)
    blocks, position, total = [], 0, round(duration_s * sample_rate_hz)
    for time, kind, channel, value, velocity in heapq.merge(ends, turns, starts):
        until = min(total, int(time * sample_rate_hz))
        if until > position:
            blocks.append(np.frombuffer(synthesiser.generate(until - position), np.float32).copy())
            position = until
        if until >= total:
            break
        if kind == 0:
            synthesiser.noteoff(channel, value)
        elif kind == 1:
            synthesiser.pitchbend(channel, value)
        else:
            synthesiser.noteon(channel, value, velocity)
    if total > position:
        blocks.append(np.frombuffer(synthesiser.generate(total - position), np.float32).copy())
    return np.asarray(np.concatenate(blocks).reshape(-1, 2).mean(axis=1), dtype=np.float32)


def play_band(
    song: Song, split: Split, duration_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A whole arrangement of the song: chords, and by chance bass, pad, drums and a counter-melody."""
    chords = programs(CHORD_INSTRUMENTS, split)
    instruments = {
        CHORDS_CHANNEL: int(rng.choice(chords)),
        BASS_CHANNEL: int(rng.choice(BASSES)),
        PAD_CHANNEL: int(rng.choice(PADS)),
        COUNTER_CHANNEL: int(rng.choice(chords)),
    }
    hits = chord_hits(song, rng)
    if rng.random() < 0.85:
        hits += _bass(song, rng)
    if rng.random() < 0.35:
        hits += _pad(song)
    if rng.random() < 0.75:
        hits += _drums(song, rng)
    if rng.random() < 0.25:
        hits += _riff(song, rng)
    return play(hits, instruments, duration_s, sample_rate_hz, drum_kit=draw_drum_kit(rng))


def play_percussion(
    song: Song, duration_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Drums alone, one or two patterns."""
    hits = _drums(song, rng) + (_drums(song, rng) if rng.random() < 0.4 else [])
    return play(hits, {}, duration_s, sample_rate_hz, drum_kit=draw_drum_kit(rng))


def play_solo(
    song: Song, split: Split, duration_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """One chord instrument alone."""
    instruments = {CHORDS_CHANNEL: int(rng.choice(programs(CHORD_INSTRUMENTS, split)))}
    return play(chord_hits(song, rng), instruments, duration_s, sample_rate_hz)


def play_lead(
    melody: Melody, program: int, duration_s: float, sample_rate_hz: int, rng: np.random.Generator,
    style: PitchStyle | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """The melody on one instrument, bent along the same kind of contour a singer follows: glides and vibrato.

    Without `style` one is drawn.
    """
    style = style or PitchStyle.draw(rng)
    contour = pitch_contour(melody, int(duration_s * BENDS_PER_S) + 1, BENDS_PER_S, style, rng)
    hits, bends = [], []
    for note in melody:
        hits.append(Hit(note.start_s, note.duration_s * 0.97, CHORDS_CHANNEL, note.midi, int(rng.integers(80, 118))))
        first, last = int(note.start_s * BENDS_PER_S), int(note.end_s * BENDS_PER_S)
        bends += [Bend(frame / BENDS_PER_S, CHORDS_CHANNEL, float(contour[frame]) - note.midi)
                  for frame in range(first, min(last, len(contour)))]  # fmt: skip
    return play(hits, {CHORDS_CHANNEL: program}, duration_s, sample_rate_hz, bends=bends)


def draw_lead(split: Split, rng: np.random.Generator) -> int:
    """A lead instrument of `split`, every family with the same chance."""
    allowed = set(programs(LEADS, split))
    family = [program for program in LEADS[int(rng.integers(len(LEADS)))] if program in allowed]
    return int(rng.choice(family if family else sorted(allowed)))


def _bend_value(semitones: float) -> int:
    share = np.clip(semitones / BEND_RANGE_SEMITONES, -1, 1)
    return int(np.clip(BEND_CENTRE + share * BEND_CENTRE, 0, BEND_MOST))


def draw_drum_kit(rng: np.random.Generator) -> int:
    """A drum kit of the SoundFont."""
    return int(rng.choice([0, 8, 16, 24, 25, 32, 40]))


def _eighths(song: Song) -> Iterable[tuple[int, int, float]]:
    """(bar, eighth within the bar, start in seconds) for the whole song."""
    for bar in range(len(song.chords)):
        for eighth in range(2 * song.beats_per_bar):
            yield bar, eighth, bar * song.bar_s + eighth * song.beat_s / 2


def chord_hits(song: Song, rng: np.random.Generator) -> list[Hit]:
    """The song's chords in one of six ways to play them."""
    style = str(rng.choice(["strum", "syncopated", "sustained", "arpeggio", "alberti", "off-beat"]))
    register = int(rng.choice([-12, 0, 0, 0, 12]))
    spread = rng.uniform(0.0, 0.03)
    loudness = int(rng.integers(60, 95))
    step = song.beat_s / 2
    hits = []
    for bar, eighth, start in _eighths(song):
        tones = sorted(52 + (tone - 52) % 12 + register for tone in song.chords[bar])
        struck: Sequence[int]
        if style == "strum":
            struck, length = (tones if eighth % 2 == 0 or rng.random() < 0.25 else ()), 0.9
        elif style == "syncopated":
            struck, length = (tones if eighth in (0, 3, 6) else ()), 2.4
        elif style == "sustained":
            struck, length = (tones if eighth == 0 else ()), 1.95 * song.beats_per_bar
        elif style == "off-beat":
            struck, length = (tones if eighth % 2 == 1 else ()), 0.5
        elif style == "alberti":
            struck, length = (tones[(0, 2, 1, 2)[eighth % 4]],), 1.0
        else:
            ladder = [*tones, tones[0] + 12]
            struck, length = (ladder[eighth % len(ladder)],), 1.5
        for place, tone in enumerate(struck):
            jitter = abs(rng.normal(0, 0.006)) + spread * place
            hits.append(Hit(start + jitter, length * step, CHORDS_CHANNEL, tone, loudness + int(rng.integers(-10, 20))))
    return hits


def _bass(song: Song, rng: np.random.Generator) -> list[Hit]:
    style = str(rng.choice(["roots", "eighths", "walking", "syncopated"]))
    step = song.beat_s / 2
    hits = []
    for bar, eighth, start in _eighths(song):
        root = 33 + (song.chords[bar][0] - 33) % 12
        interval, length = 0, 0.9
        if style == "roots":
            if eighth not in (0, 4):
                continue
            length = 3.0
        elif style == "walking":
            if eighth % 2:
                continue
            interval, length = (0, 4 if not song.minor else 3, 7, 9)[eighth // 2 % 4], 1.7
        elif style == "syncopated":
            if rng.random() < (0.1 if eighth == 0 else 0.55):
                continue
            interval = int(rng.choice([0, 0, 7, 12]))
        hits.append(Hit(start, length * step, BASS_CHANNEL, root + interval, int(rng.integers(75, 112))))
    return hits


def _pad(song: Song) -> list[Hit]:
    return [
        Hit(bar * song.bar_s, 0.98 * song.bar_s, PAD_CHANNEL, 60 + (tone - 60) % 12, 70)
        for bar, chord in enumerate(song.chords)
        for tone in chord
    ]


def _drums(song: Song, rng: np.random.Generator) -> list[Hit]:
    style = DRUM_STYLES[int(rng.integers(len(DRUM_STYLES)))]
    loudness, ghost = int(rng.integers(65, 110)), rng.choice([0.0, 0.06, 0.15])
    swing = float(rng.choice([0.0, 0.0, song.beat_s / 6]))
    hits = []
    for _bar, eighth, start in _eighths(song):
        late = swing if eighth % 2 else 0.0
        for key, places in style.items():
            if eighth % 8 in places or rng.random() < ghost:
                velocity = int(np.clip(loudness + rng.integers(-20, 18), 20, 127))
                hits.append(Hit(start + late + abs(rng.normal(0, 0.004)), 0.1, DRUM_CHANNEL, key, velocity))
    return hits


def _riff(song: Song, rng: np.random.Generator) -> list[Hit]:
    """A short figure repeated in every bar: an instrument with a melody behind voice or lead."""
    scale = song.scale_between(60, 79)
    count = 2 * song.beats_per_bar
    figure = [(eighth, int(rng.integers(len(scale)))) for eighth in range(count) if rng.random() < 0.5]
    return [
        Hit(bar * song.bar_s + eighth * song.beat_s / 2, 0.8 * song.beat_s / 2, COUNTER_CHANNEL, scale[place], 75)
        for bar in range(len(song.chords))
        for eighth, place in figure
    ]
