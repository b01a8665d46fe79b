"""Codecs: really lossy, in time with what went in, and the same every time."""

import numpy as np
import pytest
from scipy import signal

from earwitness.training.corpus.replay.codecs import CODECS, through_codec
from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def babble() -> np.ndarray:
    """Noise in the speech band that comes and goes four times a second."""
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE_HZ + 37)
    band = signal.sosfilt(signal.butter(2, [200, 3_000], "band", fs=SAMPLE_RATE_HZ, output="sos"), noise)
    return band * (1.1 + np.sin(2 * np.pi * 4 * np.arange(len(band)) / SAMPLE_RATE_HZ))


@pytest.mark.parametrize("name", sorted(CODECS))
def test_a_codec_loses_something_but_neither_time_nor_length(name, babble):
    decoded = through_codec(babble, name)
    assert len(decoded) == len(babble)
    correlation = signal.correlate(decoded, babble, method="fft")
    assert abs(int(np.argmax(correlation)) - (len(babble) - 1)) <= 8
    likeness = correlation.max() / np.sqrt(np.sum(decoded**2) * np.sum(babble**2))
    assert 0.5 < likeness < 0.99999
    np.testing.assert_array_equal(decoded, through_codec(babble, name))


def test_telephone_codecs_keep_half_the_band(babble):
    wide = np.random.default_rng(1).standard_normal(SAMPLE_RATE_HZ)
    for name, codec in CODECS.items():
        power = np.abs(np.fft.rfft(through_codec(wide, name))) ** 2
        high = power[4_500:7_000].mean() / power[500:3_500].mean()
        assert (high < 1e-3) == (codec.rate_hz == 8_000), name
