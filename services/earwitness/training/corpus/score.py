"""Songs and melodies as notes, and the pitch contour of someone performing them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 0), (0, 3, 0, 4), (5, 4, 3, 4), (0, 2, 3, 5), (1, 4, 0, 0),
    (0, 6, 5, 4), (0, 1, 3, 4), (3, 0, 4, 5), (0, 0, 3, 4),
)  # fmt: skip
NOTE_BEATS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
PACES = {
    # Probability of each of NOTE_BEATS: busy, middling and sustained singing.
    "fast": (0.22, 0.48, 0.08, 0.16, 0.03, 0.03, 0.00, 0.00),
    "medium": (0.04, 0.34, 0.08, 0.28, 0.10, 0.11, 0.04, 0.01),
    "slow": (0.00, 0.12, 0.04, 0.28, 0.14, 0.24, 0.10, 0.08),
}
MELODY_REACH = 9
"""Semitones a melody may leave its centre, up and down."""


@dataclass(frozen=True)
class Note:
    """One sung or played note; `slurred` continues the syllable of the note before."""

    start_s: float
    duration_s: float
    midi: int
    slurred: bool = False

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    def transposed(self, semitones: int) -> "Note":
        return Note(self.start_s, self.duration_s, self.midi + semitones, self.slurred)


Melody = tuple[Note, ...]


@dataclass(frozen=True)
class Song:
    """Key, tempo and harmony; `chords` holds one triad of MIDI notes per bar."""

    tonic: int
    minor: bool
    beat_s: float
    beats_per_bar: int
    chords: tuple[tuple[int, ...], ...]

    @property
    def bar_s(self) -> float:
        return self.beat_s * self.beats_per_bar

    @property
    def pitch_classes(self) -> frozenset[int]:
        return frozenset((self.tonic + step) % 12 for step in (MINOR if self.minor else MAJOR))

    def chord_at(self, time_s: float) -> tuple[int, ...]:
        return self.chords[int(time_s / self.bar_s) % len(self.chords)]

    def scale_between(self, low: int, high: int) -> list[int]:
        """The scale's MIDI notes from `low` to `high`."""
        return [midi for midi in range(low, high + 1) if midi % 12 in self.pitch_classes]

    def shifted_in_scale(self, note: Note, steps: int) -> Note:
        """`note` moved by `steps` scale steps: a parallel harmony."""
        scale = self.scale_between(note.midi - 24, note.midi + 24)
        nearest = int(np.argmin(np.abs(np.array(scale) - note.midi)))
        return note.transposed(scale[nearest + steps] - note.midi)


