"""Recordings that are judged as a whole, cut or repeated to the length that a network sees."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from earwitness.features.profile import FeatureProfile

Value = TypeVar("Value", np.float16, np.float32)


def utterance_spectrogram(profile: FeatureProfile, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Spectrogram `[frames, bands]` of an utterance `[samples]`, repeated as a whole when shorter than one frame.

    Raises: FeatureError when the waveform is empty or has several channels.
    """
    if waveform.ndim == 1 and 0 < len(waveform) < profile.sample_count(1):
        waveform = np.resize(waveform, profile.sample_count(1))
    return profile.spectrogram(waveform)


def recording_excerpts(
    profile: FeatureProfile, waveform: NDArray[np.float32], hop_frames: int, *, repeated: bool
) -> NDArray[np.float32]:
    """The excerpts `[N, bands, frames]` of a recording `[samples]`, one every `hop_frames` frames.

    One shorter than an excerpt has none (N is 0), or one that goes on from its beginning where it is to be `repeated`.
    """
    band_count, frame_count = profile.excerpt_shape
    if len(waveform) >= profile.sample_count(frame_count):
        return profile.excerpts(profile.spectrogram(waveform), hop_frames)
    if repeated and len(waveform):
        return cut_or_repeat(utterance_spectrogram(profile, waveform), frame_count)[np.newaxis]
    return np.empty((0, band_count, frame_count), np.float32)


def cut_or_repeat(spectrogram: NDArray[Value], window_frames: int, start: int = 0) -> NDArray[Value]:
    """`window_frames` frames from `start` on, `[bands, window_frames]`, of a spectrogram `[frames, bands]`.

    An utterance that ends before goes on from its first frame.

    Raises: ValueError when there is no frame to repeat, or `start` lies outside.
    """
    if not 0 <= start < len(spectrogram):
        raise ValueError(f"start: got {start}, expected one of the utterance's {len(spectrogram)} frames")
    return spectrogram[(start + np.arange(window_frames)) % len(spectrogram)].T
