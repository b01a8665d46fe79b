"""Who sings, raps, speaks or plays over the backing of a clip, and what of it is voice."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import resample
from earwitness.training.corpus import hibari, mixing, sinsy, soundfont
from earwitness.training.corpus.chops import chop
from earwitness.training.corpus.config import IMITATING, CorpusConfig
from earwitness.training.corpus.flow import ad_libs, compose_flow, compose_speech, doubled
from earwitness.training.corpus.imitation import resonate
from earwitness.training.corpus.layers import Part, stack_parts, stacked
from earwitness.training.corpus.plan import ClipPlan
from earwitness.training.corpus.score import Melody, PitchStyle, Song, compose_melody
from earwitness.training.corpus.world import SpokenVoice, sing_world

Waveform = NDArray[np.float32]
VoiceOf = Callable[[str], SpokenVoice]
"""Where the WORLD engine gets a speaker's analysed voice."""

CENTRES = {"hibari": (50, 74), "world": (47, 72), "sinsy": (61, 71), "lead": (50, 76)}
"""MIDI range of melody centres: from low male to high female voices."""
SPEAKING_CENTRES = (41, 62)
"""The same of those who speak or rap."""
IMITATIONS = ("soloist", "flow", "chopped", "layered", "resonant")
"""Ways in which an instrument does what a voice does: as a soloist with deep vibrato and glides, in the rhythm of rap,
sliced, as a section, and through resonances that move."""


@dataclass(frozen=True)
class Foreground:
    """The voice or lead `[samples]`, if any; the dry voice `[samples]` for the labels; the melody's centre in MIDI."""

    sound: Waveform | None
    dry_voice: Waveform
    centre: int | None
    imitation: str | None = None


def make_foreground(
    plan: ClipPlan, config: CorpusConfig, song: Song, voice_of: VoiceOf, rng: np.random.Generator
) -> Foreground:
    """What sounds over the backing of the planned clip."""
    silence = np.zeros(config.clip_samples, np.float32)
    if not plan.vocal and plan.lead_program is None:
        return Foreground(None, silence, None)
    performer = _Performer(plan, config, song, voice_of, rng)
    if plan.kind == IMITATING:
        imitation = str(rng.choice(IMITATIONS))
        return Foreground(performer.imitate(imitation), silence, performer.centre, imitation)
    sound = performer.perform_kind()
    return Foreground(sound, sound if plan.vocal else silence, performer.centre)


