"""Feature profiles: named, versioned recipes from waveform to the spectrogram a network sees.

A profile is a frozen value with every parameter in it, so a served bundle carries its own (`to_dict`) and anyone can
rebuild the filterbank from it (`profile_from_dict`) without a second registry.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.features.constant_q import ConstantQProfile
from earwitness.features.log_mel import LogMelProfile
from earwitness.features.mel import MelProfile
from earwitness.features.parameters import FeatureError
from earwitness.features.power import PowerProfile
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
