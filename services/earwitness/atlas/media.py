"""Small sounds and pictures, for pages that hold thousands: the same input gives the same bytes."""

import io
from dataclasses import dataclass

import numpy as np

from earwitness.client.output.media import levelled
from earwitness.inference.backend import FloatArray

FORMAT = 1
"""Another number makes all sounds and pictures anew."""
MP3_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
MP3_LEVEL = 0.9
"""Of libsndfile, 0 (large) to 1 (small): 24 kbit/s at 22 050 Hz, where the noise of Griffin-Lim still hides LAME's."""
LARGEST = 160
"""Pixels of a picture's side at most; one pixel a value below that."""
COLOURS = 16
"""Four bits a value; lossy formats blur what is one pixel wide."""


@dataclass(frozen=True)
class Medium:
    """A sound of the page's loudness, as `sound_suffix` says, and a PNG of its spectrogram."""

    sound: bytes
    picture: bytes


def sound_suffix(sample_rate_hz: int) -> str:
    """What files of sound are: MP3, or FLAC at rates that MP3 has not. (Ogg would have a random number in each.)"""
    return "mp3" if sample_rate_hz in MP3_RATES else "flac"


def medium_of(wav: bytes, spectrogram: FloatArray) -> Medium:
    """Of a WAV file, and the `spectrogram` [bands, frames] that it sounds like."""
    return Medium(_compressed(levelled(wav).wav), _thumbnail(spectrogram))


def _compressed(wav: bytes) -> bytes:
    import soundfile

    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    file = io.BytesIO()
    if sound_suffix(rate) == "flac":
        soundfile.write(file, waveform, rate, format="FLAC", subtype="PCM_16")
    else:
        soundfile.write(
            file,
            waveform,
            rate,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="CONSTANT",
            compression_level=MP3_LEVEL,
        )
    return file.getvalue()


def _thumbnail(spectrogram: FloatArray) -> bytes:
    """A PNG of COLOURS colours, the lowest band at its foot, from the spectrogram's own lowest value to its highest."""
    from matplotlib import colormaps
    from PIL import Image

    low, high = float(spectrogram.min()), float(spectrogram.max())
    shares = (spectrogram[::-1] - low) / (high - low) if high > low else np.zeros_like(spectrogram)
    image = Image.fromarray(np.ascontiguousarray(shares, np.float32), mode=None)
    size = (min(LARGEST, image.width), min(LARGEST, image.height))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BOX)
    levels = np.clip(np.asarray(image) * COLOURS, 0, COLOURS - 1).astype(np.uint8)
    picture = Image.fromarray(levels).convert("L")
    picture.putpalette((colormaps["viridis"](np.linspace(0, 1, COLOURS))[:, :3] * 255).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
