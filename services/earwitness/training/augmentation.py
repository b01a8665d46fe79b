"""Augmentation of log-mel segments: stretch, shift, colour, level and a second accompaniment, all on spectrograms."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument

DB = float(np.log(10.0) / 20.0)
"""One decibel of magnitude in natural-log units."""


@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of the random changes; zeros everywhere leave the segments as they are.

    Source: Schlüter & Grill, ISMIR 2015, for stretch, shift and filter; SpecAugment (arXiv:1904.08779) for the masks.
    """

    stretch: float = 0.3
    """Time stretch within ± this share."""
    shift: float = 0.3
    """Pitch shift within ± this share of the frequency."""
    filter_db: float = 10.0
    """Peak of a Gaussian filter over log-frequency, within ±."""
    level_db: float = 6.0
    """Overall level, within ±."""
    mix_share: float = 0.4
    """Share of segments, of either class, that get a second voiceless segment on top."""
    mix_db: tuple[float, float] = (-12.0, 0.0)
    """Level of that segment relative to its own."""
    masked_bands: int = 8
    masked_frames: int = 12
    """Most neighbouring bands, and frames, that are blanked, each at one random place."""

    @classmethod
    def none(cls) -> Self:
        """Segments as they are."""
        return cls(stretch=0.0, shift=0.0, filter_db=0.0, level_db=0.0, mix_share=0.0, masked_bands=0, masked_frames=0)

    def __post_init__(self) -> None:
        if not (0 <= self.stretch < 1 and 0 <= self.shift < 1 and 0 <= self.mix_share <= 1):
            raise InvalidArgument(
                "augmentation",
                f"stretch {self.stretch}, shift {self.shift} and mix_share {self.mix_share} must be shares from 0 to 1",
            )

    def source_frames(self, frame_count: int) -> int:
        """Frames a segment needs before stretching to leave `frame_count` whatever the draw."""
        return int(np.ceil((frame_count - 1) * (1.0 + self.stretch))) + 1


class Augmenter:
    """Applies an AugmentationConfig to batches of log-mel segments of one frequency axis."""

    def __init__(self, config: AugmentationConfig, band_frequencies_hz: NDArray[np.float64], log_floor: float) -> None:
        self._config = config
        self._frequencies_hz = band_frequencies_hz
        self._log_floor = log_floor

    def centre_positions(self, rng: np.random.Generator, batch: int, frame_count: int) -> NDArray[np.float64]:
        """Random time axes `[batch, frame_count]`: where each output frame is read, in source frames.

        The middle of the output is the middle of `source_frames(frame_count)` frames.
        """
        source = self._config.source_frames(frame_count)
        factor = _symmetric(rng, self._config.stretch, batch)
        offsets = np.arange(frame_count) - (frame_count - 1) / 2
        return (source - 1) / 2 + offsets * (1.0 + factor[:, None])

    def apply(
        self, rng: np.random.Generator, segments: NDArray[np.float32], positions: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Segments `[B, bands, source]` read at `positions` `[B, frames]` → `[B, bands, frames]`, recoloured."""
        batch, bands, source = segments.shape
        in_time = interpolation(positions, source)
        ratio = 1.0 + _symmetric(rng, self._config.shift, batch)
        shifted_hz = self._frequencies_hz[None, :] / ratio[:, None]
        in_frequency = interpolation(np.interp(shifted_hz, self._frequencies_hz, np.arange(bands)), bands)
        moved = in_frequency.transpose(0, 2, 1) @ (segments @ in_time)
        moved += self._colour(rng, batch)[:, :, None]
        return np.maximum(moved, np.float32(self._log_floor), out=moved)

    def mix(
        self, rng: np.random.Generator, segments: NDArray[np.float32], voiceless: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Adds `voiceless` `[B, bands, frames]` by power to a random share of `segments`, of the same shape."""
        config = self._config
        chosen = rng.random(len(segments)) < config.mix_share
        gain = rng.uniform(*config.mix_db, size=(len(segments), 1, 1)) * DB
        loudness = segments.mean(axis=(1, 2), keepdims=True) - voiceless.mean(axis=(1, 2), keepdims=True)
        added = voiceless[chosen] + (loudness + gain)[chosen].astype(np.float32)
        mixed = segments.copy()
        mixed[chosen] = 0.5 * np.logaddexp(2.0 * segments[chosen], 2.0 * added)
        return mixed

    def mask(self, rng: np.random.Generator, segments: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blanks a run of bands and one of frames of each of `segments` `[B, bands, frames]` with its mean."""
        batch, bands, frames = segments.shape
        blank = _run(rng, batch, bands, self._config.masked_bands)[:, :, None]
        blank = blank | _run(rng, batch, frames, self._config.masked_frames)[:, None, :]
        return np.where(blank, segments.mean(axis=(1, 2), keepdims=True), segments)

    def _colour(self, rng: np.random.Generator, batch: int) -> NDArray[np.float32]:
        """Gaussian bump over log-frequency plus a level, `[batch, bands]`, natural-log units."""
        config = self._config
        octaves = np.log2(np.maximum(self._frequencies_hz, 1.0))
        centre = rng.uniform(np.log2(150.0), np.log2(8_000.0), size=(batch, 1))
        width = rng.uniform(0.4, 2.0, size=(batch, 1))
        peak = _symmetric(rng, config.filter_db, batch)[:, None] * DB
        level = _symmetric(rng, config.level_db, batch)[:, None] * DB
        colour = peak * np.exp(-0.5 * ((octaves - centre) / width) ** 2) + level
        return np.asarray(colour, dtype=np.float32)


def interpolation(positions: NDArray[np.float64], source: int) -> NDArray[np.float32]:
    """Linear interpolation at `positions` `[B, N]` of an axis of `source` samples, as matrices `[B, source, N]`.

    Positions outside are read at the nearest end; each column sums to 1.
    """
    clipped = np.clip(positions, 0, source - 1).astype(np.float32)
    distance = np.abs(np.arange(source, dtype=np.float32)[None, :, None] - clipped[:, None, :])
    weights: NDArray[np.float32] = np.maximum(1 - distance, 0)
    return weights


def _run(rng: np.random.Generator, batch: int, size: int, longest: int) -> NDArray[np.bool_]:
    """`[batch, size]`: true over 0 … `longest` neighbours that begin anywhere."""
    length = rng.integers(0, longest + 1, size=(batch, 1))
    place = np.arange(size) - rng.integers(0, size, size=(batch, 1))
    return (place >= 0) & (place < length)


def _symmetric(rng: np.random.Generator, limit: float, count: int) -> NDArray[np.float64]:
    return rng.uniform(-limit, limit, size=count)
