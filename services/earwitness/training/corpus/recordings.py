"""Real instrumental tracks: cuts of the MIT-licensed music in the immich-memories-music package."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import resample
from earwitness.training.corpus.config import Split
from earwitness.training.corpus.identities import divide

PACKAGE = "immich-memories-music"
TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"": 0, "b": -1, "#": 1}
DESCRIPTION = re.compile(r"(\w+)\.opus\s+(\d+) bpm\s+([A-G])([b#]?) (major|minor)")


@dataclass(frozen=True)
class Track:
    """One produced track and what its maker says of it."""

    name: str
    path: Path
    beats_per_minute: float
    tonic: int
    minor: bool

    @property
    def family(self) -> str:
        """Mood and style; tracks of one family came from one prompt and sound alike."""
        return "_".join(self.name.split("_")[:2])


@cache
def tracks() -> Mapping[str, Track]:
    """All tracks by name, with tempo and key from the package's licence file."""
    package = distribution(PACKAGE)
    described = package.read_text("licenses/LICENSE-MUSIC") or ""
    paths = {path.stem: Path(str(path.locate())) for path in package.files or () if path.suffix == ".opus"}
    found = {}
    for name, tempo, letter, accidental, mode in DESCRIPTION.findall(described):
        tonic = (TONICS[letter] + ACCIDENTALS[accidental]) % 12
        found[name] = Track(name, paths[name], float(tempo), tonic, mode == "minor")
    return found


def split_tracks(split: Split) -> list[Track]:
    """The tracks of `split`; whole families go to one split."""
    families = divide(sorted({track.family for track in tracks().values()}), split, "recordings")
    return [track for name, track in sorted(tracks().items()) if track.family in families]


def cut(
    track: Track, duration_s: float, semitones: float, sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A random cut `[samples]` of `duration_s` seconds, mono, moved by `semitones` in pitch (and tempo: resampled)."""
    import soundfile

    factor = 2 ** (semitones / 12)
    with soundfile.SoundFile(track.path) as file:
        wanted = int(duration_s * factor * file.samplerate) + file.samplerate // 10
        file.seek(int(rng.integers(max(1, file.frames - wanted))))
        stereo = file.read(wanted, dtype="float32", always_2d=True)
        # A random balance instead of the plain mean: karaoke-like and one-sided cuts of one track differ.
        balance = rng.uniform(0.2, 0.8)
        mono = stereo[:, 0] * balance + stereo[:, -1] * (1 - balance)
        waveform = resample(mono.astype(np.float32), file.samplerate * factor, sample_rate_hz)
    samples = round(duration_s * sample_rate_hz)
    return np.pad(waveform, (0, max(0, samples - len(waveform))))[:samples]
