"""The mel profile of other people's networks: librosa's figures, its scales, its sound, and what it refuses."""

import json
from dataclasses import replace

import librosa
import numpy as np
import pytest

from earwitness.features import MelProfile, profile_from_dict
from earwitness.features.parameters import FeatureError

PROFILE = MelProfile(
    "birds@1", sample_rate_hz=16_000, frame_length=512, hop_length=160, band_count=64, excerpt_frames=96
)


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    """1.1 s of a harmonic glide with some noise."""
    time = np.arange(17_600) / 16_000
    tone = sum(np.sin(2 * np.pi * (300 + 100 * time) * time * harmonic) / harmonic for harmonic in range(1, 12))
    return (0.1 * tone + 0.001 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("band_norm", ["none", "slaney"])
@pytest.mark.parametrize(
    ("power", "window_length", "padding"), [(2, None, "reflect"), (1, 400, "constant"), (2, 400, "none")]
)
def test_agrees_with_librosa(waveform, mel_scale, band_norm, power, window_length, padding):
    profile = replace(
        PROFILE, mel_scale=mel_scale, band_norm=band_norm, power=power, window_length=window_length, padding=padding,
        low_hz=50.0, high_hz=7_000.0,
    )  # fmt: skip
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=512, hop_length=160, win_length=window_length, center=padding != "none",
        pad_mode="constant" if padding == "none" else padding,
        power=power, n_mels=64, fmin=50.0, fmax=7_000.0, htk=mel_scale == "htk",
        norm=None if band_norm == "none" else "slaney",
    )  # fmt: skip
    np.testing.assert_allclose(profile.spectrogram(waveform), np.log(np.maximum(mel, 1e-10)).T, atol=2e-3)


def test_floor_offset_and_scale(waveform):
    plain = PROFILE.spectrogram(waveform)
    scaled = replace(PROFILE, offset=-6.0, scale=4.0)
    np.testing.assert_allclose(scaled.spectrogram(waveform), (plain + 6) / 4, atol=1e-5)
    decibels = replace(PROFILE, scale=float(np.log(10) / 10))
    np.testing.assert_allclose(decibels.spectrogram(waveform), plain * 10 / np.log(10), atol=1e-3)
    added = replace(PROFILE, floor=1e-3, floor_added=True)
    np.testing.assert_allclose(added.spectrogram(waveform), np.log(np.exp(plain) + 1e-3), atol=1e-3)
    silence = np.zeros(2_000, np.float32)
    for profile in (scaled, decibels, added):
        np.testing.assert_allclose(profile.spectrogram(silence), profile.floor_value, rtol=1e-6)


@pytest.mark.parametrize(
    "profile",
    [
        PROFILE,
        replace(PROFILE, window_length=400, offset=-5.0, scale=3.0, floor_added=True),
        replace(PROFILE, padding="none", power=1, mel_scale="slaney", band_norm="slaney"),
        replace(PROFILE, frame_length=401, hop_length=101),
        replace(PROFILE, padding="constant"),
    ],
)
def test_fewest_samples_and_the_way_back(profile, waveform):
    for frames in (1, 2, 3, 40):
        samples = waveform[: profile.sample_count(frames)]
        assert len(profile.spectrogram(samples)) >= frames
        if frames > 3:
            assert len(profile.spectrogram(samples)) == frames
            assert len(profile.spectrogram(samples[:-1])) == frames - 1
    spectrogram = profile.spectrogram(waveform)
    inverted = profile.invert(spectrogram.T, seed=0)
    again = profile.spectrogram(inverted.waveform / np.float32(inverted.gain))
    assert again.shape == spectrogram.shape
    assert inverted.sample_rate_hz == 16_000
    loud = spectrogram > spectrogram.max() - 6 / profile.scale
    assert np.abs(again - spectrogram)[loud].mean() * profile.scale < 0.6


def test_travels_as_json():
    other = replace(PROFILE, low_hz=20, high_hz=None, scale=2)
    assert profile_from_dict(json.loads(json.dumps(other.to_dict()))) == other
    assert PROFILE.excerpts(np.zeros((200, 64), np.float32), 48).shape == (3, 64, 96)
    assert len(PROFILE.band_frequencies_hz()) == 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hop_length": 0}, "hop_length is 0; give a whole number"),
        ({"sample_rate_hz": "16000"}, "sample_rate_hz is '16000'; give a whole number"),
        ({"band_count": True}, "band_count is True"),
        ({"window_length": 513}, "window_length is 513; give at most frame_length"),
        ({"high_hz": 9_000}, "high_hz is 9000; give at most 8000"),
        ({"low_hz": 8_000}, "low_hz is 8000; give 0 <= low_hz < high_hz"),
        ({"power": 3}, "power is 3; give 1"),
        ({"mel_scale": "bark"}, "mel_scale is 'bark'; give 'htk'"),
        ({"band_norm": None}, "band_norm is None; give 'none'"),
        ({"padding": "zeros"}, "padding is 'zeros'; give 'reflect'"),
        ({"floor": 0}, "floor is 0; give a positive"),
        ({"scale": float("nan")}, "scale is nan; give a number"),
        ({"n_mels": 64}, "parameters n_mels are unknown; known: band_count"),
    ],
)
def test_refusals_name_the_parameter(changes, said):
    with pytest.raises(FeatureError, match=said):
        profile_from_dict(PROFILE.to_dict() | changes)


def test_missing_parameters_and_short_sounds_are_refused():
    with pytest.raises(FeatureError, match="band_count, excerpt_frames, frame_length, hop_length are missing"):
        profile_from_dict({"kind": "mel", "name": "x@1", "sample_rate_hz": 16_000})
    with pytest.raises(FeatureError, match="at least 257 samples"):
        PROFILE.spectrogram(np.zeros(256, np.float32))
