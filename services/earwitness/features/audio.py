"""Audio files to mono float32 waveforms at the wanted rate, and back to WAV."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PCM16_PEAK = 32767


class AudioError(ValueError):
    """An audio file cannot be used; the message names the file and the way out."""


def load_audio(path: Path | str, sample_rate_hz: int) -> NDArray[np.float32]:
    """The file's waveform `[samples]`, float32, the mean of its channels, resampled to `sample_rate_hz`.

    Reads what libsndfile reads (WAV, FLAC, OGG Vorbis and Opus, MP3) at any rate and channel count.

    Raises: AudioError when the file is missing, unreadable, empty, or holds NaN or infinite samples.
    """
    import soundfile

    path = Path(path)
    check_audio(path)
    try:
        samples, file_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as err:
        raise AudioError(f"{path}: cannot be read as audio ({err}); use WAV, FLAC, OGG or MP3") from err
    if not len(samples):
        raise AudioError(f"{path}: holds no samples; give a recording that is not empty")
    waveform = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(waveform).all():
        raise AudioError(f"{path}: holds NaN or infinite samples; export it again with finite values")
    return resample(waveform, file_rate_hz, sample_rate_hz)


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
        raise AudioError(f"{path}: cannot be read as audio ({err}); use WAV, FLAC, OGG or MP3") from err
    if not frame_count:
        raise AudioError(f"{path}: holds no samples; give a recording that is not empty")


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
