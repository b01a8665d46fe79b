"""From a log-mel back to sound: pseudo-inverse of the filterbank, then Griffin–Lim."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from earwitness.features.profile import LogMelProfile

GRIFFIN_LIM_ITERATIONS = 100
PEAK = 0.95


@dataclass(frozen=True)
class InvertedAudio:
    """A waveform `[samples]`, float32, and the gain that brought its peak to 0.95.

    `waveform / gain` has the level the spectrogram asks for.
    """

    waveform: NDArray[np.float32]
    sample_rate_hz: int
    gain: float


def invert_log_mel(profile: "LogMelProfile", excerpt: NDArray[np.float32], seed: int) -> InvertedAudio:
    """Audio whose log-mel under `profile` is near `excerpt` `[bands, frames]`; the same seed gives the same audio.

    The audio has exactly the samples that the excerpt's frames cover, so analysing it gives the same frame count.

    Raises: ValueError when the excerpt has the wrong shape or is not finite.
    Source: METHOD of arXiv:1904.09533 §4; Griffin & Lim 1984 with the fast momentum of Perraudin 2013.
    """
    import librosa

    if excerpt.ndim != 2 or excerpt.shape[0] != profile.band_count or not excerpt.shape[1]:
        raise ValueError(f"excerpt has shape {excerpt.shape}; {profile.name} needs ({profile.band_count}, frames >= 1)")
    if not np.isfinite(excerpt).all():
        raise ValueError("excerpt holds NaN or infinite values; only finite log-mels have a sound")
    magnitude = np.maximum(_inverse_filterbank(profile) @ np.exp(excerpt.astype(np.float64)), 0.0)
    # The profile does not pad, librosa's centred inverse does: repeat edge frames so that every real frame lies fully
    # inside the signal, then cut out the samples that the profile's frames cover.
    half = profile.frame_length // 2
    margin_frames = -(-half // profile.hop_length)
    padded = np.pad(magnitude, ((0, 0), (margin_frames, margin_frames)), mode="edge").astype(np.float32)
    waveform = librosa.griffinlim(
        padded,
        n_iter=GRIFFIN_LIM_ITERATIONS,
        hop_length=profile.hop_length,
        win_length=profile.frame_length,
        n_fft=profile.frame_length,
        window="hann",
        center=True,
        random_state=seed,
    )
    start = margin_frames * profile.hop_length - half
    waveform = waveform[start : start + profile.sample_count(excerpt.shape[1])]
    peak = float(np.abs(waveform).max())
    gain = PEAK / peak if peak > 0 else 1.0
    return InvertedAudio((waveform * gain).astype(np.float32), profile.sample_rate_hz, gain)


@lru_cache(maxsize=16)
def _inverse_filterbank(profile: "LogMelProfile") -> NDArray[np.float64]:
    """Pseudo-inverse `[bins, bands]` of the transposed filterbank."""
    return np.asarray(np.linalg.pinv(profile.filterbank().T.astype(np.float64)))
