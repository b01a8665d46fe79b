"""Utterances cut and repeated to a length."""

import numpy as np
import pytest

from earwitness.features import cut_or_repeat, get_profile, utterance_spectrogram
from earwitness.features.parameters import FeatureError

COUNTING = np.arange(10, dtype=np.float32)[:, None] + np.array([0.0, 100.0], np.float32)
"""Ten frames of two bands; a value says its frame and band."""


def test_a_long_utterance_is_cut_and_a_short_one_repeated():
    np.testing.assert_array_equal(cut_or_repeat(COUNTING, 4), COUNTING[:4].T)
    np.testing.assert_array_equal(cut_or_repeat(COUNTING, 4, start=3), COUNTING[3:7].T)
    np.testing.assert_array_equal(cut_or_repeat(COUNTING, 23)[0], [*range(10), *range(10), 0, 1, 2])
    np.testing.assert_array_equal(cut_or_repeat(COUNTING[:1], 3)[1], [100, 100, 100])
    with pytest.raises(ValueError, match="start: got 0, expected one of the utterance's 0 frames"):
        cut_or_repeat(COUNTING[:0], 3)


@pytest.mark.parametrize("name", ["log-power-2048@1", "log-cqt-84@1", "log-mel-80-16k@1"])
def test_even_one_sample_has_a_spectrogram_and_none_has_not(name):
    profile = get_profile(name)
    spectrogram = utterance_spectrogram(profile, np.ones(1, np.float32))
    assert spectrogram.shape == (len(spectrogram), profile.excerpt_shape[0])
    assert len(spectrogram) >= 1
    for nothing in (np.zeros(0, np.float32), np.zeros((2, 9_000), np.float32)):
        with pytest.raises(FeatureError, match="one channel of at least"):
            utterance_spectrogram(profile, nothing)
