"""Random labelled segments for the classifier."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.training.augmentation import AugmentationConfig, Augmenter
from earwitness.training.corpus import LabelledSpectrograms
from earwitness.training.prepared import Batch, prepared

OUTPUT_STRIDE = 9
"""Frames between two outputs of SVDNet over one segment: its two poolings by 3."""


@dataclass(frozen=True)
class SegmentShape:
    """Segments of `excerpts` overlapping excerpts, each OUTPUT_STRIDE frames after the one before.

    One excerpt per segment is the published training; more of them share most of the convolutions' work, so an update
    learns from several labels for little more than the price of one.
    """

    excerpt_frames: int
    excerpts: int

    @property
    def frames(self) -> int:
        return self.excerpt_frames + OUTPUT_STRIDE * (self.excerpts - 1)

    def centres(self) -> NDArray[np.int64]:
        """Central frame of each excerpt within the segment, `[excerpts]`."""
        return self.excerpt_frames // 2 + OUTPUT_STRIDE * np.arange(self.excerpts)


class SegmentSampler:
    """Draws batches by number: batch i of a seed is the same however often, or by whom, it is drawn."""

    def __init__(
        self,
        data: LabelledSpectrograms,
        shape: SegmentShape,
        augmentation: AugmentationConfig,
        batch_size: int,
        seed: int,
    ) -> None:
        """Raises: InvalidArgument when no clip holds one segment, stretched to its longest."""
        self._data = data
        self._shape = shape
        self._augmenter = Augmenter(augmentation, data.profile.band_frequencies_hz(), data.profile.floor_value)
        self._batch_size = batch_size
        self._seed = seed
        self._length = augmentation.source_frames(shape.frames)
        longest = max(clip.frame_count for clip in data.clips)
        if longest < self._length:
            raise InvalidArgument(
                "corpus",
                f"its longest clip has {longest} frames, a segment needs {self._length}; use longer clips, "
                "fewer excerpts per segment or less stretch",
            )
        self._starts = np.concatenate(
            [
                np.arange(clip.first_frame, clip.first_frame + max(0, clip.frame_count - self._length + 1))
                for clip in data.clips
            ]
        )
        vocal_before = np.concatenate([[0], np.cumsum(data.labels)])
        voiceless = vocal_before[self._starts + self._length] == vocal_before[self._starts]
        self._voiceless_starts = self._starts[voiceless]
        self._mixes = augmentation.mix_share > 0 and len(self._voiceless_starts) > 0

    def batch(self, number: int) -> Batch:
        """Segments `[B, bands, frames]` and the labels of their excerpts' central frames `[B, excerpts]` (0 or 1)."""
        rng = np.random.default_rng((self._seed, number))
        starts = rng.choice(self._starts, self._batch_size)
        segments, positions = self._draw(rng, starts)
        if self._mixes:
            voiceless, _ = self._draw(rng, rng.choice(self._voiceless_starts, self._batch_size))
            segments = self._augmenter.mix(rng, segments, voiceless)
        segments = self._augmenter.mask(rng, segments)
        read_at = np.rint(positions[:, self._shape.centres()]).astype(np.int64)
        labels = self._data.labels[starts[:, None] + read_at].astype(np.float32)
        return torch.from_numpy(segments), torch.from_numpy(labels)

    def batches(self, first: int, last: int, workers: int) -> Iterator[Batch]:
        """Batches `first` ... `last − 1` in order, prepared ahead of their use by that many processes.

        0 workers prepare each batch when it is asked for. The numbers do not depend on `workers`.
        """
        return prepared(self, range(first, last), workers)

    def _draw(
        self, rng: np.random.Generator, starts: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        positions = self._augmenter.centre_positions(rng, len(starts), self._shape.frames)
        levels = self._data.frames[starts[:, None] + np.arange(self._length)]
        segments = self._data.dequantise(levels).transpose(0, 2, 1)
        return self._augmenter.apply(rng, segments, positions), positions
