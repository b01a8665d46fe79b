"""Constant-Q profiles: bands at equal musical intervals, each seen through a window of equally many periods."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from earwitness.features.parameters import from_parameters, require, require_numbers, require_waveform, require_whole
from earwitness.features.spectral import excerpts_of, frame_blocks, padded

if TYPE_CHECKING:
    from earwitness.features.inversion import InvertedAudio

C1_HZ = 440 * 2 ** (-45 / 12)
INVERSION_FRAME_LENGTH = 2_048
"""The STFT that the way back to sound goes through: in a round trip of speech-like sound better than 1024 below 100 Hz
and above 2 kHz, better than 4096 everywhere."""
UNMIXING_STEPS = 60
"""Multiplicative updates; twice as many change a round trip by less than its noise."""


@dataclass(frozen=True)
class ConstantQProfile:
    """`ln(max(|C|², floor))`, C the constant-Q transform as librosa scales it: Hann-windowed complex exponentials of
    unit L1 norm times the square root of their length. Frames are centred on multiples of the hop, zeros beyond the
    ends. The defaults are librosa's: 84 bands, 12 to an octave, from C1 (32.7 Hz) to 3951 Hz.

    The windows are applied as they stand, octave by octave. `librosa.cqt` instead halves the rate from octave to octave
    where the hop lets it: 160 = 32 · 5 allows five halvings, so its two lowest octaves share 500 Hz (versions before
    0.10 asked for a multiple of 64). Its windows are the same, but its resampling rings at the ends of a recording and
    it drops 1 % of each window: loud values differ by 0.03 on average, and it takes fifty times as long.

    Source: Brown 1991; Chettri et al. 2018 (arXiv:1805.09164) for 84 bands.
    """

    kind: ClassVar[str] = "constant-q"
    value_label: ClassVar[str] = "log power"
    amplitude_exponent: ClassVar[float] = 0.5
    centred: ClassVar[bool] = True
    window_length: ClassVar[int | None] = None
    frame_length: ClassVar[int] = INVERSION_FRAME_LENGTH

    name: str
    excerpt_frames: int
    sample_rate_hz: int = 16_000
    hop_length: int = 160
    band_count: int = 84
    bands_per_octave: int = 12
    low_hz: float = C1_HZ
    """Of the first band."""
    floor: float = 1e-7

    def __post_init__(self) -> None:
        require_whole(self, "excerpt_frames", "sample_rate_hz", "hop_length", "band_count", "bands_per_octave")
        require_numbers(self, "low_hz", "floor")
        require(self, "low_hz", self.low_hz > 0, "give a positive frequency")
        require(self, "floor", self.floor > 0, "give a positive number, its logarithm is taken")
        # A Hann window's main lobe reaches two of its bins to either side.
        highest = self.band_frequencies_hz()[-1] * (1 + 2 * self._relative_width)
        require(self, "band_count", highest <= self.sample_rate_hz / 2, "the last band leaves half of sample_rate_hz")

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate_hz / self.hop_length

    @property
    def excerpt_shape(self) -> tuple[int, int]:
        return self.band_count, self.excerpt_frames

    @property
    def floor_value(self) -> float:
        return float(np.log(np.float32(self.floor)))

    @property
    def widest_window(self) -> int:
        return int(np.ceil(self.window_lengths()[0]))

    def sample_count(self, frame_count: int) -> int:
        """The fewest samples that give `frame_count` frames."""
        return 1 + self.hop_length * (frame_count - 1)

    def band_frequencies_hz(self) -> NDArray[np.float64]:
        return np.asarray(self.low_hz * 2.0 ** (np.arange(self.band_count) / self.bands_per_octave))

    def spectrogram(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` `[samples]` → `[frames, bands]`, float32.

        Raises: FeatureError when the waveform is not one-dimensional or empty.
        """
        require_waveform(self, waveform)
        power = np.empty((1 + (len(waveform) - 1) // self.hop_length, self.band_count), np.float32)
        for bands, kernel in _kernels(self):
            # The last frames reach half a window beyond the end, and never further.
            samples = padded(waveform, len(kernel), "constant")
            width = kernel.shape[1]
            waves = np.concatenate([kernel.real, kernel.imag], axis=1).astype(np.float32)
            for block, frames in frame_blocks(samples, len(kernel), self.hop_length, len(power)):
                parts = np.square(np.ascontiguousarray(frames) @ waves)
                power[block, bands] = parts[:, :width] + parts[:, width:]
        return np.log(np.maximum(power, np.float32(self.floor), out=power), out=power)

    def excerpts(self, spectrogram: NDArray[np.float32], hop_frames: int) -> NDArray[np.float32]:
        """Every `hop_frames`-th excerpt `[N, bands, excerpt_frames]` of a spectrogram `[frames, bands]`."""
        return excerpts_of(spectrogram, self.excerpt_shape, hop_frames)

    def magnitude(self, excerpt: NDArray[np.float32]) -> NDArray[np.float64]:
        """STFT magnitudes `[bins, frames]` whose bands' mean power is near `excerpt` `[bands, frames]`.

        The upper bands' windows are shorter than a hop and leave gaps, so the transform has no inverse of its own;
        instead its power is unmixed into non-negative STFT power, as that of noise, under the Kullback–Leibler
        divergence.

        Source: the multiplicative update of Lee & Seung 2001, with a fixed basis.
        """
        mixing = _mixing(self)
        power = np.exp(excerpt.astype(np.float64))
        tiny = np.finfo(np.float32).tiny
        unmixed = np.full((mixing.shape[1], excerpt.shape[1]), power.mean())
        reach = mixing.sum(axis=0)[:, None] + tiny
        for _ in range(UNMIXING_STEPS):
            unmixed *= mixing.T @ (power / (mixing @ unmixed + tiny)) / reach
        # What lies beyond every band was never heard.
        heard = mixing.max(axis=0) > mixing.max() * np.finfo(np.float32).eps
        return np.asarray(np.sqrt(unmixed) * heard[:, None])

    def invert(self, excerpt: NDArray[np.float32], seed: int) -> "InvertedAudio":
        """Audio of a spectrogram `[bands, frames]` by Griffin–Lim; see `inversion.invert_spectrogram`."""
        from earwitness.features.inversion import invert_spectrogram

        return invert_spectrogram(self, excerpt, seed)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "ConstantQProfile":
        """The profile that `to_dict`, or a person, described.

        Raises: FeatureError naming the parameter that is missing, unknown or wrong.
        """
        return from_parameters(cls, parameters)

    def window_lengths(self) -> NDArray[np.float64]:
        """Samples, a fraction too, of each band's window `[bands]`."""
        return self.sample_rate_hz / (self.band_frequencies_hz() * self._relative_width)

    @property
    def _relative_width(self) -> float:
        """Width of a band over its frequency, 1 / Q."""
        step = 2.0 ** (2 / self.bands_per_octave)
        return float((step - 1) / (step + 1))


@lru_cache(maxsize=4)
def _kernels(profile: ConstantQProfile) -> tuple[tuple[slice, NDArray[np.complex128]], ...]:
    """Per octave its bands and their windowed exponentials `[samples, bands]`, centred in a power of two of samples."""
    lengths, frequencies = profile.window_lengths(), profile.band_frequencies_hz()
    kernels = []
    for first in range(0, profile.band_count, profile.bands_per_octave):
        bands = slice(first, min(first + profile.bands_per_octave, profile.band_count))
        size = 1 << int(np.ceil(np.log2(lengths[first] + 1)))
        kernel = np.zeros((size, bands.stop - first), np.complex128)
        for column, (length, frequency) in enumerate(zip(lengths[bands], frequencies[bands], strict=True)):
            samples = np.arange(-length // 2, length // 2)
            window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(samples)) / len(samples))
            start = (size - len(samples)) // 2
            wave = window * np.exp(2j * np.pi * frequency / profile.sample_rate_hz * samples)
            kernel[start : start + len(samples), column] = wave * np.sqrt(length) / window.sum()
        kernel.setflags(write=False)
        kernels.append((bands, kernel))
    return tuple(kernels)


@lru_cache(maxsize=4)
def _mixing(profile: ConstantQProfile) -> NDArray[np.float64]:
    """Mean power of each band `[bands, bins]` when one STFT bin holds power 1 and the sound is noise there."""
    bin_count = profile.frame_length // 2 + 1
    window_power = 3 / 8 * profile.frame_length  # of a Hann window
    rows = []
    for _, kernel in _kernels(profile):
        size = max(len(kernel), profile.frame_length)
        response = np.square(np.abs(np.fft.fft(kernel, size, axis=0)[: size // 2 + 1]))
        nearest = np.rint(np.arange(len(response)) * profile.frame_length / size).astype(int)
        gathered = np.zeros((bin_count, kernel.shape[1]))
        np.add.at(gathered, nearest, response)
        gain = np.square(np.abs(kernel)).sum(axis=0) / window_power
        rows.append((gathered / gathered.sum(axis=0) * gain).T)
    return np.concatenate(rows)
