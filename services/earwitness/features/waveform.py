"""Waveform profiles: networks that take the sound itself, as RawNet2, AASIST or wav2vec 2.0 do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from earwitness.features.parameters import from_parameters, require, require_numbers, require_waveform, require_whole
from earwitness.features.power import PowerProfile
from earwitness.features.spectral import excerpts_of

if TYPE_CHECKING:
    from earwitness.features.inversion import InvertedAudio

PICTURE_WINDOW_S, PICTURE_HOP_S = 0.032, 0.01


@dataclass(frozen=True)
class WaveformProfile:
    """The samples themselves, times `scale`: one band, and every sample a frame.

    So a "spectrogram" is `[samples, 1]`, an excerpt `[1, samples]`, and an explanation is its own sound: nothing is
    inverted. Its picture is its power spectrogram.
    """

    kind: ClassVar[str] = "waveform"
    value_label: ClassVar[str] = "amplitude"
    widest_window: ClassVar[int] = 1
    floor_value: ClassVar[float] = 0.0

    name: str
    sample_rate_hz: int
    excerpt_frames: int
    """Samples of an excerpt."""
    scale: float = 1.0
    """What full scale becomes: 32768 for networks that were given 16-bit integers."""

    def __post_init__(self) -> None:
        require_whole(self, "sample_rate_hz", "excerpt_frames")
        require_numbers(self, "scale")
        require(self, "scale", self.scale > 0, "give a positive number, samples are multiplied by it")

    @property
    def frames_per_second(self) -> float:
        return float(self.sample_rate_hz)

    @property
    def excerpt_shape(self) -> tuple[int, int]:
        return 1, self.excerpt_frames

    def sample_count(self, frame_count: int) -> int:
        return frame_count

    def band_frequencies_hz(self) -> NDArray[np.float64]:
        """That of its only band, which has all frequencies: the middle of them."""
        return np.array([self.sample_rate_hz / 4])

    def spectrogram(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` `[samples]` → `[samples, 1]`, float32.

        Raises: ValueError when the waveform is not one-dimensional or empty.
        """
        require_waveform(self, waveform)
        return (waveform.astype(np.float32, copy=False) * np.float32(self.scale))[:, np.newaxis]

    def excerpts(self, spectrogram: NDArray[np.float32], hop_frames: int) -> NDArray[np.float32]:
        """Every excerpt `[N, 1, samples]` that begins `hop_frames` samples after another one."""
        return excerpts_of(spectrogram, self.excerpt_shape, hop_frames)

    def invert(self, excerpt: NDArray[np.float32], seed: int) -> "InvertedAudio":
        """The samples of `[1, samples]` as audio; `seed` decides nothing.

        Raises: ValueError when the excerpt has the wrong shape or is not finite.
        """
        from earwitness.features.inversion import InvertedAudio, at_peak, require_excerpt

        require_excerpt(self, excerpt, 1)
        waveform, gain = at_peak(excerpt[0] / np.float32(self.scale))
        return InvertedAudio(waveform, self.sample_rate_hz, gain)

    def pictured(self, excerpt: NDArray[np.float32]) -> tuple[PowerProfile, NDArray[np.float32]]:
        """The power spectrogram `[bands, frames]` of `[1, samples]`, and its profile: what a picture shows of it."""
        window = max(4, 2 * round(PICTURE_WINDOW_S * self.sample_rate_hz / 2))
        hop = max(1, min(window, round(PICTURE_HOP_S * self.sample_rate_hz)))
        waveform = excerpt[0] / np.float32(self.scale)
        shown = PowerProfile(
            self.name, window, 1 + len(waveform) // hop, self.sample_rate_hz, hop, padding="constant"
        )  # fmt: skip
        return shown, shown.spectrogram(waveform).T

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "WaveformProfile":
        """The profile that `to_dict`, or a person, described.

        Raises: ValueError naming the parameter that is missing, unknown or wrong.
        """
        return from_parameters(cls, parameters)
