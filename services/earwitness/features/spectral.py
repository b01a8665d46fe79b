"""What profiles share: frames and their padding, magnitudes, excerpts, and triangular filters on a mel scale."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument

BLOCK_SAMPLES = 1 << 22
"""Samples of the frames transformed at once: bounds the memory of an hour-long recording to tens of megabytes."""

MelScale = Literal["htk", "slaney"]
Padding = Literal["reflect", "constant", "none"]
PADDINGS: tuple[Padding, ...] = ("reflect", "constant", "none")
"""Frame t is centred on sample t·hop, the ends reflected or filled with zeros; or, with "none", it begins there."""

SLANEY_HZ_PER_MEL = 200 / 3
SLANEY_BREAK_HZ = 1_000.0
SLANEY_LOG_STEP = np.log(6.4) / 27
"""Slaney's scale is linear up to 1 kHz, then 27 steps to each factor of 6.4."""


def frame_blocks(
    samples: NDArray[np.float32], frame_length: int, hop_length: int, frame_count: int | None = None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The first `frame_count` frames (default: all) in blocks: which they are, and `[block, frame_length]`, a view."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame_length)[::hop_length][:frame_count]
    size = max(1, BLOCK_SAMPLES // frame_length)
    for start in range(0, len(frames), size):
        block = slice(start, min(start + size, len(frames)))
        yield block, frames[block]


def magnitude_blocks(
    waveform: NDArray[np.float32], frame_length: int, hop_length: int, window_length: int | None = None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The frames that a block covers and their magnitudes `[block, bins]`, float32, no padding at the ends.

    The Hann window has `window_length` samples in the middle of a frame (default: all of it).
    """
    window = hann_window(frame_length, window_length or frame_length)
    for block, frames in frame_blocks(np.ascontiguousarray(waveform, dtype=np.float32), frame_length, hop_length):
        yield block, np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32)


def padded(waveform: NDArray[np.float32], frame_length: int, padding: Padding) -> NDArray[np.float32]:
    """`waveform` `[samples]` with what the first and last frames need beyond its ends."""
    return waveform if padding == "none" else np.pad(waveform, frame_length // 2, mode=padding)


def fewest_samples(frame_count: int, frame_length: int, hop_length: int, padding: Padding) -> int:
    """The fewest samples whose padded frames are `frame_count`."""
    between = hop_length * (frame_count - 1)
    if padding == "none":
        return frame_length + between
    return max(between + frame_length % 2, frame_length // 2 + 1 if padding == "reflect" else 1)


def excerpts_of(
    spectrogram: NDArray[np.float32], excerpt_shape: tuple[int, int], hop_frames: int
) -> NDArray[np.float32]:
    """Every `hop_frames`-th excerpt `[N, bands, excerpt frames]`, a read-only view of `[frames, bands]`; N may be 0.

    Raises: InvalidArgument when `hop_frames` is not positive.
    """
    if hop_frames < 1:
        raise InvalidArgument("hop_frames", f"is {hop_frames}; give at least 1")
    if len(spectrogram) < excerpt_shape[1]:
        return np.empty((0, *excerpt_shape), np.float32)
    return np.lib.stride_tricks.sliding_window_view(spectrogram, excerpt_shape[1], axis=0)[::hop_frames]


def band_edges_hz(low_hz: float, high_hz: float, band_count: int, scale: MelScale = "htk") -> NDArray[np.float64]:
    """Edges `[bands + 2]` equally spaced in mel: band b rises from edge b, peaks at b + 1 and falls to b + 2."""
    limits = np.array([low_hz, high_hz])
    if scale == "htk":
        low, high = 1127 * np.log1p(limits / 700)
        return np.asarray(700 * np.expm1(np.linspace(low, high, band_count + 2) / 1127))
    break_mel = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL
    above = break_mel + np.log(np.maximum(limits, SLANEY_BREAK_HZ) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    low, high = np.where(limits < SLANEY_BREAK_HZ, limits / SLANEY_HZ_PER_MEL, above)
    mel = np.linspace(low, high, band_count + 2)
    exponential = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * np.maximum(mel - break_mel, 0))
    return np.where(mel < break_mel, mel * SLANEY_HZ_PER_MEL, exponential)


def triangles(edges_hz: NDArray[np.float64], sample_rate_hz: int, frame_length: int) -> NDArray[np.float64]:
    """Triangular filters `[bins, bands]` of height 1 over the bins of a frame."""
    bins = np.fft.rfftfreq(frame_length, 1 / sample_rate_hz)[:, None]
    rising = (bins - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins) / (edges_hz[2:] - edges_hz[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def hann_window(frame_length: int, window_length: int) -> NDArray[np.float32]:
    """A periodic Hann window `[frame_length]` of `window_length` samples in its middle, zeros around it."""
    hann = np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_length) / window_length), dtype=np.float32)
    before = (frame_length - window_length) // 2
    return np.pad(hann, (before, frame_length - window_length - before))
