"""From a spectrogram back to sound: the STFT magnitudes that its profile finds for it, then Griffin–Lim.

Griffin–Lim is our own, not librosa's, because as many iterations take a third of the time: frames stay in float32 and
one layout, nothing is padded or trimmed between two transforms, and nothing has to be compiled by numba first, which
took 40 s of a new machine. `tests/benchmarks/bench_sound.py` measures both side by side.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from earwitness.features.parameters import Named
from earwitness.features.spectral import hann_window

ITERATIONS = 48
"""Where a sound is within 5 % (log-mel) of the error of 100 iterations, a quarter to a third for power spectrograms."""
MOMENTUM = 0.99
PEAK = 0.95
LOUDEST_LEVEL = 40.0
"""Log-magnitudes (natural) above this are brought down together before inversion: e^88 is the end of float32."""
_SMALLEST_WEIGHT = 1e-4
"""Of the squared windows' sum, relative to its largest: what little the outermost samples weigh is not divided by."""


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

    @property
    def amplitude_exponent(self) -> float:
        """Natural logarithms of amplitude in one unit of value: 1 of log magnitude, ½ of log power."""
        ...

    def magnitude(self, excerpt: NDArray[np.float32]) -> NDArray[np.float64]:
        """STFT magnitudes `[bins, frames]` of a spectrogram `[bands, frames]`."""
        ...


def invert_spectrogram(profile: Invertible, excerpt: NDArray[np.float32], seed: int) -> InvertedAudio:
    """Audio whose spectrogram under `profile` is near `excerpt` `[bands, frames]`; the same seed gives the same audio.

    The audio has the samples that the excerpt's frames cover (centred: from the first centre to the last).

    Raises: ValueError when the excerpt has the wrong shape or is not finite.
    Source: METHOD of arXiv:1904.09533 §4; Griffin & Lim 1984 with the fast momentum of Perraudin 2013.
    """
    require_excerpt(profile, excerpt, profile.band_count)
    lowered = max(0.0, float(excerpt.max()) - LOUDEST_LEVEL / profile.amplitude_exponent)
    excerpt = excerpt - np.float32(lowered)
    # Edge frames are repeated so that every real frame lies fully inside the sound that is made; then the samples that
    # the profile's frames cover are cut out of it.
    half = profile.frame_length // 2
    margin_frames = -(-half // profile.hop_length)
    padded = np.pad(profile.magnitude(excerpt), ((0, 0), (margin_frames, margin_frames)), mode="edge")
    window = hann_window(profile.frame_length, profile.window_length or profile.frame_length)
    waveform = griffin_lim(padded.T.astype(np.float32), window, profile.hop_length, seed)
    between = profile.hop_length * (excerpt.shape[1] - 1)
    first = margin_frames * profile.hop_length
    start, count = (first + half, between + 1) if profile.centred else (first, between + profile.frame_length)
    waveform = waveform[start : start + count]
    waveform, gain = at_peak(waveform)
    return InvertedAudio(waveform, profile.sample_rate_hz, float(gain * np.exp(-lowered * profile.amplitude_exponent)))


def require_excerpt(profile: Named, excerpt: NDArray[np.float32], band_count: int) -> None:
    """Raises: ValueError unless `excerpt` is `[band_count, frames]`, with a frame at least, and finite."""
    if excerpt.ndim != 2 or excerpt.shape[0] != band_count or not excerpt.shape[1]:
        raise ValueError(f"excerpt has shape {excerpt.shape}; {profile.name} needs ({band_count}, frames >= 1)")
    if not np.isfinite(excerpt).all():
        raise ValueError("excerpt holds NaN or infinite values; only finite spectrograms have a sound")


def at_peak(waveform: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The waveform with its peak at PEAK, and the gain that this took; silence stays as it is."""
    peak = float(np.abs(waveform).max())
    gain = PEAK / peak if peak > 0 else 1.0
    return (waveform * gain).astype(np.float32), gain


def griffin_lim(
    magnitude: NDArray[np.float32],
    window: NDArray[np.float32],
    hop_length: int,
    seed: int,
    iterations: int = ITERATIONS,
) -> NDArray[np.float32]:
    """A waveform `[N + hop_length · (frames − 1)]` whose STFT has about the `magnitude` `[frames, bins]`.

    Frame t begins at sample t · `hop_length` and lies under `window` `[N]`; bins = N // 2 + 1. The first phases are
    random, by `seed`.

    Source: Griffin & Lim 1984 with the momentum of Perraudin, Balazs & Søndergaard 2013.
    """
    from scipy import fft  # as fast as NumPy's in float32, and lets other threads run

    frame_count, frame_length = len(magnitude), len(window)
    loudest = magnitude.max() or np.float32(1)
    magnitude = magnitude / loudest  # so that no quotient overflows
    waveform = np.empty(frame_length + hop_length * (frame_count - 1), np.float32)
    seen = sliding_window_view(waveform, frame_length)[::hop_length]
    weight = np.zeros_like(waveform)
    for begin in range(0, hop_length * frame_count, hop_length):
        weight[begin : begin + frame_length] += np.square(window)
    scale = 1 / np.maximum(weight, _SMALLEST_WEIGHT * weight.max())

    def heard(spectrum: NDArray[np.complex64]) -> None:
        """Overlap-adds the spectrum's frames into `waveform`."""
        frames = fft.irfft(spectrum, frame_length, axis=1)
        frames *= window
        waveform.fill(0)
        for begin, frame in zip(range(0, len(waveform), hop_length), frames, strict=False):
            waveform[begin : begin + frame_length] += frame
        np.multiply(waveform, scale, out=waveform)

    phases = np.random.default_rng(seed).random(magnitude.shape, np.float32) * np.float32(2 * np.pi)
    spectrum = (magnitude * np.exp(1j * phases)).astype(np.complex64)
    previous = np.zeros_like(spectrum)
    kept = np.float32(MOMENTUM / (1 + MOMENTUM))
    tiny = np.finfo(np.float32).tiny
    for _ in range(iterations):
        heard(spectrum)
        rebuilt = fft.rfft(seen * window, axis=1)
        np.subtract(rebuilt, kept * previous, out=spectrum)
        spectrum *= magnitude / np.maximum(np.abs(spectrum), tiny)
        previous = rebuilt
    heard(spectrum)
    return waveform * loudest
