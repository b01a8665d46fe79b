"""Small recordings with labels in the layouts that `earwitness data` reads: noise, and a tone where somebody sings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earwitness.training.corpus import SPLITS

RATE_HZ = 22_050
SUNG_S = ((1.0, 2.5),)
"""Where the recordings of `write_jamendo` sing."""
SECONDS = 4.0


def sound(seed: int, seconds: float = SECONDS, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Noise with a tone where SUNG_S says so, `[samples]`."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    waveform = 0.02 * np.random.default_rng(seed).normal(size=len(times_s))
    for start, end in SUNG_S:
        waveform += 0.5 * np.sin(2 * np.pi * 440 * times_s) * ((times_s >= start) & (times_s < end))
    return waveform.astype(np.float32)


def write_audio(path: Path, waveform: NDArray[np.float32], rate_hz: int = RATE_HZ) -> Path:
    """A sound file of the format that its name tells; WAV keeps floats, NaN among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subtype = "FLOAT" if path.suffix == ".wav" else None
    with soundfile.SoundFile(path, "w", rate_hz, 1, subtype=subtype) as file:
        # libsndfile's Vorbis encoder overflows its stack on long writes.
        for start in range(0, len(waveform), 8_192):
            file.write(waveform[start : start + 8_192])
    return path


def label_lines(seconds: float = SECONDS, sung_s: Sequence[tuple[float, float]] = SUNG_S) -> str:
    """Label lines from 0 to `seconds`, as the Jamendo set has them."""
    lines, until = [], 0.0
    for start, end in sung_s:
        lines += [f"{until:.3f} {start:.3f} nosing", f"{start:.3f} {end:.3f} sing"]
        until = end
    return "\n".join([*lines, f"{until:.3f} {seconds:.3f} nosing"]) + "\n"


def write_labelled(audio: Path, labels: Path, seed: int) -> None:
    """One recording and its label file."""
    write_audio(audio, sound(seed))
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text(label_lines())


def write_jamendo(root: Path, per_split: int = 2) -> Path:
    """`audio/`, `labels/` and `filelists/` as the Jamendo set has them: names with dots and blanks, ogg and mp3."""
    (root / "filelists").mkdir(parents=True)
    for place, split in enumerate(SPLITS):
        names = []
        for number in range(per_split):
            name = f"0{number} - {split}. song"
            names.append(f"{name}.{('ogg', 'mp3')[number % 2]}")
            write_labelled(root / "audio" / names[-1], root / "labels" / f"{name}.lab", 10 * place + number)
        (root / "filelists" / split).write_text("".join(f"{name}\n" for name in names))
    return root
