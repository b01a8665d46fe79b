"""Sound from log-mels: a sung-like tone survives the way there and back."""

import subprocess
import sys

import numpy as np
import pytest

from earwitness.features import get_profile

PROFILE = get_profile("log-mel-80@1")
FRAMES = 115


@pytest.fixture(scope="module")
def spectrogram() -> np.ndarray:
    """A harmonic tone with vibrato of half a semitone."""
    time = np.arange(1_024 + 315 * (FRAMES - 1)) / PROFILE.sample_rate_hz
    phase = 2 * np.pi * np.cumsum(220 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * time))) / PROFILE.sample_rate_hz
    waveform = 0.1 * sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 25))
    return PROFILE.spectrogram(waveform.astype(np.float32))


def test_round_trip_keeps_the_log_mel(spectrogram):
    inverted = PROFILE.invert(spectrogram.T, seed=0)
    assert inverted.waveform.dtype == np.float32
    assert np.abs(inverted.waveform).max() == pytest.approx(0.95)
    again = PROFILE.spectrogram(inverted.waveform / np.float32(inverted.gain))
    assert again.shape == spectrogram.shape
    loud = spectrogram > spectrogram.max() - 6
    assert np.corrcoef(again.ravel(), spectrogram.ravel())[0, 1] > 0.95
    assert np.abs(again - spectrogram)[loud].mean() < 0.5
    # The ends are as good as the middle: no frame is half outside the signal.
    assert np.abs(again - spectrogram)[[0, -1]].mean() < 1.5 * np.abs(again - spectrogram).mean()


def test_the_seed_decides(spectrogram):
    first, same, other = (PROFILE.invert(spectrogram[:20].T, seed).waveform for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_silence_stays_silent():
    inverted = PROFILE.invert(np.full((80, 5), PROFILE.floor_value, np.float32), seed=0)
    assert np.isfinite(inverted.waveform).all()
    assert np.abs(inverted.waveform / inverted.gain).max() < 1e-4


@pytest.mark.parametrize(
    "bad", [np.zeros((115, 80), np.float32), np.zeros(80, np.float32), np.zeros((80, 0), np.float32)]
)
def test_wrong_shapes_are_refused(bad):
    with pytest.raises(ValueError, match="needs \\(80, frames >= 1\\)"):
        PROFILE.invert(bad, seed=0)


def test_non_finite_values_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        PROFILE.invert(np.full((80, 3), np.nan, np.float32), seed=0)


def test_importing_features_loads_neither_librosa_nor_torch():
    code = (
        "import sys, earwitness.features; print(sorted({'librosa', 'torch', 'scipy', 'soundfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
