"""One clip of the corpus: planned from the seed alone, then rendered as audio with a label per frame."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import resample
from earwitness.training.corpus import hibari, mixing, recordings, sinsy, soundfont
from earwitness.training.corpus.config import ENGINE_SHARES, SPLITS, CorpusConfig, Split
from earwitness.training.corpus.identities import speakers
from earwitness.training.corpus.score import Melody, Song, compose_melody, compose_song
from earwitness.training.corpus.world import SpokenVoice, sing_world

GOLDEN_RATIO = (5**0.5 - 1) / 2
BACKING_SHARES = {"recording": 0.5, "band": 0.36, "percussion": 0.04, "solo": 0.06, "none": 0.04}
CENTRES = {"hibari": (50, 74), "world": (47, 72), "sinsy": (61, 71), "lead": (50, 76)}
"""MIDI range of melody centres: from low male to high female voices."""
VOICE_THRESHOLD_DB = -32.0
"""A frame sings when the dry voice is above this, relative to the voice's loud frames."""
LONGEST_GAP_S = 0.25
"""Shorter pauses between sung frames count as singing, as human annotators mark them."""
SHORTEST_SOUND_S = 0.06

VoiceOf = Callable[[str], SpokenVoice]
"""Where the WORLD engine gets a speaker's analysed voice."""


@dataclass(frozen=True)
class ClipPlan:
    """What a clip is, before any audio: identities and a private seed."""

    split: Split
    index: int
    seed: tuple[int, int, int]
    vocal: bool
    engine: str
    speaker: str
    backing: str
    backing_id: str
    lead_program: int | None

    def generator(self) -> np.random.Generator:
        """The clip's own stream of random numbers, independent of every other clip's."""
        root, *key = self.seed
        return np.random.default_rng(np.random.SeedSequence(root, spawn_key=key))


@dataclass(frozen=True)
class RenderedClip:
    """Waveform `[samples]` float32 in [-1, 1], `vocal_frames` `[frames]` bool, and what was drawn (JSON-ready)."""

    waveform: NDArray[np.float32]
    vocal_frames: NDArray[np.bool_]
    facts: dict[str, Any]


def plan_clips(config: CorpusConfig, split: Split) -> list[ClipPlan]:
    """All clips of a split; shares are met evenly along the list, so that a small corpus has some of everything."""
    singers = speakers(split, config.speaker_count(split))
    tracks = [track.name for track in recordings.split_tracks(split)]
    plans = []
    vocal_so_far = 0
    for index in range(config.clip_count(split)):
        seed = (config.seed, SPLITS.index(split), index)
        rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(*seed[1:], 0)))
        vocal = int((index + 1) * config.vocal_share) > int(index * config.vocal_share)
        engine = _pick(ENGINE_SHARES[split], vocal_so_far * GOLDEN_RATIO % 1.0) if vocal else ""
        singer = {"world": str(rng.choice(singers)), "hibari": hibari.SPEAKER, "sinsy": sinsy.SPEAKER, "": ""}[engine]
        backing = _pick(BACKING_SHARES, rng.random())
        lead = not vocal and (backing == "none" or rng.random() < config.lead_share)
        plans.append(
            ClipPlan(
                split=split, index=index, seed=seed, vocal=vocal, engine=engine, speaker=singer, backing=backing,
                backing_id=str(rng.choice(tracks)) if backing == "recording" else f"{split}-song-{config.seed}-{index}",
                lead_program=soundfont.draw_lead(split, rng) if lead else None,
            )
        )  # fmt: skip
        vocal_so_far += vocal
    return plans


def render_clip(plan: ClipPlan, config: CorpusConfig, voice_of: VoiceOf) -> RenderedClip:
    """The clip's audio and labels; depends on its arguments alone."""
    rng, rate_hz = plan.generator(), config.profile.sample_rate_hz
    song, backing = _backing(plan, config, rng)
    foreground, dry_voice, centre = _foreground(plan, config, song, voice_of, rng)
    snr_db = _draw_snr_db(rng)
    if foreground is None:
        mix = backing
    else:
        treated = mixing.treat_foreground(foreground, rate_hz, song.beat_s, rng)
        mix = mixing.balance(treated, backing, snr_db) if np.any(backing) else treated
    waveform = mixing.master(mix, rate_hz, rng)
    vocal_frames = vocal_activity(dry_voice, config)
    facts = asdict(plan) | {
        "snr_db": round(snr_db, 2) if foreground is not None else None,
        "beats_per_minute": round(60 / song.beat_s, 2),
        "centre_midi": centre,
        "vocal_fraction": round(float(vocal_frames.mean()), 4),
    }
    return RenderedClip(waveform, vocal_frames, facts)


