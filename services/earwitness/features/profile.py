"""Feature profiles: named, versioned recipes from waveform to the spectrogram a network sees.

A profile is a frozen value with every parameter in it, so a served bundle carries its own (`to_dict`) and anyone can
rebuild the filterbank from it (`profile_from_dict`) without a second registry.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.features.constant_q import ConstantQProfile
from earwitness.features.mel import MelProfile
from earwitness.features.parameters import FeatureError, require_waveform
from earwitness.features.power import PowerProfile
from earwitness.features.spectral import band_edges_hz, excerpts_of, magnitude_blocks, triangles
from earwitness.features.waveform import WaveformProfile

if TYPE_CHECKING:
    from earwitness.features.inversion import InvertedAudio


class FeatureProfile(Protocol):
    """What the rest of the system needs of a feature profile, whatever its frequency axis."""

    @property
    def name(self) -> str:
        """Versioned name, e.g. `log-mel-80@1`; any change of a parameter is a new version."""
        ...

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def excerpt_shape(self) -> tuple[int, int]:
        """(bands, frames) of one excerpt, the networks' input without batch and channel."""
        ...

    @property
    def frames_per_second(self) -> float: ...

    @property
    def floor_value(self) -> float:
        """The lowest value a spectrogram can hold: silence."""
        ...

    @property
    def value_label(self) -> str:
        """What a value is, in words, e.g. `log power`."""
        ...

    def band_frequencies_hz(self) -> NDArray[np.float64]:
        """Centre frequency of each band `[bands]`, for the axes of pictures."""
        ...

    @property
    def widest_window(self) -> int:
        """Samples that a frame is made of, at most."""
        ...

    def sample_count(self, frame_count: int) -> int:
        """The fewest samples that give `frame_count` frames."""
        ...

    def spectrogram(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` `[samples]` → spectrogram `[frames, bands]`."""
        ...

    def excerpts(self, spectrogram: NDArray[np.float32], hop_frames: int) -> NDArray[np.float32]:
        """Every `hop_frames`-th excerpt `[N, bands, frames]` of a spectrogram `[frames, bands]`; N may be 0."""
        ...

    def invert(self, excerpt: NDArray[np.float32], seed: int) -> "InvertedAudio":
        """Spectrogram `[bands, frames]` (the networks' layout) → audio."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """All parameters, JSON-ready, read back by `profile_from_dict`."""
        ...


@dataclass(frozen=True)
class LogMelProfile:
    """Log-mel of the magnitude STFT: `ln(max(|STFT| · filterbank, floor))`, Hann window, no padding at the ends.

    Source: Schlüter & Grill, ISMIR 2015, as used by arXiv:1904.09533.
    """

    kind: ClassVar[str] = "log-mel"
    centred: ClassVar[bool] = False
    window_length: ClassVar[int | None] = None
    value_label: ClassVar[str] = "log magnitude"
    amplitude_exponent: ClassVar[float] = 1.0

    name: str
    sample_rate_hz: int = 22_050
    frame_length: int = 1_024
    hop_length: int = 315
    band_count: int = 80
    low_hz: float = 27.5
    high_hz: float = 8_000.0
    floor: float = 1e-7
    excerpt_frames: int = 115

    def __post_init__(self) -> None:
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
            raise FeatureError(
                f"profile {self.name!r}: bands from {self.low_hz} to {self.high_hz} Hz do not fit below half of "
                f"sample_rate_hz {self.sample_rate_hz}; choose 0 <= low_hz < high_hz <= {self.sample_rate_hz / 2}"
            )
        if min(self.hop_length, self.band_count, self.excerpt_frames) < 1 or self.frame_length < self.hop_length:
            raise FeatureError(
                f"profile {self.name!r}: frame_length {self.frame_length}, hop_length {self.hop_length}, band_count "
                f"{self.band_count}, excerpt_frames {self.excerpt_frames}: all must be positive and hop <= frame"
            )
        if not self.floor > 0:
            raise FeatureError(f"profile {self.name!r}: floor {self.floor} must be positive, its logarithm is taken")

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate_hz / self.hop_length

    @property
    def excerpt_seconds(self) -> float:
        """Seconds from the first to the last sample an excerpt's frames cover."""
        return self.sample_count(self.excerpt_frames) / self.sample_rate_hz

    @property
    def excerpt_shape(self) -> tuple[int, int]:
        return self.band_count, self.excerpt_frames

    @property
    def floor_value(self) -> float:
        return float(np.log(np.float32(self.floor)))

    @property
    def widest_window(self) -> int:
        return self.frame_length

    def frame_count(self, sample_count: int) -> int:
        """Whole frames in `sample_count` samples."""
        return max(0, 1 + (sample_count - self.frame_length) // self.hop_length)

    def sample_count(self, frame_count: int) -> int:
        """Samples that `frame_count` frames cover."""
        return self.frame_length + self.hop_length * (frame_count - 1)

    def frame_centres(self, frame_count: int) -> NDArray[np.int64]:
        """Sample index at the middle of each frame `[frames]`, where its label is read."""
        return np.arange(frame_count) * self.hop_length + self.frame_length // 2

    def filterbank(self) -> NDArray[np.float32]:
        """Triangular filters `[bins, bands]`, float32, read-only; each band's weights sum to 1."""
        return _mel_filterbank(self)

    def filterbank_checksum(self) -> str:
        """SHA-256 (hex) of the filterbank's little-endian float32 bytes."""
        return hashlib.sha256(self.filterbank().astype("<f4").tobytes()).hexdigest()

    def band_frequencies_hz(self) -> NDArray[np.float64]:
        return band_edges_hz(self.low_hz, self.high_hz, self.band_count)[1:-1]

    def spectrogram(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel `[frames, bands]`, float32, of `waveform` `[samples]`.

        Raises: FeatureError when the waveform is not one-dimensional or shorter than one frame.
        """
        require_waveform(self, waveform)
        filterbank = self.filterbank()
        mel = np.empty((self.frame_count(len(waveform)), self.band_count), np.float32)
        for frames, magnitude in magnitude_blocks(waveform, self.frame_length, self.hop_length):
            mel[frames] = magnitude @ filterbank
        return np.log(np.maximum(mel, np.float32(self.floor)))

    def excerpts(self, spectrogram: NDArray[np.float32], hop_frames: int) -> NDArray[np.float32]:
        """Every `hop_frames`-th excerpt `[N, bands, excerpt_frames]` of a spectrogram `[frames, bands]`.

        The excerpts are a read-only view. N is 0 when the spectrogram is shorter than one excerpt.
        """
        return excerpts_of(spectrogram, self.excerpt_shape, hop_frames)

    def magnitude(self, excerpt: NDArray[np.float32]) -> NDArray[np.float64]:
        """STFT magnitudes `[bins, frames]` whose log-mel is near `excerpt` `[bands, frames]`."""
        return np.maximum(_inverse_filterbank(self) @ np.exp(excerpt.astype(np.float64)), 0.0)

    def invert(self, excerpt: NDArray[np.float32], seed: int) -> "InvertedAudio":
        """Audio of a log-mel `[bands, frames]` by Griffin–Lim; see `inversion.invert_spectrogram`."""
        from earwitness.features.inversion import invert_spectrogram

        return invert_spectrogram(self, excerpt, seed)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "filterbank_sha256": self.filterbank_checksum()}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "LogMelProfile":
        """The profile that `to_dict`, or a person without a checksum, described.

        Raises: FeatureError when a parameter is missing or unknown, or when the filterbank built here is not the one
        that was written.
        """
        fields = dict(parameters)
        kind, checksum = fields.pop("kind", None), fields.pop("filterbank_sha256", None)
        if kind != cls.kind:
            raise FeatureError(f"feature kind is {kind!r}; this reader takes {cls.kind!r}")
        try:
            profile = cls(**fields)
        except TypeError as err:
            raise FeatureError(f"feature parameters {sorted(fields)} do not fit {cls.__name__}: {err}") from err
        if checksum is not None and checksum != profile.filterbank_checksum():
            raise FeatureError(
                f"profile {profile.name!r}: filterbank checksum is {checksum}, these parameters give "
                f"{profile.filterbank_checksum()}; the features were written by another version, export them again"
            )
        return profile


@lru_cache(maxsize=16)
def _mel_filterbank(profile: LogMelProfile) -> NDArray[np.float32]:
    edges = band_edges_hz(profile.low_hz, profile.high_hz, profile.band_count)
    weights = triangles(edges, profile.sample_rate_hz, profile.frame_length)
    totals = weights.sum(axis=0)
    if not totals.all():
        raise FeatureError(
            f"profile {profile.name!r}: band {int(np.argmin(totals))} covers no STFT bin; "
            f"use fewer bands than {profile.band_count} or a frame longer than {profile.frame_length}"
        )
    filterbank = np.asarray(weights / totals, dtype=np.float32)
    filterbank.setflags(write=False)
    return filterbank


@lru_cache(maxsize=16)
def _inverse_filterbank(profile: LogMelProfile) -> NDArray[np.float64]:
    """Pseudo-inverse `[bins, bands]` of the transposed filterbank."""
    return np.asarray(np.linalg.pinv(profile.filterbank().T.astype(np.float64)))


SPEECH_RATE_HZ = 16_000
SPEECH_HOP_LENGTH = 160

PROFILES: Mapping[str, FeatureProfile] = {
    profile.name: profile
    for profile in (
        LogMelProfile("log-mel-80@1"),
        PowerProfile("log-power-256@1", frame_length=256, excerpt_frames=100),
        PowerProfile("log-power-512@1", frame_length=512, excerpt_frames=100),
        PowerProfile("log-power-2048@1", frame_length=2048, excerpt_frames=400),
        MelProfile(
            "log-mel-80-16k@1", SPEECH_RATE_HZ, frame_length=512, hop_length=SPEECH_HOP_LENGTH, band_count=80,
            excerpt_frames=100, floor=1e-7,
        ),
        ConstantQProfile("log-cqt-84@1", excerpt_frames=100),
        WaveformProfile("waveform-16k@1", SPEECH_RATE_HZ, excerpt_frames=SPEECH_RATE_HZ),
    )
}  # fmt: skip
"""Every profile this version knows by name; at 16 kHz the front ends of replay detectors, 100 frames a second, and
a second of sound itself."""

_KINDS: Mapping[str, "type[LogMelProfile | MelProfile | PowerProfile | ConstantQProfile | WaveformProfile]"] = {
    kind.kind: kind for kind in (LogMelProfile, MelProfile, PowerProfile, ConstantQProfile, WaveformProfile)
}

_EXCERPT_MARK = re.compile(r"-(\d+)f(?=@|$)")


def get_profile(name: str) -> FeatureProfile:
    """The profile of that name: a registered one, or as `with_excerpt_frames` names it.

    Raises: FeatureError naming the profiles there are.
    """
    if name in PROFILES:
        return PROFILES[name]
    mark = _EXCERPT_MARK.search(name)
    base = _EXCERPT_MARK.sub("", name)
    if mark is None or base not in PROFILES:
        raise FeatureError(
            f"feature profile {name!r} is unknown; known: {', '.join(sorted(PROFILES))}, each also with another number "
            "of frames in an excerpt, such as log-power-512-200f@1"
        )
    return with_excerpt_frames(PROFILES[base], int(mark[1]))


def with_excerpt_frames(profile: FeatureProfile, excerpt_frames: int) -> FeatureProfile:
    """The same front end with longer or shorter excerpts: `log-power-512@1` of 200 frames is `log-power-512-200f@1`.

    Raises: FeatureError when `excerpt_frames` is not positive.
    """
    if excerpt_frames == profile.excerpt_shape[1]:
        return profile
    base, at, version = _EXCERPT_MARK.sub("", profile.name).partition("@")
    name = f"{base}-{excerpt_frames}f{at}{version}"
    registered = PROFILES.get(f"{base}{at}{version}")
    if registered is not None and registered.excerpt_shape[1] == excerpt_frames:
        name = registered.name
    return profile_from_dict({**profile.to_dict(), "name": name, "excerpt_frames": excerpt_frames})


def profile_from_dict(parameters: Mapping[str, Any]) -> FeatureProfile:
    """The profile that some `to_dict` described, registered or not, e.g. from a bundle's metadata.

    Raises: FeatureError when its kind is unknown or its parameters do not fit.
    """
    kind = str(parameters.get("kind"))
    if kind not in _KINDS:
        raise FeatureError(f"feature kind is {kind!r}; known: {', '.join(sorted(_KINDS))}")
    return _KINDS[kind].from_dict(parameters)
