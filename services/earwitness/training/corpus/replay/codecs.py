"""How an attacker may keep a recording: real lossy codecs, through libsndfile."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import resample
from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ

BLOCK = 8_192
"""libsndfile's Vorbis encoder overflows its stack on long writes."""
PEAK = 0.7


@dataclass(frozen=True)
class Codec:
    """A libsndfile format and subtype, the rate it runs at, and its compression level where it has one."""

    container: str
    subtype: str
    rate_hz: int = SAMPLE_RATE_HZ
    compression_level: float | None = None


CODECS: Mapping[str, Codec] = {
    "mp3": Codec("MP3", "MPEG_LAYER_III", compression_level=0.7),
    "opus": Codec("OGG", "OPUS", compression_level=0.95),
    "vorbis": Codec("OGG", "VORBIS", compression_level=0.8),
    "g711": Codec("WAV", "ULAW", rate_hz=8_000),
    "g721": Codec("AU", "G721_32", rate_hz=8_000),
    "gsm": Codec("WAV", "GSM610", rate_hz=8_000),
}
"""At 16 kHz about 27 (MP3), 20 (Opus) and 39 kbit/s (Vorbis); telephone codecs at 8 kHz: 64, 32 and 13 kbit/s."""


def through_codec(waveform: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """`waveform` `[samples]` at any level, encoded and decoded, in time with it and as long, peak about 0.7."""
    import soundfile

    codec = CODECS[name]
    scaled = (PEAK / np.abs(waveform).max() * waveform).astype(np.float32)
    samples = resample(scaled, SAMPLE_RATE_HZ, codec.rate_hz)
    file = BytesIO()
    with soundfile.SoundFile(
        file, "w", codec.rate_hz, 1, subtype=codec.subtype, format=codec.container,
        compression_level=codec.compression_level,
    ) as encoder:  # fmt: skip
        for start in range(0, len(samples), BLOCK):
            encoder.write(samples[start : start + BLOCK])
    file.seek(0)
    decoded, rate_hz = soundfile.read(file, dtype="float32")
    back = resample(decoded, rate_hz, SAMPLE_RATE_HZ)[: len(waveform)]
    return np.pad(back, (0, len(waveform) - len(back))).astype(np.float64)
