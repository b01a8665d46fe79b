"""Power profiles: scipy's and librosa's figures, second-long excerpts, the way back to sound, and what is refused."""

import json
from dataclasses import replace

import librosa
import numpy as np
import pytest
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from earwitness.features import PowerProfile, get_profile, profile_from_dict
from earwitness.features.parameters import FeatureError
from tests.helpers.speech import voice_like

NAMES = ["log-power-256@1", "log-power-512@1", "log-power-2048@1"]


@pytest.mark.parametrize(("name", "bands", "frames"), [*zip(NAMES, (129, 257, 1025), (100, 100, 400), strict=True)])
def test_a_second_is_a_hundred_frames(name, bands, frames):
    profile = get_profile(name)
    assert profile.excerpt_shape == (bands, frames)
    assert profile.frames_per_second == 100
    seconds = frames // 100
    assert profile.sample_count(frames) <= 16_000 * seconds
    assert profile.excerpts(profile.spectrogram(voice_like(seconds)), 1).shape == (2, bands, frames)
    np.testing.assert_allclose(profile.band_frequencies_hz()[[0, 1, -1]], [0, 8_000 / (bands - 1), 8_000])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("padding", ["reflect", "constant", "none"])
def test_agrees_with_librosa(name, padding):
    profile, waveform = replace(get_profile(name), padding=padding), voice_like(0.7)
    transform = librosa.stft(
        waveform, n_fft=profile.frame_length, hop_length=160, center=padding != "none",
        pad_mode="constant" if padding == "none" else padding,
    )  # fmt: skip
    expected = np.log(np.maximum(np.square(np.abs(transform.astype(np.complex128))), 1e-7)).T
    np.testing.assert_allclose(profile.spectrogram(waveform), expected, atol=2e-3)


def test_agrees_with_scipy():
    waveform = voice_like(0.5)
    window = hann(512, sym=False)
    frames = ShortTimeFFT(window, 160, 16_000).stft_detrend(waveform.astype(np.float64), None)
    # scipy's frames are centred on multiples of the hop, too; zeros lie beyond its ends.
    first = -ShortTimeFFT(window, 160, 16_000).p_min
    got = PowerProfile("x@1", frame_length=512, excerpt_frames=10, padding="constant").spectrogram(waveform)
    expected = np.log(np.maximum(np.square(np.abs(frames)), 1e-7)).T[first : first + len(got)]
    np.testing.assert_allclose(got, expected, atol=2e-3)


@pytest.mark.parametrize(("name", "worst"), [*zip(NAMES, (0.05, 0.15, 0.3), strict=True)])
def test_round_trip_keeps_the_spectrogram(name, worst):
    profile = get_profile(name)
    spectrogram = profile.spectrogram(voice_like(1.0))
    inverted = profile.invert(spectrogram.T, seed=0)
    assert np.abs(inverted.waveform).max() == pytest.approx(0.95)
    again = profile.spectrogram(inverted.waveform / np.float32(inverted.gain))
    assert again.shape == spectrogram.shape
    loud = spectrogram > spectrogram.max() - 6
    assert np.corrcoef(again.ravel(), spectrogram.ravel())[0, 1] > 0.9
    assert np.abs(again - spectrogram)[loud].mean() < worst


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_the_floor_and_stays_silent(name):
    profile = get_profile(name)
    spectrogram = profile.spectrogram(np.zeros(profile.sample_count(5), np.float32))
    assert len(spectrogram) >= 5
    assert (spectrogram == np.float32(profile.floor_value)).all()
    assert profile.floor_value == pytest.approx(np.log(1e-7))
    inverted = profile.invert(spectrogram[:5].T, seed=0)
    assert np.abs(inverted.waveform / inverted.gain).max() < 1e-3


def test_travels_as_json():
    profile = PowerProfile("mine@3", frame_length=400, excerpt_frames=50, hop_length=100, floor=1e-6, padding="none")
    assert profile_from_dict(json.loads(json.dumps(profile.to_dict()))) == profile


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frame_length": 0}, "frame_length is 0; give a whole number"),
        ({"frame_length": 100}, "frame_length is 100; give at least hop 160"),
        ({"excerpt_frames": 1.5}, "excerpt_frames is 1.5; give a whole number"),
        ({"floor": -1}, "floor is -1; give a positive"),
        ({"floor": float("inf")}, "floor is inf; give a number"),
        ({"padding": "edge"}, "padding is 'edge'; give one of reflect, constant, none"),
        ({"n_fft": 512}, "parameters n_fft are unknown; known: excerpt_frames, floor"),
    ],
)
def test_refusals_name_the_parameter(changes, said):
    with pytest.raises(FeatureError, match=said):
        profile_from_dict(get_profile("log-power-512@1").to_dict() | changes)


def test_missing_parameters_short_and_multichannel_sounds_are_refused():
    with pytest.raises(FeatureError, match="excerpt_frames, frame_length are missing; kind 'power'"):
        profile_from_dict({"kind": "power", "name": "x@1"})
    for shape in ((256,), (2, 1_000)):
        with pytest.raises(FeatureError, match="one channel of at least 257 samples"):
            get_profile("log-power-512@1").spectrogram(np.zeros(shape, np.float32))
