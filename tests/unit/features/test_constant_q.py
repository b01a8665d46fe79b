"""The constant-Q profile: its windows are librosa's, its figures near librosa's, its frames hop 160 exactly."""

import json
from dataclasses import replace

import librosa
import numpy as np
import pytest

from earwitness.features import ConstantQProfile, get_profile, profile_from_dict
from earwitness.features.parameters import FeatureError
from tests.helpers.speech import voice_like

PROFILE = get_profile("log-cqt-84@1")
FREQUENCIES_HZ = PROFILE.band_frequencies_hz()


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """librosa's windowed exponentials `[bands, samples]`, centred, at its own scale of length to the half."""
    basis, lengths = librosa.filters.wavelet(
        freqs=FREQUENCIES_HZ, sr=16_000, alpha=np.full(84, PROFILE._relative_width), norm=1, dtype=np.complex128
    )
    np.testing.assert_allclose(lengths, PROFILE.window_lengths(), rtol=1e-9)
    return basis * np.sqrt(lengths)[:, None]


def test_bands_are_librosas():
    np.testing.assert_allclose(FREQUENCIES_HZ, librosa.cqt_frequencies(84, fmin=librosa.note_to_hz("C1")), rtol=1e-6)
    assert PROFILE.excerpt_shape == (84, 100)
    assert PROFILE.frames_per_second == 100


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 16_000, 20_001])
def test_is_the_transform_of_librosas_windows_at_every_hop(windows, samples):
    waveform = voice_like(2.0)[:samples]
    spectrogram = PROFILE.spectrogram(waveform)
    assert spectrogram.dtype == np.float32
    assert len(spectrogram) == 1 + (samples - 1) // 160
    half = windows.shape[1] // 2
    around = np.pad(waveform.astype(np.float64), half)
    for frame in {0, len(spectrogram) // 2, len(spectrogram) - 1}:
        there = around[160 * frame : 160 * frame + 2 * half]
        expected = np.log(np.maximum(np.square(np.abs(windows.conj() @ there)), 1e-7))
        np.testing.assert_allclose(spectrogram[frame], expected, atol=2e-3)


def test_agrees_with_librosas_transform_up_to_its_resampling():
    waveform = voice_like(1.5)
    theirs = librosa.cqt(
        waveform, sr=16_000, hop_length=160, fmin=FREQUENCIES_HZ[0], n_bins=84, tuning=0.0, sparsity=0,
        res_type="soxr_vhq",
    )  # fmt: skip
    expected = np.log(np.maximum(np.square(np.abs(theirs)), 1e-7)).T
    got = PROFILE.spectrogram(waveform)
    assert expected.shape == (151, 84)
    assert len(got) == 150, "librosa adds a frame centred on the end of whole multiples of the hop"
    # Its filters between the octaves ring at the ends, where ours see plain zeros.
    loud = (got > got.max() - 6) & (np.abs(np.arange(150) - 75) < 50)[:, None]
    differences = np.abs(got - expected[:150])[loud]
    assert loud.sum() > 1_000
    assert differences.mean() < 0.04
    assert differences.max() < 0.3


@pytest.mark.parametrize("band", [12, 40, 70, 83])
def test_a_tone_lands_in_its_band(band):
    tone = 0.5 * np.sin(2 * np.pi * FREQUENCIES_HZ[band] * np.arange(16_000) / 16_000)
    assert (PROFILE.spectrogram(tone.astype(np.float32))[40:60].argmax(axis=1) == band).all()


def test_blocks_do_not_show(monkeypatch):
    waveform = voice_like(0.6)
    whole = PROFILE.spectrogram(waveform)
    monkeypatch.setattr("earwitness.features.spectral.BLOCK_SAMPLES", 1 << 16)
    np.testing.assert_allclose(PROFILE.spectrogram(waveform), whole, atol=5e-3)


def test_round_trip_keeps_the_spectrogram():
    spectrogram = PROFILE.spectrogram(voice_like(1.0))
    inverted = PROFILE.invert(spectrogram.T, seed=0)
    again = PROFILE.spectrogram(inverted.waveform / np.float32(inverted.gain))
    assert again.shape == spectrogram.shape
    loud = spectrogram > spectrogram.max() - 6
    assert np.corrcoef(again.ravel(), spectrogram.ravel())[0, 1] > 0.85
    assert np.abs(again - spectrogram)[loud].mean() < 0.4
    # Nothing is made up above the last band.
    spectrum = np.abs(np.fft.rfft(inverted.waveform))
    above = np.fft.rfftfreq(len(inverted.waveform), 1 / 16_000) > 5_000
    assert np.square(spectrum[above]).sum() < 1e-3 * np.square(spectrum).sum()


def test_silence_is_the_floor_and_stays_silent():
    spectrogram = PROFILE.spectrogram(np.zeros(800, np.float32))
    assert (spectrogram == np.float32(PROFILE.floor_value)).all()
    inverted = PROFILE.invert(spectrogram.T, seed=0)
    assert np.abs(inverted.waveform / inverted.gain).max() < 1e-2


def test_travels_as_json():
    other = replace(PROFILE, name="cqt-48@1", band_count=48, bands_per_octave=8, low_hz=50.0)
    assert profile_from_dict(json.loads(json.dumps(other.to_dict()))) == other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"band_count": 95}, "band_count is 95; the last band leaves half of sample_rate_hz"),
        ({"low_hz": 0}, "low_hz is 0; give a positive"),
        ({"hop_length": "160"}, "hop_length is '160'; give a whole number"),
        ({"floor": 0}, "floor is 0; give a positive"),
        ({"fmin": 30}, "parameters fmin are unknown"),
    ],
)
def test_refusals_name_the_parameter(changes, said):
    with pytest.raises(FeatureError, match=said):
        profile_from_dict(PROFILE.to_dict() | changes)
    with pytest.raises(FeatureError, match="at least 1 samples"):
        ConstantQProfile("x@1", excerpt_frames=1).spectrogram(np.zeros(0, np.float32))
