"""Audio files to mono float32 waveforms at the wanted rate, and back to WAV."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PCM16_PEAK = 32767
BLOCK_SAMPLES = 1 << 18
"""Samples of each channel decoded at once: only the mean of the channels is kept of a long recording."""


class AudioError(ValueError):
    """An audio file cannot be used; the message names the file and the way out."""


@dataclass(frozen=True)
class Decoded:
    """A file as it was recorded: the mean of its channels `[samples]`, float32, at its own rate.

    `promised_count` is the number of samples that its header tells; a file that is cut off decodes to fewer.
    """

    waveform: NDArray[np.float32]
    sample_rate_hz: int
    promised_count: int
    channel_count: int


def decode_audio(path: Path | str) -> Decoded:
    """Decodes a file block by block, whatever its samples are.

    Reads what libsndfile reads (WAV, FLAC, OGG Vorbis and Opus, MP3) at any rate and channel count.

    Raises: AudioError when the file is missing, unreadable or empty.
    """
    import soundfile

    path = Path(path)
    check_audio(path)
    blocks = []
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz, promised_count, channel_count = int(file.samplerate), int(file.frames), int(file.channels)
            while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1, dtype=np.float32))
    except soundfile.LibsndfileError as err:
        raise _unreadable(path, err) from err
    if not blocks:
        raise _empty(path)
    return Decoded(np.concatenate(blocks), rate_hz, promised_count, channel_count)


def load_audio(path: Path | str, sample_rate_hz: int) -> NDArray[np.float32]:
    """The file's waveform `[samples]`, float32, the mean of its channels, resampled to `sample_rate_hz`.

    Raises: AudioError when the file is missing, unreadable, empty, or holds NaN or infinite samples.
    """
    decoded = decode_audio(path)
    if not np.isfinite(decoded.waveform).all():
        raise AudioError(f"{path}: holds NaN or infinite samples; export it again with finite values")
    return resample(decoded.waveform, decoded.sample_rate_hz, sample_rate_hz)


def check_audio(path: Path) -> None:
    """Looks at the file's header alone.

    Raises: AudioError when the file is missing, is no audio, or says that it holds no samples.
    """
    import soundfile

    if not path.is_file():
        raise AudioError(f"{path}: no such audio file; check the path")
    try:
        frame_count = soundfile.info(path).frames
    except soundfile.LibsndfileError as err:
        raise _unreadable(path, err) from err
    if not frame_count:
        raise _empty(path)


def _unreadable(path: Path, err: Exception) -> AudioError:
    return AudioError(f"{path}: cannot be read as audio ({err}); use WAV, FLAC, OGG or MP3")


def _empty(path: Path) -> AudioError:
    return AudioError(f"{path}: holds no samples; give a recording that is not empty")


def resample(waveform: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    """`waveform` `[samples]` at `from_hz`, resampled to `to_hz` with soxr's high-quality filter, float32."""
    import soxr

    if from_hz == to_hz:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz, quality="HQ"), dtype=np.float32)


def write_wav(path: Path | str, waveform: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Writes `waveform` `[samples]` in [-1, 1] as 16-bit PCM; values beyond are clipped.

    Raises: AudioError when the waveform is not one-dimensional, or not finite.
    """
    import wave

    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioError(f"{path}: the waveform has shape {waveform.shape}; give one channel of finite samples")
    pcm = np.rint(np.clip(waveform, -1.0, 1.0) * PCM16_PEAK).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm.tobytes())
