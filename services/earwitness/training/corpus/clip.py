"""One planned clip of the corpus, rendered as audio with a label per frame."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus import mixing, recordings, soundfont
from earwitness.training.corpus.beats import play_beat
from earwitness.training.corpus.config import CorpusConfig
from earwitness.training.corpus.foreground import VoiceOf, make_foreground
from earwitness.training.corpus.plan import ClipPlan
from earwitness.training.corpus.score import Song, compose_song

VOICE_THRESHOLD_DB = -32.0
"""A frame sings when the dry voice is above this, relative to the voice's loud frames."""
LONGEST_GAP_S = 0.25
"""Shorter pauses between sung frames count as singing, as human annotators mark them."""
SHORTEST_SOUND_S = 0.06


@dataclass(frozen=True)
class RenderedClip:
    """Waveform `[samples]` float32 in [-1, 1], `vocal_frames` `[frames]` bool, and what was drawn (JSON-ready)."""

    waveform: NDArray[np.float32]
    vocal_frames: NDArray[np.bool_]
    facts: dict[str, Any]


def render_clip(plan: ClipPlan, config: CorpusConfig, voice_of: VoiceOf) -> RenderedClip:
    """The clip's audio and labels; depends on its arguments alone."""
    rng, rate_hz = plan.generator(), config.profile.sample_rate_hz
    song, backing = _backing(plan, config, rng)
    foreground = make_foreground(plan, config, song, voice_of, rng)
    snr_db = _draw_snr_db(rng)
    if foreground.sound is None:
        mix = backing
    else:
        treated = mixing.treat_foreground(foreground.sound, rate_hz, song.beat_s, rng)
        mix = mixing.balance(treated, backing, snr_db) if np.any(backing) else treated
    waveform = mixing.master(mix, rate_hz, rng)
    vocal_frames = vocal_activity(foreground.dry_voice, config)
    facts = asdict(plan) | {
        "snr_db": round(snr_db, 2) if foreground.sound is not None else None,
        "beats_per_minute": round(60 / song.beat_s, 2),
        "centre_midi": foreground.centre,
        "imitation": foreground.imitation,
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
    elif plan.backing == "beat":
        song, waveform = play_beat(recordings.tracks()[plan.backing_id], plan.split, seconds, rate_hz, rng)
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
