"""Sounds and pictures as pages show them: sounds of one loudness, pictures for a light and for a dark ground."""

import io
from dataclasses import dataclass

import numpy as np

LOUDNESS_DB = -23.0
"""Root mean square of every sound, over full scale; one with peaks too high for that is as loud as they allow."""
PEAK = 0.99
FADE_S = 0.005
"""At both ends, so that a sound that is cut out of another begins and ends without a click."""
DARK_GROUND, DARK_INK = (0x1C, 0x1F, 0x25), (0xE9, 0xE7, 0xE2)
"""The dark page's own."""
GREY = 0.05
"""Colours whose parts differ less are text, lines and ground; those of spectrograms differ more."""


@dataclass(frozen=True)
class Sound:
    """A 16-bit mono WAV file, and by how much it is louder than what it was made of."""

    wav: bytes
    gain_db: float


def levelled(wav: bytes) -> Sound:
    """The sound at LOUDNESS_DB, faded in and out; silence stays silence. Raises: soundfile.LibsndfileError."""
    import soundfile

    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    ramp = np.linspace(0, 1, min(round(FADE_S * rate), len(waveform) // 2), endpoint=False, dtype=np.float32)
    waveform[: len(ramp)] *= ramp
    waveform[len(waveform) - len(ramp) :] *= ramp[::-1]
    gain = 1.0
    if waveform.any():
        loudness = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
        gain = min(10 ** (LOUDNESS_DB / 20) / loudness, PEAK / float(np.abs(waveform).max()))
    file = io.BytesIO()
    soundfile.write(file, waveform * np.float32(gain), rate, format="WAV", subtype="PCM_16")
    return Sound(file.getvalue(), 20 * float(np.log10(gain)))


def dark_picture(png: bytes) -> bytes:
    """The picture for a dark ground: its text, lines and ground exchanged, its colours as they are."""
    from matplotlib.image import imread, imsave

    pixels = np.array(imread(io.BytesIO(png)), np.float32)
    colours = pixels[..., :3]
    grey = np.ptp(colours, axis=-1) < GREY
    ground, ink = (np.array(colour, np.float32) / 255 for colour in (DARK_GROUND, DARK_INK))
    colours[grey] = ink + (ground - ink) * colours[grey].mean(axis=-1, keepdims=True)
    file = io.BytesIO()
    imsave(file, pixels, format="png")
    return file.getvalue()
