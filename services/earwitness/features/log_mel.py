"""The log-mel profile: the mel profile of singing-voice detection, in the JSON that bundles have had from the first."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.features.mel import MelProfile
from earwitness.features.parameters import FeatureError, from_parameters, require
from earwitness.features.spectral import Padding

PARAMETERS = (
    "name", "sample_rate_hz", "frame_length", "hop_length", "band_count", "low_hz", "high_hz", "floor",
    "excerpt_frames",
)  # fmt: skip
"""What the JSON holds, in this order: checksums of weights are over its bytes. All else is as the class has it."""


@dataclass(frozen=True)
class LogMelProfile(MelProfile):
    """Log-mel of the magnitude STFT: `ln(max(|STFT| · filterbank, floor))`, Hann window, no padding at the ends.

    That is a `MelProfile` of magnitudes whose bands' weights sum to 1. Without padding every frame has its place in the
    waveform, so that frames can be labelled.

    Source: Schlüter & Grill, ISMIR 2015, as used by arXiv:1904.09533.
    """

    kind: ClassVar[str] = "log-mel"

    sample_rate_hz: int = 22_050
    frame_length: int = 1_024
    hop_length: int = 315
    band_count: int = 80
    excerpt_frames: int = 115
    low_hz: float = 27.5
    high_hz: float = 8_000.0
    power: float = 1.0
    band_norm: Literal["none", "slaney", "sum"] = "sum"
    padding: Padding = "none"
    floor: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "hop_length", self.hop_length <= self.frame_length, "give at most frame_length")
        for field in fields(self):
            if field.name not in PARAMETERS:
                fixed = getattr(self, field.name) == field.default
                require(self, field.name, fixed, f"it is {field.default!r} in every log-mel profile; use a MelProfile")

    @property
    def excerpt_seconds(self) -> float:
        """Seconds from the first to the last sample an excerpt's frames cover."""
        return self.sample_count(self.excerpt_frames) / self.sample_rate_hz

    @property
    def floor_value(self) -> float:
        return float(np.log(np.float32(self.floor)))  # as a spectrogram has it: trained networks hold this very number

    def frame_count(self, sample_count: int) -> int:
        """Whole frames in `sample_count` samples."""
        return max(0, 1 + (sample_count - self.frame_length) // self.hop_length)

    def frame_centres(self, frame_count: int) -> NDArray[np.int64]:
        """Sample index at the middle of each frame `[frames]`, where its label is read."""
        return np.arange(frame_count) * self.hop_length + self.frame_length // 2

    def filterbank_checksum(self) -> str:
        """SHA-256 (hex) of the filterbank's little-endian float32 bytes."""
        return hashlib.sha256(self.filterbank().astype("<f4").tobytes()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        parameters = {name: getattr(self, name) for name in PARAMETERS}
        return {"kind": self.kind, **parameters, "filterbank_sha256": self.filterbank_checksum()}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "LogMelProfile":
        """The profile that `to_dict`, or a person without a checksum, described.

        Raises: FeatureError when a parameter is missing, unknown or wrong, or when the filterbank built here is not the
        one that was written.
        """
        given = {key: value for key, value in parameters.items() if key != "filterbank_sha256"}
        profile = from_parameters(cls, given, PARAMETERS)
        checksum = parameters.get("filterbank_sha256")
        if checksum is not None and checksum != profile.filterbank_checksum():
            raise FeatureError(
                f"profile {profile.name!r}: filterbank checksum is {checksum}, these parameters give "
                f"{profile.filterbank_checksum()}; the features were written by another version, export them again"
            )
        return profile
