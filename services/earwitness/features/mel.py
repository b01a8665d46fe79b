"""Mel profiles of other people's networks: the mel spectrograms of torchaudio and librosa, and a logarithm."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.features.parameters import (
    FeatureError,
    from_parameters,
    require,
    require_numbers,
    require_waveform,
    require_whole,
)
from earwitness.features.spectral import (
    PADDINGS,
    MelScale,
    Padding,
    band_edges_hz,
    excerpts_of,
    fewest_samples,
    magnitude_blocks,
    padded,
    triangles,
)

if TYPE_CHECKING:
    from earwitness.features.inversion import InvertedAudio


@dataclass(frozen=True)
class MelProfile:
    """`(ln(max(mel, floor)) − offset) / scale`, mel = |STFT|^power · filterbank; Hann window.

    The defaults are those of `torchaudio.transforms.MelSpectrogram` and a natural logarithm. For librosa's, set
    mel_scale and band_norm to "slaney" and padding to "constant"; for decibels (10·log10), set scale to ln(10)/10; for
    networks that see standardised or [-1, 1] values, set offset and scale to what was subtracted and divided by.
    """

    kind: ClassVar[str] = "mel"

    name: str
    """Versioned by its maker, e.g. `birds-mel@1`."""
    sample_rate_hz: int
    frame_length: int
    """Samples of a transform, `n_fft`."""
    hop_length: int
    band_count: int
    excerpt_frames: int
    window_length: int | None = None
    """Samples under the window, `win_length`, in the middle of a frame; None is all of it."""
    low_hz: float = 0.0
    high_hz: float | None = None
    """None is half the sample rate."""
    power: float = 2.0
    """1 for magnitudes, 2 for energies."""
    mel_scale: MelScale = "htk"
    band_norm: Literal["none", "slaney", "sum"] = "none"
    """`slaney` divides a band by half its width in Hz, `sum` by the sum of its weights."""
    padding: Padding = "reflect"
    """See `spectral.PADDINGS`; "constant" is librosa's default."""
    floor: float = 1e-10
    floor_added: bool = False
    """`ln(mel + floor)` instead of `ln(max(mel, floor))`."""
    offset: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        require_whole(self, "sample_rate_hz", "frame_length", "hop_length", "band_count", "excerpt_frames")
        require_numbers(self, "low_hz", "power", "floor", "offset", "scale")
        if self.window_length is not None:
            require_whole(self, "window_length")
        if self.high_hz is not None:
            require_numbers(self, "high_hz")
        half = self.sample_rate_hz / 2
        require(self, "window_length", self._window_length <= self.frame_length, "give at most frame_length")
        require(self, "high_hz", 0 < self._high_hz <= half, f"give at most {half:g}, half of sample_rate_hz")
        require(self, "low_hz", 0 <= self.low_hz < self._high_hz, "give 0 <= low_hz < high_hz")
        require(self, "power", self.power in (1, 2), "give 1 for magnitudes, 2 for energies")
        require(self, "mel_scale", self.mel_scale in ("htk", "slaney"), "give 'htk' or 'slaney'")
        require(self, "band_norm", self.band_norm in ("none", "slaney", "sum"), "give 'none', 'slaney' or 'sum'")
        require(self, "padding", self.padding in PADDINGS, "give 'reflect', 'constant' or 'none'")
        require(self, "floor", self.floor > 0, "give a positive number, its logarithm is taken")
        require(self, "scale", self.scale > 0, "give a positive number, values are divided by it")

    @property
    def centred(self) -> bool:
        return self.padding != "none"

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate_hz / self.hop_length

    @property
    def excerpt_shape(self) -> tuple[int, int]:
        return self.band_count, self.excerpt_frames

    @property
    def floor_value(self) -> float:
        return float((np.log(self.floor) - self.offset) / self.scale)

    @property
    def value_label(self) -> str:
        words = "log power" if self.power == 2 else "log magnitude"
        return words if (self.offset, self.scale) == (0, 1) else f"{words}, scaled"

    @property
    def amplitude_exponent(self) -> float:
        return self.scale / self.power

    @property
    def widest_window(self) -> int:
        return self.frame_length

    def sample_count(self, frame_count: int) -> int:
        """The fewest samples that give `frame_count` frames."""
        return fewest_samples(frame_count, self.frame_length, self.hop_length, self.padding)

    def filterbank(self) -> NDArray[np.float32]:
        """Triangular filters `[bins, bands]`, float32, read-only."""
        return _filterbank(self)

    def band_frequencies_hz(self) -> NDArray[np.float64]:
        return self._edges_hz()[1:-1]

    def spectrogram(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` `[samples]` → `[frames, bands]`, float32.

        Raises: FeatureError when the waveform is not one-dimensional or too short for a frame.
        """
        require_waveform(self, waveform)
        waveform = padded(waveform, self.frame_length, self.padding)
        mel = np.empty((1 + (len(waveform) - self.frame_length) // self.hop_length, self.band_count), np.float32)
        for frames, magnitude in magnitude_blocks(waveform, self.frame_length, self.hop_length, self._window_length):
            mel[frames] = magnitude ** np.float32(self.power) @ self.filterbank()
        floor = np.float32(self.floor)
        levels = np.log(mel + floor if self.floor_added else np.maximum(mel, floor))
        return (levels - np.float32(self.offset)) / np.float32(self.scale)

    def excerpts(self, spectrogram: NDArray[np.float32], hop_frames: int) -> NDArray[np.float32]:
        """Every `hop_frames`-th excerpt `[N, bands, excerpt_frames]` of a spectrogram `[frames, bands]`."""
        return excerpts_of(spectrogram, self.excerpt_shape, hop_frames)

    def magnitude(self, excerpt: NDArray[np.float32]) -> NDArray[np.float64]:
        """STFT magnitudes `[bins, frames]` whose spectrogram is near `excerpt` `[bands, frames]`."""
        mel = np.exp(excerpt.astype(np.float64) * self.scale + self.offset)
        if self.floor_added:
            mel = np.maximum(mel - self.floor, 0.0)
        energies = np.maximum(_inverse_filterbank(self) @ mel, 0.0)
        return np.asarray(energies ** (1 / self.power))

    def invert(self, excerpt: NDArray[np.float32], seed: int) -> "InvertedAudio":
        """Audio of `[bands, frames]` by Griffin–Lim; see `inversion.invert_spectrogram`."""
        from earwitness.features.inversion import invert_spectrogram

        return invert_spectrogram(self, excerpt, seed)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "MelProfile":
        """The profile that `to_dict`, or a person, described.

        Raises: FeatureError naming the parameter that is missing, unknown or wrong.
        """
        return from_parameters(cls, parameters)

    @property
    def _window_length(self) -> int:
        return self.frame_length if self.window_length is None else self.window_length

    @property
    def _high_hz(self) -> float:
        return self.sample_rate_hz / 2 if self.high_hz is None else self.high_hz

    def _edges_hz(self) -> NDArray[np.float64]:
        return band_edges_hz(self.low_hz, self._high_hz, self.band_count, self.mel_scale)


@lru_cache(maxsize=16)
def _filterbank(profile: MelProfile) -> NDArray[np.float32]:
    edges = profile._edges_hz()
    weights = triangles(edges, profile.sample_rate_hz, profile.frame_length)
    if profile.band_norm == "slaney":
        weights *= 2 / (edges[2:] - edges[:-2])
    elif profile.band_norm == "sum":
        totals = weights.sum(axis=0)
        if not totals.all():
            raise FeatureError(
                f"profile {profile.name!r}: band {int(np.argmin(totals))} covers no STFT bin; "
                f"use fewer bands than {profile.band_count} or a frame longer than {profile.frame_length}"
            )
        weights /= totals
    filterbank = weights.astype(np.float32)
    filterbank.setflags(write=False)
    return filterbank


@lru_cache(maxsize=16)
def _inverse_filterbank(profile: MelProfile) -> NDArray[np.float64]:
    """Pseudo-inverse `[bins, bands]` of the transposed filterbank."""
    return np.asarray(np.linalg.pinv(profile.filterbank().T.astype(np.float64)))
