"""Several takes at once: doubles, stacked harmonies, choirs, and the chords of a vocoder or a section."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import resample
from earwitness.training.corpus.score import Melody, Note, Song

Waveform = NDArray[np.float32]

HARMONIES = (2, -2, 4, -3, -5, 7)
"""Steps of the scale from the melody: thirds, fifths, fourths and sixths, the octave."""
MOST_DETUNED_CENTS = 25.0
MOST_LATE_S = 0.04


@dataclass(frozen=True)
class Part:
    """A part of a stack: what it performs, and as which of several performers."""

    melody: Melody
    performer: int


def stack_parts(rng: np.random.Generator, melody: Melody, song: Song, performers: int) -> list[Part]:
    """Three to five parts: doubles of the melody, harmonies in the scale, octaves, or the song's chords in its rhythm.

    The first is performed by performer 0; a stack has one performer or draws from all `performers`.
    """
    way = str(rng.choice(["doubles", "harmonies", "octaves", "chords"], p=[0.25, 0.4, 0.15, 0.2]))
    count = int(rng.integers(3, 6)) if way != "octaves" else 3
    voices = [0, *(int(rng.integers(performers)) for _ in range(count - 1))] if rng.random() < 0.6 else [0] * count
    if way == "doubles":
        melodies = [melody] * count
    elif way == "octaves":
        melodies = [melody, *(_moved(melody, shift) for shift in (-12, 12))]
    elif way == "chords":
        melodies = [tuple(_chord_tone(note, song, place) for note in melody) for place in range(count)]
    else:
        steps = rng.choice(HARMONIES, size=count - 1, replace=False)
        melodies = [melody, *(tuple(song.shifted_in_scale(note, int(each)) for note in melody) for each in steps)]
    return [Part(part, voice) for part, voice in zip(melodies, voices, strict=True)]


def stacked(
    parts: list[Part], perform: Callable[[Part], Waveform], sample_rate_hz: int, rng: np.random.Generator
) -> Waveform:
    """The parts performed `[samples]`, each a little out of tune and time with the first, and summed."""
    out: Waveform | None = None
    for part in parts:
        take = perform(part)
        if out is None:
            out = take.copy()
            continue
        factor = 2 ** (rng.uniform(-MOST_DETUNED_CENTS, MOST_DETUNED_CENTS) / 1200)
        take = resample(take, sample_rate_hz * factor, sample_rate_hz)
        late = int(rng.uniform(0, MOST_LATE_S) * sample_rate_hz)
        kept = min(len(out) - late, len(take))
        out[late : late + kept] += np.float32(rng.uniform(0.4, 1.0)) * take[:kept]
    assert out is not None
    return out


def _moved(melody: Melody, semitones: int) -> Melody:
    return tuple(note.transposed(semitones) for note in melody)


def _chord_tone(note: Note, song: Song, place: int) -> Note:
    """The chord's tone number `place` from the one nearest below the note, in the note's rhythm."""
    classes = {tone % 12 for tone in song.chord_at(note.start_s)}
    ladder = [midi for midi in range(note.midi - 7, note.midi + 25) if midi % 12 in classes]
    return Note(note.start_s, note.duration_s, ladder[place], note.slurred)
