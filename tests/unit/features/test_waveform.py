"""Waveform profiles: an explanation is its own sound, and its picture a spectrogram."""

import io
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from earwitness.features import (
    FeatureError,
    WaveformProfile,
    get_profile,
    profile_from_dict,
    recording_excerpts,
    render_audio,
    render_picture,
)

PROFILE = WaveformProfile("own@1", 16_000, excerpt_frames=4_000, scale=32_768)


def tone(samples: int, hz: float = 2_000) -> np.ndarray:
    return (0.25 * np.sin(2 * np.pi * hz * np.arange(samples) / 16_000)).astype(np.float32)


def test_samples_are_frames_of_one_band():
    waveform = tone(9_000)
    spectrogram = PROFILE.spectrogram(waveform)
    assert spectrogram.shape == (9_000, 1)
    np.testing.assert_array_equal(spectrogram[:, 0], waveform * 32_768)
    excerpts = recording_excerpts(PROFILE, waveform, 2_500, repeated=False)
    assert excerpts.shape == (3, 1, 4_000)
    np.testing.assert_array_equal(excerpts[2, 0], 32_768 * waveform[5_000:9_000])
    (repeated,) = recording_excerpts(PROFILE, waveform[:1_500], 2_500, repeated=True)
    np.testing.assert_array_equal(repeated[0, 1_500:3_000], 32_768 * waveform[:1_500])


def test_an_excerpt_is_its_own_sound():
    excerpt = PROFILE.spectrogram(tone(4_000)).T
    audio = render_audio(PROFILE, excerpt)
    heard, rate = soundfile.read(io.BytesIO(audio.wav), dtype="float32")
    assert rate == 16_000
    assert audio.gain == pytest.approx(0.95 / 0.25, rel=1e-3)
    np.testing.assert_allclose(heard / audio.gain, tone(4_000), atol=2**-16)


@pytest.mark.parametrize("samples", [4_000, 64_600, 400, 1])
def test_its_picture_is_a_spectrogram_with_the_tone_where_it_is(samples):
    profile = WaveformProfile("own@1", 16_000, samples, scale=32_768)
    pixels = np.asarray(Image.open(io.BytesIO(render_picture(profile, profile.spectrogram(tone(samples)).T, "tone"))))
    column = pixels[40:310, 280].astype(int)  # up the middle of the axes, 8 kHz at the top
    if samples >= 4_000:
        brightest = np.argmax(column[:, 0] + column[:, 1])
        assert 1 - brightest / len(column) == pytest.approx(2_000 / 8_000, abs=0.03)


def test_it_is_read_from_what_it_wrote_and_known_by_name():
    assert profile_from_dict(json.loads(json.dumps(PROFILE.to_dict()))) == PROFILE
    named = get_profile("waveform-16k-64600f@1")
    assert isinstance(named, WaveformProfile)
    assert named.excerpt_shape == (1, 64_600)
    assert named.floor_value == 0, "silence"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 0.0}, "scale is 0.0; give a positive number"),
        ({"excerpt_frames": 0}, "excerpt_frames is 0; give a whole number from 1 up"),
        ({"sample_rate_hz": 16e3}, "sample_rate_hz is 16000.0; give a whole number"),
        ({"hop_length": 160}, "hop_length are unknown"),
    ],
)
def test_wrong_parameters_are_named(change, words):
    with pytest.raises(FeatureError, match=words):
        profile_from_dict({**PROFILE.to_dict(), **change})


def test_only_finite_samples_of_one_channel_have_a_sound():
    with pytest.raises(ValueError, match=r"needs \(1, frames >= 1\)"):
        PROFILE.invert(np.zeros((2, 4_000), np.float32), 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        PROFILE.invert(np.full((1, 10), np.inf, np.float32), 0)
    with pytest.raises(FeatureError, match="one channel"):
        PROFILE.spectrogram(np.zeros((2, 10), np.float32))
