"""The WORLD singer: spoken syllables of one speaker, held on notes by the WORLD vocoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.arrays import load
from earwitness.errors import InvalidArgument
from earwitness.training.corpus import espeak
from earwitness.training.corpus.native import extension
from earwitness.training.corpus.score import Melody, PitchStyle, midi_to_hz, pitch_contour
from earwitness.training.corpus.syllables import (
    Syllable,
    find_syllables,
    hold,
    interpolate,
    sung_spans,
    warp_frequencies,
)

ANALYSIS_FRAME_MS = 10.0
SYNTHESIS_FRAME_MS = 5.0
SYLLABLES_WANTED = 22
SMALLEST_POWER = 1e-16


@dataclass(frozen=True)
class SpokenVoice:
    """WORLD analysis of a speaker: `log_power` `[frames, bins]` (ln), `voiced` `[frames]`, and the syllables in it."""

    speaker: str
    sample_rate_hz: int
    log_power: NDArray[np.float32]
    voiced: NDArray[np.bool_]
    syllables: tuple[Syllable, ...]

    @classmethod
    def of_speaker(cls, speaker: str) -> Self:
        """Lets an espeak-ng speaker say made-up words, chosen by its name, and analyses them. Once per process.

        Raises: InvalidArgument when the speech holds fewer than three usable syllables.
        """
        world = _world()
        rng = np.random.default_rng(list(speaker.encode()))
        (speech,), rate_hz = espeak.speak(speaker, [_words(rng)], int(rng.integers(120, 170)))
        f0, times = world.dio(speech, rate_hz, f0_floor=60.0, f0_ceil=600.0, frame_period=ANALYSIS_FRAME_MS)
        power = world.cheaptrick(speech, f0, times, rate_hz)
        frequencies = np.linspace(0, rate_hz / 2, power.shape[1])
        speech_band = (frequencies > 250) & (frequencies < 3000)
        energy_db = 10 * np.log10(power[:, speech_band].sum(axis=1) + 1e-12)
        syllables = find_syllables(energy_db, f0 > 0, ANALYSIS_FRAME_MS / 1000)
        if len(syllables) < 3:
            raise InvalidArgument(
                "speaker", f"{speaker!r} has {len(syllables)} usable syllables; at least 3 are needed"
            )
        return cls(speaker, rate_hz, np.log(power + SMALLEST_POWER).astype(np.float32), f0 > 0, tuple(syllables))

    def save(self, path: Path) -> None:
        corners = [(s.start, s.nucleus_start, s.nucleus_end, s.end) for s in self.syllables]
        with path.open("wb") as file:
            np.savez(
                file, speaker=self.speaker, sample_rate_hz=self.sample_rate_hz, syllables=corners,
                log_power=self.log_power.astype(np.float16), voiced=self.voiced,
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Self:
        with load(path) as stored:
            syllables = tuple(Syllable(*(int(corner) for corner in row)) for row in stored["syllables"])
            return cls(
                str(stored["speaker"]), int(stored["sample_rate_hz"]), stored["log_power"].astype(np.float32),
                stored["voiced"], syllables,
            )  # fmt: skip


@dataclass(frozen=True)
class WorldTimbre:
    """What a take changes of the speaker's voice."""

    formant_factor: float
    tilt_db_per_octave: float
    ring_db: float
    ring_hz: float
    breath_hz: float

    @classmethod
    def draw(cls, rng: np.random.Generator, centre: int) -> Self:
        """Small voices sing high: the formants follow the register loosely."""
        return cls(
            formant_factor=float(np.clip(1.0 + 0.006 * (centre - 60) + rng.normal(0, 0.06), 0.82, 1.22)),
            tilt_db_per_octave=rng.uniform(-3.0, 2.0),
            ring_db=rng.uniform(0.0, 9.0),
            ring_hz=rng.uniform(2500, 3300),
            breath_hz=rng.uniform(2000, 8000),
        )


def sing_world(
    voice: SpokenVoice, melody: Melody, centre: int, duration_s: float, rng: np.random.Generator,
    style: PitchStyle | None = None,
) -> tuple[NDArray[np.float32], int]:  # fmt: skip
    """The melody in the speaker's voice: waveform `[samples]` and its rate in Hz. Without `style` one is drawn."""
    frames_per_s = 1000 / SYNTHESIS_FRAME_MS
    frame_count = int(duration_s * frames_per_s) + 1
    pitch = pitch_contour(melody, frame_count, frames_per_s, style or PitchStyle.draw(rng), rng)
    timbre = WorldTimbre.draw(rng, centre)
    log_power = np.full((frame_count, voice.log_power.shape[1]), np.log(SMALLEST_POWER), np.float32)
    voiced = np.zeros(frame_count, bool)
    levels = np.array([np.logaddexp.reduce(voice.log_power[s.nucleus_start : s.nucleus_end].mean(axis=0))
                       for s in voice.syllables])  # fmt: skip
    first = int(rng.integers(len(voice.syllables)))
    for number, span in enumerate(sung_spans(melody)):
        chosen = (first + number) % len(voice.syllables)
        start, end = (min(frame_count, int(time * frames_per_s)) for time in (span.start_s, span.end_s))
        if end - start < 4:
            continue
        source = hold(voice.syllables[chosen], end - start, ANALYSIS_FRAME_MS / SYNTHESIS_FRAME_MS, rng)
        # Speech stresses some syllables; singing evens them out, then accents its own.
        gain = 0.7 * (np.median(levels) - levels[chosen]) + rng.normal(0, 0.35)
        log_power[start:end] = interpolate(voice.log_power, source) + gain
        voiced[start:end] = voice.voiced[np.minimum(source.round().astype(int), len(voice.voiced) - 1)]
    frequencies = np.linspace(0, voice.sample_rate_hz / 2, log_power.shape[1])
    tilt_db = timbre.tilt_db_per_octave * np.log2(np.maximum(frequencies, 100) / 500)
    ring_db = timbre.ring_db * np.exp(-(((frequencies - timbre.ring_hz) / 450) ** 2))
    colour = (tilt_db + ring_db) * np.log(10) / 10
    power = np.exp(warp_frequencies(log_power, timbre.formant_factor) + colour, dtype=np.float64)
    noise_share = 1 / (1 + np.exp(-(frequencies - timbre.breath_hz) / 900))
    aperiodicity = np.where(voiced[:, None], np.clip(noise_share, 0.002, 0.98), 1.0)
    waveform = _world().synthesize(
        np.where(voiced, midi_to_hz(pitch), 0.0), np.ascontiguousarray(power), np.ascontiguousarray(aperiodicity),
        voice.sample_rate_hz, SYNTHESIS_FRAME_MS,
    )  # fmt: skip
    return np.asarray(waveform, dtype=np.float32), voice.sample_rate_hz


def _words(rng: np.random.Generator) -> str:
    onsets, vowels, codas = "bdfgklmnprstvz", "aeiou", ("", "", "", "n", "l", "m", "s")
    syllables = [
        str(rng.choice(list(onsets))) + str(rng.choice(list(vowels))) + str(rng.choice(codas))
        for _ in range(SYLLABLES_WANTED)
    ]
    return " ".join("".join(syllables[place : place + 2]) for place in range(0, SYLLABLES_WANTED, 2))


def _world() -> Any:
    return extension("pyworld", "pyworld")
