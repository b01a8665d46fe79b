"""From a spectrogram back to sound: the STFT magnitudes that its profile finds for it, then Griffin–Lim."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.features.compiled import begin_cache

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


class Invertible(Protocol):
    """What Griffin–Lim needs of a profile."""

    @property
    def name(self) -> str: ...

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def frame_length(self) -> int: ...

    @property
    def window_length(self) -> int | None: ...

    @property
    def hop_length(self) -> int: ...

    @property
    def centred(self) -> bool:
        """Whether frame t is centred on sample t·hop; else it begins there."""
        ...

    @property
    def band_count(self) -> int: ...

    def magnitude(self, excerpt: NDArray[np.float32]) -> NDArray[np.float64]:
        """STFT magnitudes `[bins, frames]` of a spectrogram `[bands, frames]`."""
        ...


def invert_spectrogram(profile: Invertible, excerpt: NDArray[np.float32], seed: int) -> InvertedAudio:
    """Audio whose spectrogram under `profile` is near `excerpt` `[bands, frames]`; the same seed gives the same audio.

    The audio has the samples that the excerpt's frames cover (centred: from the first centre to the last).

    Raises: ValueError when the excerpt has the wrong shape or is not finite.
    Source: METHOD of arXiv:1904.09533 §4; Griffin & Lim 1984 with the fast momentum of Perraudin 2013.
    """
    begin_cache()
    import librosa
    from scipy.signal import get_window

    if excerpt.ndim != 2 or excerpt.shape[0] != profile.band_count or not excerpt.shape[1]:
        raise ValueError(f"excerpt has shape {excerpt.shape}; {profile.name} needs ({profile.band_count}, frames >= 1)")
    if not np.isfinite(excerpt).all():
        raise ValueError("excerpt holds NaN or infinite values; only finite spectrograms have a sound")
    # librosa's inverse is of centred frames and pads: repeat edge frames so that every real frame lies fully inside the
    # signal, then cut out the samples that the profile's frames cover.
    half = profile.frame_length // 2
    margin_frames = -(-half // profile.hop_length)
    padded = np.pad(profile.magnitude(excerpt), ((0, 0), (margin_frames, margin_frames)), mode="edge")
    waveform = librosa.griffinlim(
        padded.astype(np.float32),
        n_iter=GRIFFIN_LIM_ITERATIONS,
        hop_length=profile.hop_length,
        win_length=profile.window_length,
        n_fft=profile.frame_length,
        # By name, librosa computes it six times an iteration, a tenth of the whole time.
        window=get_window("hann", profile.window_length or profile.frame_length),
        center=True,
        random_state=seed,
    )
    first = margin_frames * profile.hop_length
    between = profile.hop_length * (excerpt.shape[1] - 1)
    start, count = (first, between + 1) if profile.centred else (first - half, between + profile.frame_length)
    waveform = waveform[start : start + count]
    peak = float(np.abs(waveform).max())
    gain = PEAK / peak if peak > 0 else 1.0
    return InvertedAudio((waveform * gain).astype(np.float32), profile.sample_rate_hz, gain)