def compose_song(
    rng: np.random.Generator, duration_s: float, tonic: int | None = None, minor: bool | None = None,
    beats_per_minute: float | None = None,
) -> Song:  # fmt: skip
    """A random song of at least `duration_s` seconds; key and tempo may be given to fit a recording."""
    tonic = int(rng.integers(12)) if tonic is None else tonic
    minor = bool(rng.random() < 0.5) if minor is None else minor
    beat_s = 60.0 / (rng.uniform(62, 150) if beats_per_minute is None else beats_per_minute)
    beats_per_bar = int(rng.choice([4, 3], p=[0.88, 0.12]))
    scale = MINOR if minor else MAJOR
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    degrees = (0, 2, 4, 6) if rng.random() < 0.2 else (0, 2, 4)

    def pitch(degree: int) -> int:
        return 48 + tonic + scale[degree % 7] + 12 * (degree // 7)

    bars = int(np.ceil(duration_s / (beat_s * beats_per_bar))) + 1
    chords = tuple(tuple(pitch(progression[bar % 4] + degree) for degree in degrees) for bar in range(bars))
    return Song(tonic, minor, beat_s, beats_per_bar, chords)


def compose_melody(rng: np.random.Generator, song: Song, centre: int, duration_s: float) -> Melody:
    """Phrases on the song's scale around MIDI note `centre`, with rests between them; at least one note."""
    scale = song.scale_between(centre - MELODY_REACH, centre + MELODY_REACH)
    place = len(scale) // 2 + int(rng.integers(-2, 3))
    pace = PACES[str(rng.choice(list(PACES), p=[0.25, 0.5, 0.25]))]
    slur_share, staccato_share = rng.uniform(0.0, 0.25), rng.choice([0.0, 0.1, 0.4], p=[0.4, 0.4, 0.2])
    time = float(rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 0.4 * duration_s)], p=[0.75, 0.25]))
    end = duration_s if rng.random() < 0.8 else rng.uniform(0.6, 1.0) * duration_s
    notes: list[Note] = []
    left_in_phrase = int(rng.integers(3, 14))
    while time < end - 0.1:
        if not left_in_phrase:
            time += song.beat_s * float(rng.choice([0.5, 1, 1.5, 2, 4], p=[0.3, 0.3, 0.15, 0.17, 0.08]))
            left_in_phrase = int(rng.integers(3, 14))
            continue
        length = min(max(song.beat_s * float(rng.choice(NOTE_BEATS, p=pace)), 0.1), end - time)
        place = int(np.clip(place + rng.choice([-4, -3, -2, -1, -1, 0, 0, 1, 1, 2, 3, 4]), 0, len(scale) - 1))
        midi = scale[place]
        if rng.random() < 0.4:
            chord = {tone % 12 for tone in song.chord_at(time)}
            midi = min(scale, key=lambda tone: (tone % 12 not in chord, abs(tone - midi)))
        slurred = bool(notes) and notes[-1].end_s > time - 0.02 and rng.random() < slur_share
        sounding = length * rng.uniform(0.5, 0.85) if rng.random() < staccato_share else length
        if length > 0.06:
            notes.append(Note(time, float(sounding), midi, slurred))
        time += length
        left_in_phrase -= 1
    return tuple(notes) or (Note(0.0, min(1.0, duration_s), scale[len(scale) // 2]),)


@dataclass(frozen=True)
class PitchStyle:
    """How a performer moves between pitches; depths in semitones, rates in Hz."""

    glide_hz: float
    damping: float
    vibrato_depth: float
    vibrato_rate_hz: float
    vibrato_delay_s: float
    scoop: float
    wander: float
    fall: float = 0.0
    """Semitones that the pitch of each syllable sinks within a quarter of a second, as in speech."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(
            glide_hz=rng.uniform(2.5, 9.0),
            damping=rng.uniform(0.5, 0.95),
            vibrato_depth=float(rng.choice([0.0, rng.uniform(0.1, 0.4), rng.uniform(0.4, 1.1)], p=[0.15, 0.4, 0.45])),
            vibrato_rate_hz=rng.uniform(4.4, 7.0),
            vibrato_delay_s=rng.uniform(0.05, 0.4),
            scoop=float(rng.choice([0.0, rng.uniform(0.3, 2.5)], p=[0.5, 0.5])),
            wander=rng.uniform(0.03, 0.3),
        )

    @classmethod
    def draw_spoken(cls, rng: np.random.Generator) -> Self:
        """Speech: no vibrato, quick turns between syllables, each of which falls."""
        return cls(
            glide_hz=rng.uniform(4.0, 12.0),
            damping=rng.uniform(0.8, 1.2),
            vibrato_depth=0.0,
            vibrato_rate_hz=5.0,
            vibrato_delay_s=0.0,
            scoop=0.0,
            wander=rng.uniform(0.1, 0.5),
            fall=rng.uniform(0.0, 2.5),
        )

    @classmethod
    def draw_tuned(cls, rng: np.random.Generator) -> Self:
        """Pitch correction at its hardest: steps from semitone to semitone and next to no life within them."""
        return cls(
            glide_hz=rng.uniform(12.0, 30.0),
            damping=1.0,
            vibrato_depth=0.0,
            vibrato_rate_hz=5.0,
            vibrato_delay_s=0.0,
            scoop=0.0,
            wander=rng.uniform(0.0, 0.04),
        )

    @classmethod
    def draw_effusive(cls, rng: np.random.Generator) -> Self:
        """A soloist who imitates a singer: slow glides, deep vibrato, scoops."""
        return cls(
            glide_hz=rng.uniform(1.5, 6.0),
            damping=rng.uniform(0.6, 1.0),
            vibrato_depth=rng.uniform(0.3, 1.4),
            vibrato_rate_hz=rng.uniform(4.2, 7.2),
            vibrato_delay_s=rng.uniform(0.0, 0.3),
            scoop=rng.uniform(0.0, 3.5),
            wander=rng.uniform(0.05, 0.4),
        )


def pitch_contour(
    melody: Melody, frame_count: int, frames_per_s: float, style: PitchStyle, rng: np.random.Generator
) -> NDArray[np.float64]:
    """MIDI pitch `[frame_count]` of the performed melody: glides with overshoot, scoops, delayed vibrato and wander.

    Rests hold the last pitch, so that glides start from it.
    """
    from scipy import signal

    target = np.full(frame_count, float(melody[0].midi))
    since_onset = np.zeros(frame_count)
    for note in melody:
        first = int(note.start_s * frames_per_s)
        target[first:] = note.midi
        elapsed = np.arange(max(0, frame_count - first)) / frames_per_s
        since_onset[first:] = elapsed
        if not note.slurred:
            target[first:] -= style.scoop * np.exp(-elapsed / 0.05)
    # A second-order low-pass with less than critical damping glides and overshoots as singers do.
    omega = 2 * np.pi * style.glide_hz
    b, a = signal.bilinear([omega**2], [1, 2 * style.damping * omega, omega**2], frames_per_s)
    pitch, _ = signal.lfilter(b, a, target, zi=signal.lfilter_zi(b, a) * target[0])
    rate = style.vibrato_rate_hz * (1 + _slow_noise(rng, frame_count, frames_per_s, 1.5, 0.06))
    depth = style.vibrato_depth * np.clip((since_onset - style.vibrato_delay_s) / 0.3, 0, 1)
    vibrato = depth * np.sin(2 * np.pi * np.cumsum(rate) / frames_per_s)
    fall = style.fall * np.clip(since_onset / 0.25, 0, 1)
    return np.asarray(pitch + vibrato + _slow_noise(rng, frame_count, frames_per_s, 6.0, style.wander) - fall)


def _slow_noise(
    rng: np.random.Generator, frame_count: int, frames_per_s: float, cutoff_hz: float, deviation: float
) -> NDArray[np.float64]:
    """Low-passed Gaussian noise `[frame_count]` of the given standard deviation."""
    from scipy import signal

    pole = np.exp(-2 * np.pi * cutoff_hz / frames_per_s)
    noise = signal.lfilter([np.sqrt(1 - pole**2)], [1, -pole], rng.standard_normal(frame_count))
    return np.asarray(deviation * noise)


def midi_to_hz(midi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal temperament, A4 = MIDI 69 = 440 Hz."""
    return np.asarray(440.0 * 2.0 ** ((midi - 69.0) / 12.0))
