"""Labelled spectrograms on disk: one array of 8-bit log-mel frames, one of labels, and the clips' offsets.

Every labelled corpus, synthetic or loaded from real recordings, is a `LabelledSpectrograms` to training and evaluation.

    <folder>/frames.npy   uint8 [total_frames, bands], quantised, memory-mapped
    <folder>/labels.npy   bool  [total_frames]
    <folder>/clips.json   profile, quantisation, and per clip: first frame, frame count, facts
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.arrays import DAMAGED, load
from earwitness.errors import EarwitnessError
from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.features.parameters import FeatureError
from earwitness.files import whole_file

LEVELS = 256
HIGHEST_LOG_MEL = 6.0
"""A full-scale sine gives ln(frame_length / 4) = 5.5 in the log-mel profile."""
COUNTED_FRAMES = 1 << 16
"""Frames whose levels are counted at once."""


class DatasetError(EarwitnessError):
    """A folder does not hold labelled spectrograms, or arrays do not fit each other."""

    code = "INVALID_ARGUMENT"
    reason = "DATASET_UNUSABLE"


@dataclass(frozen=True)
class Quantisation:
    """Uniform 8-bit quantisation of [`low`, `high`]; level 0 is exactly `low`, the profile's floor."""

    low: float
    high: float

    @property
    def step(self) -> float:
        """Distance of two levels; the error of a value inside the range is at most half of it."""
        return (self.high - self.low) / (LEVELS - 1)

    def quantise(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The nearest level of each value; values outside the range take its ends."""
        return np.asarray(np.rint((np.clip(values, self.low, self.high) - self.low) / self.step), dtype=np.uint8)

    def levels(self) -> NDArray[np.float32]:
        """Value of each level `[256]`, float32."""
        return np.linspace(self.low, self.high, LEVELS, dtype=np.float32)

    @classmethod
    def of_profile(cls, profile: FeatureProfile) -> Self:
        return cls(profile.floor_value, HIGHEST_LOG_MEL)


@dataclass(frozen=True)
class Clip:
    """One recording: `frame_count` frames from `first_frame`, and what is known of it (JSON-ready)."""

    first_frame: int
    frame_count: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class LabelledSpectrograms:
    """Quantised `frames` `[total_frames, bands]` uint8, `labels` `[total_frames]` bool, and the clips they form."""

    profile: FeatureProfile
    quantisation: Quantisation
    frames: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    clips: tuple[Clip, ...]

    def __post_init__(self) -> None:
        bands, _ = self.profile.excerpt_shape
        total = sum(clip.frame_count for clip in self.clips)
        if self.frames.shape != (total, bands) or self.labels.shape != (total,):
            raise DatasetError(
                f"frames {self.frames.shape} and labels {self.labels.shape} do not fit {len(self.clips)} clips of "
                f"{total} frames and {self.profile.name}'s {bands} bands; build the data again"
            )

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """The data in `folder`, frames memory-mapped.

        Raises: DatasetError when the folder is not complete, or what it holds cannot be read.
        """
        folder = Path(folder)
        try:
            stored = json.loads((folder / "clips.json").read_text())
            frames = np.load(folder / "frames.npy", mmap_mode="r")
            labels = load(folder / "labels.npy")
        except FileNotFoundError as err:
            raise DatasetError(
                f"{folder} holds no labelled spectrograms ({err.filename} is missing); build it"
            ) from err
        except (OSError, *DAMAGED) as err:
            raise DatasetError(f"{folder}: its files cannot be read ({err}); build the data again") from err
        try:
            clips = tuple(Clip(**clip) for clip in stored["clips"])
            profile, quantisation = profile_from_dict(stored["features"]), Quantisation(**stored["quantisation"])
        except (KeyError, TypeError, FeatureError) as err:
            raise DatasetError(
                f"{folder / 'clips.json'} does not describe such data ({err!r}); build the data again"
            ) from err
        return cls(profile, quantisation, frames, labels, clips)

    def save(self, folder: Path | str) -> None:
        """Writes the data so that `open` reads it; `clips.json` comes last and marks it complete.

        Arrays are replaced by a rename, so that those who have the old ones open keep them.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "clips.json").unlink(missing_ok=True)
        for name, array in (("frames", self.frames), ("labels", self.labels)):
            with whole_file(folder / f"{name}.npy") as partial, partial.open("wb") as file:
                np.save(file, array)
        body = {
            "features": self.profile.to_dict(),
            "quantisation": asdict(self.quantisation),
            "clips": [asdict(clip) for clip in self.clips],
        }
        (folder / "clips.json").write_text(json.dumps(body) + "\n")

    @property
    def label_share(self) -> float:
        """Share of all frames that are labelled."""
        return float(self.labels.mean())

    @property
    def frame_counts(self) -> Sequence[int]:
        """Frames of each clip."""
        return [clip.frame_count for clip in self.clips]

    def band_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each band over all frames, both `[bands]`; exact, from level counts."""
        bands = self.frames.shape[1]
        counts = np.zeros((bands, LEVELS), np.int64)
        for start in range(0, len(self.frames), COUNTED_FRAMES):
            codes = self.frames[start : start + COUNTED_FRAMES].astype(np.int64) + LEVELS * np.arange(bands)
            counts += np.bincount(codes.ravel(), minlength=LEVELS * bands).reshape(bands, LEVELS)
        values = self._values.astype(np.float64)
        mean = counts @ values / len(self.frames)
        variance = counts @ values**2 / len(self.frames) - mean**2
        # A band that never changes would be divided by zero; one quantisation step is the least that can be told apart.
        std = np.sqrt(np.maximum(variance, self.quantisation.step**2))
        return mean.astype(np.float32), std.astype(np.float32)

    def dequantise(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Spectrogram values of quantised ones, same shape, float32."""
        return self._values[levels]

    def spectrogram(self, clip: int) -> NDArray[np.float32]:
        """A whole clip `[frames, bands]`."""
        return self.dequantise(self.frames[self._range(clip)])

    def clip_labels(self, clip: int) -> NDArray[np.bool_]:
        """A whole clip's labels `[frames]`."""
        return self.labels[self._range(clip)]

    def excerpt(self, clip: int, start: int) -> NDArray[np.float32]:
        """The excerpt `[bands, frames]` that begins `start` frames into the clip.

        Raises: IndexError when it would leave the clip.
        """
        _, length = self.profile.excerpt_shape
        if not 0 <= start <= self.clips[clip].frame_count - length:
            raise IndexError(
                f"start {start}: clip {clip} has {self.clips[clip].frame_count} frames, an excerpt takes {length}"
            )
        first = self.clips[clip].first_frame + start
        return self.dequantise(self.frames[first : first + length]).T

    def require_excerpts(self) -> None:
        """Raises: DatasetError when no clip is as long as an excerpt."""
        len(self._starts)

    def random_excerpts(
        self, rng: np.random.Generator, count: int, recordings: Sequence[int] | None = None, *, dither: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`count` excerpts drawn uniformly: `[count, bands, frames]` and the label of each central frame `[count]`.

        With `recordings` they are of these clips alone.

        `dither` adds uniform noise of one quantisation step above the floor, so that no network can tell the stored
        data by their grid.
        """
        starts = self._starts if recordings is None else self._starts_of([self.clips[each] for each in recordings])
        levels, labels = self._gather(starts[rng.integers(len(starts), size=count)])
        if not dither:
            return self._values[levels], labels
        # One look-up for level and noise together: random bytes are far cheaper than random floats.
        noise = np.frombuffer(rng.bytes(levels.size), np.uint8).reshape(levels.shape)
        return self._dithered_values[levels.astype(np.uint16) << 8 | noise], labels

    def _gather(self, starts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Levels `[N, bands, frames]` and central labels `[N]` of the excerpts at `starts` `[N]`."""
        _, length = self.profile.excerpt_shape
        levels = np.ascontiguousarray(self.frames[starts[:, None] + np.arange(length)].transpose(0, 2, 1))
        return levels, self.labels[starts + length // 2].astype(np.float32)

    def _range(self, clip: int) -> slice:
        first = self.clips[clip].first_frame
        return slice(first, first + self.clips[clip].frame_count)

    @cached_property
    def _values(self) -> NDArray[np.float32]:
        return self.quantisation.levels()

    @cached_property
    def _dithered_values(self) -> NDArray[np.float32]:
        """Value of (level, noise byte) at index `level * 256 + byte`."""
        noise = self.quantisation.step * ((np.arange(256) + 0.5) / 256 - 0.5)
        values = self._values[:, None] + noise.astype(np.float32)
        values[0] = self._values[0]
        return values.ravel()

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return self._starts_of(self.clips)

    def _starts_of(self, clips: Sequence[Clip]) -> NDArray[np.int64]:
        """First frame of every excerpt that lies within one of the clips."""
        _, length = self.profile.excerpt_shape
        ranges = [
            np.arange(clip.first_frame, clip.first_frame + clip.frame_count - length + 1)
            for clip in clips
            if clip.frame_count >= length
        ]
        if not ranges:
            raise DatasetError(f"no clip has the {length} frames of an excerpt; build the data from longer recordings")
        return np.concatenate(ranges)
