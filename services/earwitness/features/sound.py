"""The sound of spectrograms as files; libraries are loaded when first needed."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from earwitness.features.profile import FeatureProfile

AUDIO_SEED = 0
"""Griffin–Lim's first phases: fixed, so that the same spectrogram has the same sound."""


@dataclass(frozen=True)
class Audio:
    """A 16-bit mono WAV file and the factor that its samples were multiplied with."""

    wav: bytes
    gain: float


def render_audio(profile: "FeatureProfile", spectrogram: NDArray[np.float32]) -> Audio:
    """The sound of `spectrogram` [bands, frames], whose peak is brought near full scale."""
    import soundfile

    inverted = profile.invert(spectrogram, AUDIO_SEED)
    file = io.BytesIO()
    soundfile.write(file, inverted.waveform, inverted.sample_rate_hz, format="WAV", subtype="PCM_16")
    return Audio(file.getvalue(), inverted.gain)
