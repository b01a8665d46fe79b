"""Labelled spectrograms in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.features import FeatureProfile
from earwitness.training.corpus import LabelledSpectrograms, Quantisation
from earwitness.training.corpus.dataset import Clip


def labelled(
    profile: FeatureProfile,
    spectrograms: Sequence[NDArray[np.float32]],
    labels: Sequence[NDArray[np.bool_]],
    facts: Sequence[Mapping[str, Any]],
) -> LabelledSpectrograms:
    """A clip of each of the spectrograms `[frames, bands]`, with their frame labels `[frames]`."""
    quantisation = Quantisation.of_profile(profile)
    counts = [len(spectrogram) for spectrogram in spectrograms]
    firsts = np.cumsum([0, *counts])
    clips = tuple(Clip(int(first), count, fact) for first, count, fact in zip(firsts[:-1], counts, facts, strict=True))
    frames = np.concatenate([quantisation.quantise(spectrogram) for spectrogram in spectrograms])
    return LabelledSpectrograms(profile, quantisation, frames, np.concatenate(labels), clips)
