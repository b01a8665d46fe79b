"""What one recording sounds like as data: decoded once, examined, and turned into quantised frames on the way."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.arrays import load
from earwitness.features import AudioError, Decoded, LogMelProfile, decode_audio, resample
from earwitness.files import whole_file
from earwitness.training.corpus import Quantisation

CACHE_VERSION = 3
"""Raised with every change of what is kept of a recording."""


@dataclass(frozen=True)
class AudioFacts:
    """What decoding tells of a recording; `frame_count` is at the profile's rate, 0 where none was given.

    `promised_seconds`, `breaks_off` and `remarks` are as in `Decoded`.
    """

    sample_rate_hz: int
    channel_count: int
    seconds: float
    promised_seconds: float | None
    peak: float
    non_finite_count: int
    frame_count: int
    breaks_off: str = ""
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Inspection:
    """Facts of a recording, or why there are none."""

    facts: AudioFacts | None
    failure: str = ""


@dataclass(frozen=True)
class InspectionTask:
    """One recording for one worker; with `kept` its frames are saved there, and read from there if they are.

    Recordings with a label for all of it need no `profile`, and nothing is kept of them.
    """

    audio: Path
    profile: LogMelProfile | None = None
    kept: Path | None = None


def inspect(task: InspectionTask) -> Inspection:
    """Decodes and examines one recording; a file that cannot be decoded is an answer, not an exception."""
    if task.kept is not None and task.kept.is_file():
        with load(task.kept) as stored:
            return Inspection(AudioFacts(**json.loads(str(stored["facts"]))))
    try:
        decoded = decode_audio(task.audio)
    except AudioError as err:
        return Inspection(None, str(err).removeprefix(f"{task.audio}: "))
    facts = examine(decoded, task.profile)
    if task.profile is not None and task.kept is not None and not facts.non_finite_count:
        frames = quantised_frames(decoded, task.profile)
        facts = replace(facts, frame_count=len(frames))
        with whole_file(task.kept) as partial, partial.open("wb") as file:
            np.savez(file, frames=frames, facts=json.dumps(asdict(facts)))
    return Inspection(facts)


def examine(decoded: Decoded, profile: LogMelProfile | None) -> AudioFacts:
    """Facts of a decoded recording."""
    finite = np.isfinite(decoded.waveform)
    count = len(decoded.waveform)
    frames = 0
    if profile is not None:
        frames = profile.frame_count(round(count * profile.sample_rate_hz / decoded.sample_rate_hz))
    return AudioFacts(
        sample_rate_hz=decoded.sample_rate_hz,
        channel_count=decoded.channel_count,
        seconds=decoded.seconds,
        promised_seconds=decoded.promised_seconds,
        peak=float(np.max(np.abs(decoded.waveform), where=finite, initial=0.0)),
        non_finite_count=int(count - finite.sum()),
        frame_count=frames,
        breaks_off=decoded.breaks_off,
        remarks=decoded.remarks,
    )


def quantised_frames(decoded: Decoded, profile: LogMelProfile) -> NDArray[np.uint8]:
    """Quantised log-mel `[frames, bands]` of a recording; no frames when it is shorter than one."""
    waveform = resample(decoded.waveform, decoded.sample_rate_hz, profile.sample_rate_hz)
    if len(waveform) < profile.frame_length:
        return np.empty((0, profile.band_count), np.uint8)
    return Quantisation.of_profile(profile).quantise(profile.spectrogram(waveform))


def kept_frames(path: Path) -> NDArray[np.uint8]:
    """The frames that `inspect` saved."""
    with load(path) as stored:
        return np.asarray(stored["frames"], np.uint8)


def kept_path(folder: Path, audio_sha256: str, profile: LogMelProfile) -> Path:
    """Where `inspect` saves the frames of a recording: the same content under another name is the same."""
    body = json.dumps([CACHE_VERSION, audio_sha256, profile.to_dict()], sort_keys=True)
    return folder / f"{hashlib.sha256(body.encode()).hexdigest()[:32]}.npz"


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
