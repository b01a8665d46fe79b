"""Which part of a recording an excerpt of its spectrogram is."""

import numpy as np
import pytest

from earwitness.client.excerpts import samples_of
from earwitness.features import get_profile

FIRST, COUNT, EDGE = 60, 50, 7
"""An excerpt, and how many frames at its ends may see what lies beyond it."""


@pytest.mark.parametrize("name", ["log-mel-80@1", "log-mel-80-16k@1", "log-power-256@1", "log-power-2048@1"])
def test_the_sound_of_an_excerpt_has_its_spectrogram(name: str) -> None:
    profile = get_profile(name)
    waveform = np.random.default_rng(0).standard_normal(2 * profile.sample_rate_hz).astype(np.float32)
    whole = profile.spectrogram(waveform)[FIRST : FIRST + COUNT]
    cut = profile.spectrogram(waveform[samples_of(profile, FIRST, COUNT)])
    assert cut.shape == whole.shape
    np.testing.assert_allclose(cut[EDGE:-EDGE], whole[EDGE:-EDGE], atol=1e-3)