def vocal_activity(dry_voice: NDArray[np.float32], config: CorpusConfig) -> NDArray[np.bool_]:
    """Label per frame `[frames]`: the dry voice `[samples]` sounds in it, short gaps closed and clicks dropped."""
    profile = config.profile
    frames = np.lib.stride_tricks.sliding_window_view(dry_voice, profile.frame_length)[:: profile.hop_length]
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    loud = float(np.quantile(level, 0.95))
    if loud == 0.0:
        return np.zeros(len(level), bool)
    active = level > loud * 10 ** (VOICE_THRESHOLD_DB / 20)
    close = round(LONGEST_GAP_S * profile.frames_per_second)
    drop = round(SHORTEST_SOUND_S * profile.frames_per_second)
    return _drop_runs(~_drop_runs(~active, close, inner_only=True), drop, inner_only=False)


def _drop_runs(active: NDArray[np.bool_], longest: int, *, inner_only: bool) -> NDArray[np.bool_]:
    """`active` `[frames]` without its runs of at most `longest` frames; with `inner_only` those at the ends stay."""
    edges = np.flatnonzero(np.diff(np.r_[False, active, False].astype(np.int8)))
    kept = active.copy()
    for start, end in edges.reshape(-1, 2):
        at_end = start == 0 or end == len(active)
        if end - start <= longest and not (inner_only and at_end):
            kept[start:end] = False
    return kept


def _pick(shares: Mapping[str, float], place: float) -> str:
    """The key in whose share of [0, 1) `place` falls."""
    bounds = np.cumsum(list(shares.values()))
    return str(list(shares)[min(int(np.searchsorted(bounds, place, side="right")), len(shares) - 1)])


def _draw_snr_db(rng: np.random.Generator) -> float:
    """Mostly -4 … +6 dB; at times a dominant or a buried foreground."""
    ranges = ((-4.0, 6.0), (6.0, 18.0), (-8.0, -4.0))
    return float(rng.uniform(*ranges[int(rng.choice(3, p=[0.82, 0.11, 0.07]))]))


def _backing(plan: ClipPlan, config: CorpusConfig, rng: np.random.Generator) -> tuple[Song, NDArray[np.float32]]:
    """The backing `[samples]` (silence for "none") and the song that fits it."""
    seconds, rate_hz = config.clip_seconds, config.profile.sample_rate_hz
    if plan.backing == "recording":
        track = recordings.tracks()[plan.backing_id]
        semitones = int(rng.integers(-4, 5))
        waveform = recordings.cut(track, seconds, semitones, rate_hz, rng)
        tempo = track.beats_per_minute * 2 ** (semitones / 12)
        song = compose_song(rng, seconds, (track.tonic + semitones) % 12, track.minor, tempo)
    else:
        song = compose_song(rng, seconds)
        if plan.backing == "band":
            waveform = soundfont.play_band(song, plan.split, seconds, rate_hz, rng)
        elif plan.backing == "percussion":
            waveform = soundfont.play_percussion(song, seconds, rate_hz, rng)
        elif plan.backing == "solo":
            waveform = soundfont.play_solo(song, plan.split, seconds, rate_hz, rng)
        else:
            return song, np.zeros(config.clip_samples, np.float32)
        if rng.random() < 0.5:
            waveform = mixing.reverberate(waveform, rate_hz, rng)
    return song, mixing.fit(waveform, config.clip_samples)


def _foreground(
    plan: ClipPlan, config: CorpusConfig, song: Song, voice_of: VoiceOf, rng: np.random.Generator
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32], int | None]:
    """(voice or lead `[samples]` if any, dry voice `[samples]` for the labels, centre of the melody in MIDI)."""
    silence = np.zeros(config.clip_samples, np.float32)
    if not plan.vocal and plan.lead_program is None:
        return None, silence, None
    low, high = CENTRES[plan.engine or "lead"]
    centre = int(rng.integers(low, high + 1))
    melody = compose_melody(rng, song, centre, config.clip_seconds)
    takes = [(melody, 1.0)]
    if rng.random() < 0.15:
        takes.append(_second_part(melody, song, rng))
    foreground = silence.copy()
    for part, gain in takes:
        foreground += gain * _perform(plan, config, song, part, centre, voice_of, rng)
    return foreground, foreground if plan.vocal else silence, centre


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


def _perform(
    plan: ClipPlan, config: CorpusConfig, song: Song, melody: Melody, centre: int, voice_of: VoiceOf,
    rng: np.random.Generator,
) -> NDArray[np.float32]:  # fmt: skip
    """One take of the melody by the clip's singer or lead instrument, peak 1, `[samples]`."""
    seconds, rate_hz = config.clip_seconds, config.profile.sample_rate_hz
    if plan.engine == "hibari":
        waveform, from_hz = hibari.sing_hibari(melody, centre, seconds, rng)
    elif plan.engine == "sinsy":
        waveform, from_hz = sinsy.sing_sinsy(melody, song.beat_s, seconds, rng)
    elif plan.engine == "world":
        waveform, from_hz = sing_world(voice_of(plan.speaker), melody, centre, seconds, rng)
    else:
        assert plan.lead_program is not None
        waveform, from_hz = soundfont.play_lead(melody, plan.lead_program, seconds, rate_hz, rng), rate_hz
    waveform = mixing.fit(resample(waveform, from_hz, rate_hz), config.clip_samples)
    return (waveform / max(float(np.abs(waveform).max()), 1e-9)).astype(np.float32)
