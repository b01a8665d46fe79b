"""The log-mel profile: its filterbank, its frames, its excerpts, and its JSON."""

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.features import PROFILES, LogMelProfile, MelProfile, get_profile, profile_from_dict, with_excerpt_frames
from earwitness.features.parameters import FeatureError

PROFILE = LogMelProfile("log-mel-80@1")


def tone(frequency_hz: float, seconds: float, amplitude: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * PROFILE.sample_rate_hz)) / PROFILE.sample_rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def test_each_band_sums_to_one_and_rises_and_falls_once():
    filterbank = PROFILE.filterbank()
    assert filterbank.shape == (513, 80)
    np.testing.assert_allclose(filterbank.sum(axis=0), 1.0, atol=1e-6)
    assert (filterbank >= 0).all()
    for band in filterbank.T:
        (nonzero,) = np.nonzero(band)
        assert (np.diff(nonzero) == 1).all()
        slopes = np.sign(np.diff(band[nonzero]))
        assert (np.diff(slopes[slopes != 0]) <= 0).all()


def test_centres_are_equally_spaced_in_mel_between_the_limits():
    frequencies = PROFILE.band_frequencies_hz()
    mel = 1127 * np.log(1 + frequencies / 700)
    np.testing.assert_allclose(np.diff(mel), np.diff(mel)[0])
    low, high = (1127 * np.log(1 + hz / 700) for hz in (27.5, 8000))
    assert mel[0] - low == pytest.approx(np.diff(mel)[0])
    assert high - mel[-1] == pytest.approx(np.diff(mel)[0])


@pytest.mark.parametrize("band", [5, 20, 40, 60, 79])
def test_a_tone_lands_in_its_band(band):
    spectrogram = PROFILE.spectrogram(tone(PROFILE.band_frequencies_hz()[band], 0.5))
    assert (spectrogram.argmax(axis=1) == band).all()


def test_spectrogram_is_the_formula():
    waveform = np.random.default_rng(0).standard_normal(4_000).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frame = waveform[3 * 315 : 3 * 315 + 1024].astype(np.float64)
    expected = np.log(np.abs(np.fft.rfft(frame * window)) @ PROFILE.filterbank().astype(np.float64))
    np.testing.assert_allclose(PROFILE.spectrogram(waveform)[3], expected, atol=1e-4)


def test_silence_is_the_floor():
    spectrogram = PROFILE.spectrogram(np.zeros(2_000, np.float32))
    assert spectrogram.dtype == np.float32
    assert (spectrogram == np.float32(PROFILE.floor_value)).all()
    assert PROFILE.floor_value == pytest.approx(np.log(1e-7))


def test_blocks_do_not_show(monkeypatch):
    waveform = np.random.default_rng(1).standard_normal(30_000).astype(np.float32)
    whole = PROFILE.spectrogram(waveform)
    monkeypatch.setattr("earwitness.features.spectral.BLOCK_SAMPLES", 7 * 1024)
    np.testing.assert_allclose(PROFILE.spectrogram(waveform), whole, atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(1_023, 0), (1_024, 1), (1_338, 1), (1_339, 2), (22_050, 67)])
def test_frame_count(samples, frames):
    assert PROFILE.frame_count(samples) == frames
    if frames:
        assert len(PROFILE.spectrogram(np.zeros(samples, np.float32))) == frames
        assert PROFILE.sample_count(frames) <= samples


def test_excerpt_is_1_7_seconds_long_at_70_frames_per_second():
    assert PROFILE.frames_per_second == 70.0
    assert PROFILE.excerpt_shape == (80, 115)
    assert PROFILE.excerpt_seconds == pytest.approx((1024 + 114 * 315) / 22_050)


def test_excerpts_are_bands_by_frames():
    spectrogram = np.random.default_rng(2).standard_normal((140, 80)).astype(np.float32)
    excerpts = PROFILE.excerpts(spectrogram, hop_frames=10)
    assert excerpts.shape == (3, 80, 115)
    np.testing.assert_array_equal(excerpts[2], spectrogram[20:135].T)
    assert PROFILE.excerpts(spectrogram[:100], hop_frames=1).shape == (0, 80, 115)
    with pytest.raises(InvalidArgument, match="hop_frames: is 0"):
        PROFILE.excerpts(spectrogram, hop_frames=0)


def test_it_is_the_mel_profile_whose_bands_sum_to_one():
    plain = MelProfile(
        "plain@1", 22_050, 1024, 315, 80, 115, low_hz=27.5, high_hz=8_000.0, power=1.0, band_norm="sum", padding="none",
        floor=1e-7,
    )  # fmt: skip
    waveform = np.random.default_rng(3).standard_normal(9_000).astype(np.float32)
    np.testing.assert_array_equal(plain.spectrogram(waveform), PROFILE.spectrogram(waveform))
    np.testing.assert_array_equal(plain.filterbank(), PROFILE.filterbank())
    excerpt = PROFILE.spectrogram(waveform).T
    np.testing.assert_array_equal(plain.magnitude(excerpt), PROFILE.magnitude(excerpt))
    assert profile_from_dict(plain.to_dict()) == plain


