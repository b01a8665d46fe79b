"""Windows made one by one, which the sampler's must equal."""

import numpy as np
from numpy.typing import NDArray

from earwitness.features import cut_or_repeat
from earwitness.training.replay.windows import window_starts


def windows(spectrogram: NDArray[np.float32], window_frames: int, hop_frames: int | None = None) -> NDArray[np.float32]:
    """All windows `[N, bands, window_frames]` of a spectrogram `[frames, bands]`, as `window_starts` places them."""
    starts = window_starts(len(spectrogram), window_frames, hop_frames)
    return np.stack([cut_or_repeat(spectrogram, window_frames, int(start)) for start in starts])
