"""Syllables that are not sung: rap on the grid of the beat, and speech in a time of its own.

Both are melodies to the singers and instruments: a note for each syllable, its pitch the syllable's.
"""

import numpy as np

from earwitness.training.corpus.score import Melody, Note, Song

SUBDIVISIONS = (2, 3, 4, 6, 8)
SHORTEST_STEP_S, LONGEST_STEP_S = 0.11, 0.27
"""Rap has 4 to 8 syllables a second; a step of the grid is one of the beat's parts in this range."""
PITCH_WAYS = {
    # Spread of syllables and accent of stressed ones, in semitones.
    "flat": (0.4, 1.0),
    "spoken": (1.5, 4.0),
    "excited": (2.5, 7.0),
}


def compose_flow(rng: np.random.Generator, song: Song, centre: int, duration_s: float) -> Melody:
    """Rapped lines on the song's beat around MIDI note `centre`: a syllable on most steps of the grid.

    Lines of one or two bars end with a longer syllable and, mostly, a breath. At times the lines are half sung, on a
    few notes of the scale.
    """
    possible = np.array([song.beat_s / parts for parts in SUBDIVISIONS])
    possible = possible[(possible >= SHORTEST_STEP_S) & (possible <= LONGEST_STEP_S)]
    step = float(rng.choice(possible))
    density, held_share = rng.uniform(0.7, 0.98), rng.uniform(0.05, 0.3)
    late, looseness = rng.uniform(0.0, 0.03), rng.uniform(0.002, 0.015)
    pitch = _Pitch.draw(rng, song, centre)
    notes: list[Note] = []
    place = int(rng.choice([0, int(rng.integers(0, 1 + int(0.25 * duration_s / step)))], p=[0.6, 0.4]))
    end = duration_s if rng.random() < 0.8 else rng.uniform(0.6, 1.0) * duration_s
    while place * step < end - step:
        line = max(4, round(song.bar_s * float(rng.choice([1, 1, 2])) / step) - int(rng.integers(0, 4)))
        last = place + line
        pitch.begin_line()
        first = place
        while place < last:
            final = place >= last - 2
            length = int(rng.choice([2, 3])) if final else 1 + int(rng.random() < held_share)
            if final or rng.random() < density:
                start = place * step + late + rng.normal(0, looseness)
                sounding = length * step * rng.uniform(0.75, 1.0)
                stressed = round(place * step / song.beat_s * 2) % 2 == 0 and rng.random() < 0.6
                _append(notes, start, sounding, pitch.next((place - first) / line, stressed), end)
            place += length
        place += int(rng.choice([0, 1, 2, 4]) * max(1, round(0.5 * song.beat_s / step)))
    return tuple(notes) or (Note(0.0, 2 * step, centre),)


def compose_speech(rng: np.random.Generator, song: Song, centre: int, duration_s: float) -> Melody:
    """Spoken phrases around MIDI note `centre`, heedless of the beat: 3.5 to 6.5 syllables a second, and pauses."""
    mean_s = 1 / rng.uniform(3.5, 6.5)
    pitch = _Pitch.draw(rng, song, centre, sung_share=0.0)
    notes: list[Note] = []
    time = float(rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 0.4 * duration_s)], p=[0.7, 0.3]))
    while time < duration_s - 0.1:
        count = int(rng.integers(3, 16))
        pitch.begin_line()
        for number in range(count):
            length = mean_s * float(np.exp(rng.normal(0, 0.3))) * (1.6 if number == count - 1 else 1.0)
            _append(notes, time, length, pitch.next(number / count, stressed=rng.random() < 0.3), duration_s)
            time += length
        time += rng.uniform(0.15, 1.2)
    return tuple(notes) or (Note(0.0, 0.5, centre),)


def ad_libs(rng: np.random.Generator, flow: Melody, song: Song, duration_s: float) -> Melody:
    """A few shouts after the ends of lines: one to three short syllables each, higher than the rap."""
    notes: list[Note] = []
    for note, following in zip(flow, (*flow[1:], None), strict=True):
        gap_s = (following.start_s if following else duration_s) - note.end_s
        if gap_s < 0.4 * song.beat_s or rng.random() < 0.3:
            continue
        midi = note.midi + int(rng.integers(2, 10))
        for syllable in range(int(rng.integers(1, 4))):
            length = song.beat_s * float(rng.choice([0.25, 0.5]))
            _append(notes, note.end_s + syllable * song.beat_s / 2, length, midi, duration_s)
    return tuple(notes)


def doubled(rng: np.random.Generator, flow: Melody, song: Song) -> Melody:
    """Some of the flow's syllables once more, a few hundredths of a second beside: those near the ends of bars."""
    return tuple(
        Note(max(0.0, note.start_s + rng.normal(0, 0.015)), note.duration_s, note.midi + int(rng.choice([-1, 0, 0, 1])))
        for note in flow
        if note.start_s % song.bar_s > 0.6 * song.bar_s or rng.random() < 0.15
    )


class _Pitch:
    """Pitches of the syllables of a line: around a centre, falling along the line, higher where they are stressed."""

    def __init__(self, rng: np.random.Generator, centre: int, spread: float, accent: float, scale: list[int]) -> None:
        self._rng, self._centre, self._spread, self._accent, self._scale = rng, centre, spread, accent, scale
        self._fall = rng.uniform(0.0, 1.0) * 2 * spread
        self.begin_line()

    @classmethod
    def draw(cls, rng: np.random.Generator, song: Song, centre: int, sung_share: float = 0.2) -> "_Pitch":
        way = str(rng.choice(list(PITCH_WAYS), p=[0.35, 0.45, 0.2]))
        spread, accent = PITCH_WAYS[way]
        scale = song.scale_between(centre - 5, centre + 5) if rng.random() < sung_share else []
        return cls(rng, centre, spread, accent, scale)

    def begin_line(self) -> None:
        """The next line starts anew, a little higher or lower."""
        self._level = self._centre + self._rng.normal(0, 0.7 * self._spread)

    def next(self, progress: float, stressed: bool) -> int:
        """MIDI note of the next syllable, `progress` (0 … 1) into the line."""
        pitch = self._level - self._fall * progress + self._rng.normal(0, 0.6 * self._spread)
        pitch += self._accent * self._rng.uniform(0.3, 1.0) if stressed else 0.0
        return min(self._scale, key=lambda tone: abs(tone - pitch)) if self._scale else round(pitch)


def _append(notes: list[Note], start_s: float, duration_s: float, midi: int, end_s: float) -> None:
    """Adds a syllable that begins no earlier than the one before ends and ends no later than `end_s`."""
    start_s = max(start_s, notes[-1].end_s if notes else 0.0)
    duration_s = min(duration_s, end_s - start_s)
    if duration_s > 0.04:
        notes.append(Note(start_s, duration_s, midi))