def test_the_json_in_bundles_stays_byte_for_byte():
    assert json.dumps(PROFILE.to_dict()) == (
        '{"kind": "log-mel", "name": "log-mel-80@1", "sample_rate_hz": 22050, "frame_length": 1024, "hop_length": 315, '
        '"band_count": 80, "low_hz": 27.5, "high_hz": 8000.0, "floor": 1e-07, "excerpt_frames": 115, '
        '"filterbank_sha256": "c222a82a217c05f6124e439b3f838756a24ad0fa24e06434ac8c76570b5cfdd8"}'
    )
    assert PROFILE.floor_value == -16.11809539794922
    with pytest.raises(FeatureError, match="feature parameters power are unknown"):
        profile_from_dict(PROFILE.to_dict() | {"power": 1.0})


def test_json_round_trip_rebuilds_an_unregistered_profile():
    other = replace(PROFILE, name="log-mel-40@1", band_count=40, excerpt_frames=60)
    assert profile_from_dict(json.loads(json.dumps(other.to_dict()))) == other


def test_from_dict_refuses_what_it_would_compute_differently():
    with pytest.raises(FeatureError, match="filterbank checksum"):
        profile_from_dict(PROFILE.to_dict() | {"low_hz": 30.0})
    with pytest.raises(FeatureError, match="feature kind is 'cqt'; known: constant-q, log-mel"):
        profile_from_dict({"kind": "cqt"})
    with pytest.raises(
        FeatureError,
        match="feature parameters colour are unknown; known: band_count, excerpt_frames, floor, frame_length",
    ):
        profile_from_dict(PROFILE.to_dict() | {"colour": "red"})


def test_get_profile_names_what_there_is():
    assert get_profile("log-mel-80@1") == PROFILE
    for name in ("log-mel-81@1", "log-mel-81-50f@1"):
        with pytest.raises(FeatureError, match=f"'{name}' is unknown; known: .*log-mel-80@1"):
            get_profile(name)


@pytest.mark.parametrize("shape", [(2, 3_000), (1_000,)])
def test_spectrogram_refuses_short_or_multichannel_audio(shape):
    with pytest.raises(FeatureError, match="at least 1024 samples"):
        PROFILE.spectrogram(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"high_hz": 12_000.0}, "high_hz is 12000.0; give at most 11025, half of sample_rate_hz"),
        ({"band_count": 0}, "band_count is 0; give a whole number from 1 up"),
        ({"hop_length": 1025}, "hop_length is 1025; give at most frame_length"),
        ({"power": 2.0}, "power is 2.0; it is 1.0 in every log-mel profile; use a MelProfile"),
        ({"floor": 0.0}, "floor is 0.0; give a positive number"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(FeatureError, match=message):
        replace(PROFILE, **change)


def test_too_many_bands_for_the_frame_are_refused():
    with pytest.raises(FeatureError, match="covers no STFT bin"):
        replace(PROFILE, frame_length=512, band_count=120).filterbank()


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_travels_and_is_what_its_name_says(name):
    profile = PROFILES[name]
    assert profile_from_dict(json.loads(json.dumps(profile.to_dict()))) == profile
    bands, frames = profile.excerpt_shape
    assert len(profile.band_frequencies_hz()) == bands
    noise = np.random.default_rng(0).standard_normal(profile.sample_count(frames)).astype(np.float32)
    spectrogram = profile.spectrogram(noise)
    assert spectrogram.shape == (frames, bands)
    assert (spectrogram.max(axis=0) > profile.floor_value + 1).all(), "a band that hears nothing"


def test_excerpts_of_another_length_are_the_same_front_end_under_a_name_that_says_so():
    profile = get_profile("log-power-512@1")
    longer = with_excerpt_frames(profile, 400)
    assert (longer.name, longer.excerpt_shape) == ("log-power-512-400f@1", (257, 400))
    assert get_profile("log-power-512-400f@1") == longer
    assert with_excerpt_frames(longer, 100) == profile
    assert with_excerpt_frames(profile, 100) is profile
    assert with_excerpt_frames(longer, 50).name == "log-power-512-50f@1"
    assert with_excerpt_frames(PROFILE, 60).excerpt_shape == (80, 60)
    with pytest.raises(FeatureError, match="excerpt_frames is 0"):
        with_excerpt_frames(profile, 0)


def test_the_rooms_readme_has_every_profile_with_its_excerpt():
    readme = files("earwitness.features").joinpath("README.md").read_text(encoding="utf-8")
    for name, profile in PROFILES.items():
        bands, frames = profile.excerpt_shape
        assert f"| `{name}` | {profile.sample_rate_hz} | {bands} × {frames} |" in readme