class _Performer:
    """The clip's singer or lead instrument, with company where the plan has some."""

    def __init__(
        self, plan: ClipPlan, config: CorpusConfig, song: Song, voice_of: VoiceOf, rng: np.random.Generator
    ) -> None:
        self._plan, self._config, self._song, self._voice_of, self._rng = plan, config, song, voice_of, rng
        self._seconds, self._rate_hz = config.clip_seconds, config.profile.sample_rate_hz
        speaking = plan.kind in {"rapped", "spoken"}
        low, high = SPEAKING_CENTRES if speaking else CENTRES[plan.engine or "lead"]
        self.centre = int(rng.integers(low, high + 1))

    def perform_kind(self) -> Waveform:
        """The clip's voice of the planned kind, or its plain lead, `[samples]`."""
        rng, song = self._rng, self._song
        if self._plan.kind == "rapped":
            return self._rap()
        if self._plan.kind == "spoken":
            return self._take(compose_speech(rng, song, self.centre, self._seconds), PitchStyle.draw_spoken(rng))
        melody = compose_melody(rng, song, self.centre, self._seconds)
        if self._plan.kind == "layered":
            return self._stack(melody)
        if self._plan.kind == "chopped":
            style = PitchStyle.draw_tuned(rng) if rng.random() < 0.3 else None
            return chop(self._take(melody, style), self._rate_hz, melody, song, rng)
        takes = [(melody, 1.0)]
        if rng.random() < 0.15:
            takes.append(_second_part(melody, song, rng))
        foreground = np.zeros(self._config.clip_samples, np.float32)
        for part, gain in takes:
            foreground += gain * self._take(part)
        return foreground

    def imitate(self, way: str) -> Waveform:
        """The lead instrument in one of the ways of IMITATIONS, `[samples]`."""
        rng, song = self._rng, self._song
        if way == "flow":
            compose = compose_flow if rng.random() < 0.6 else compose_speech
            return self._take(compose(rng, song, self.centre, self._seconds), PitchStyle.draw_spoken(rng))
        melody = compose_melody(rng, song, self.centre, self._seconds)
        if way == "layered":
            return self._stack(melody)
        style = PitchStyle.draw_effusive(rng) if way == "soloist" or rng.random() < 0.4 else None
        take = self._take(melody, style)
        if way == "chopped":
            return chop(take, self._rate_hz, melody, song, rng)
        return resonate(take, self._rate_hz, song.beat_s, rng) if way == "resonant" else take

    def _rap(self) -> Waveform:
        """A flow, by chance with doubled ends of lines and ad-libs by others."""
        rng, song = self._rng, self._song
        flow = compose_flow(rng, song, self.centre, self._seconds)
        style = PitchStyle.draw_tuned(rng) if rng.random() < 0.15 else PitchStyle.draw_spoken(rng)
        out = self._take(flow, style)
        double = doubled(rng, flow, song)
        if double and rng.random() < 0.35:
            out = out + np.float32(rng.uniform(0.3, 0.8)) * self._take(double, style)
        shouts = ad_libs(rng, flow, song, self._seconds)
        if shouts and rng.random() < 0.35:
            shouted = self._take(shouts, PitchStyle.draw_spoken(rng), performer=int(rng.integers(2)))
            out = out + np.float32(rng.uniform(0.3, 0.9)) * shouted
        return np.asarray(out, dtype=np.float32)

    def _stack(self, melody: Melody) -> Waveform:
        """The melody in several parts, tuned hard at times."""
        rng = self._rng
        tuned = rng.random() < 0.4
        parts = stack_parts(rng, melody, self._song, 1 + len(self._plan.company))

        def perform(part: Part) -> Waveform:
            return self._take(part.melody, PitchStyle.draw_tuned(rng) if tuned else None, part.performer)

        return stacked(parts, perform, self._rate_hz, rng)

    def _take(self, melody: Melody, style: PitchStyle | None = None, performer: int = 0) -> Waveform:
        """One take of the melody, peak 1, `[samples]`; performers from 1 on are the company, as far as it goes."""
        plan, seconds, rate_hz, rng = self._plan, self._seconds, self._rate_hz, self._rng
        if plan.engine == "hibari":
            waveform, from_hz = hibari.sing_hibari(melody, self.centre, seconds, rng, style)
        elif plan.engine == "sinsy":
            waveform, from_hz = sinsy.sing_sinsy(melody, self._song.beat_s, seconds, rng)
        elif plan.engine == "world":
            speaker = (plan.speaker, *plan.company)[min(performer, len(plan.company))]
            waveform, from_hz = sing_world(self._voice_of(speaker), melody, self.centre, seconds, rng, style)
        else:
            assert plan.lead_program is not None
            waveform, from_hz = soundfont.play_lead(melody, plan.lead_program, seconds, rate_hz, rng, style), rate_hz
        waveform = mixing.fit(resample(waveform, from_hz, rate_hz), self._config.clip_samples)
        return (waveform / max(float(np.abs(waveform).max()), 1e-9)).astype(np.float32)


def _second_part(melody: Melody, song: Song, rng: np.random.Generator) -> tuple[Melody, float]:
    """A doubling, an octave or a third or sixth in the scale, somewhat softer."""
    kind, gain = str(rng.choice(["unison", "octave", "third", "sixth"])), float(rng.uniform(0.4, 0.9))
    if kind == "unison":
        return melody, gain
    if kind == "octave":
        shift = int(rng.choice([-12, 12]))
        return tuple(note.transposed(shift) for note in melody), gain
    steps = 2 if kind == "third" else -5
    return tuple(song.shifted_in_scale(note, steps) for note in melody), gain
