"""Power profiles: the logarithm of the power spectrogram itself, every STFT bin a band."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from earwitness.features.parameters import from_parameters, require, require_numbers, require_waveform, require_whole
from earwitness.features.spectral import PADDINGS, Padding, excerpts_of, fewest_samples, magnitude_blocks, padded

if TYPE_CHECKING:
    from earwitness.features.inversion import InvertedAudio


@dataclass(frozen=True)
class PowerProfile:
    """`ln(max(|STFT|², floor))`, Hann window, `frame_length // 2 + 1` bands equally spaced from 0 to half the rate.

    The paper does not say how it pads; frames are centred with reflected ends, so that a second of sound is at least
    100 frames of 10 ms whatever the frame's length, and no frame is darkened by silence that was not recorded.

    Source: Chettri et al. 2018 (arXiv:1805.09164).
    """

    kind: ClassVar[str] = "power"
    window_length: ClassVar[int | None] = None
    value_label: ClassVar[str] = "log power"
    amplitude_exponent: ClassVar[float] = 0.5

    name: str
    frame_length: int
    """Samples of a transform, `n_fft`."""
    excerpt_frames: int
    sample_rate_hz: int = 16_000
    hop_length: int = 160
    padding: Padding = "reflect"
    """See `spectral.PADDINGS`."""
    floor: float = 1e-7

    def __post_init__(self) -> None:
        require_whole(self, "frame_length", "excerpt_frames", "sample_rate_hz", "hop_length")
        require_numbers(self, "floor")
        require(self, "frame_length", self.frame_length >= self.hop_length, f"give at least hop {self.hop_length}")
        require(self, "padding", self.padding in PADDINGS, f"give one of {', '.join(PADDINGS)}")
        require(self, "floor", self.floor > 0, "give a positive number, its logarithm is taken")

    @property
    def centred(self) -> bool:
        return self.padding != "none"

    @property
    def band_count(self) -> int:
        return self.frame_length // 2 + 1

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
        return self.frame_length

    def sample_count(self, frame_count: int) -> int:
        """The fewest samples that give `frame_count` frames."""
        return fewest_samples(frame_count, self.frame_length, self.hop_length, self.padding)

    def band_frequencies_hz(self) -> NDArray[np.float64]:
        return np.asarray(np.fft.rfftfreq(self.frame_length, 1 / self.sample_rate_hz), np.float64)

    def spectrogram(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` `[samples]` → `[frames, bands]`, float32.

        Raises: FeatureError when the waveform is not one-dimensional or too short for a frame.
        """
        require_waveform(self, waveform)
        waveform = padded(waveform, self.frame_length, self.padding)
        power = np.empty((1 + (len(waveform) - self.frame_length) // self.hop_length, self.band_count), np.float32)
        for frames, magnitude in magnitude_blocks(waveform, self.frame_length, self.hop_length):
            power[frames] = np.square(magnitude)
        return np.log(np.maximum(power, np.float32(self.floor), out=power), out=power)

    def excerpts(self, spectrogram: NDArray[np.float32], hop_frames: int) -> NDArray[np.float32]:
        """Every `hop_frames`-th excerpt `[N, bands, excerpt_frames]` of a spectrogram `[frames, bands]`."""
        return excerpts_of(spectrogram, self.excerpt_shape, hop_frames)

    def magnitude(self, excerpt: NDArray[np.float32]) -> NDArray[np.float64]:
        """STFT magnitudes `[bins, frames]` of `excerpt` `[bands, frames]`, exactly."""
        return np.exp(excerpt.astype(np.float64) / 2)

    def invert(self, excerpt: NDArray[np.float32], seed: int) -> "InvertedAudio":
        """Audio of a spectrogram `[bands, frames]` by Griffin–Lim; see `inversion.invert_spectrogram`."""
        from earwitness.features.inversion import invert_spectrogram

        return invert_spectrogram(self, excerpt, seed)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "PowerProfile":
        """The profile that `to_dict`, or a person, described.

        Raises: FeatureError naming the parameter that is missing, unknown or wrong.
        """
        return from_parameters(cls, parameters)
