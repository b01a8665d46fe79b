"""Sound from log-mels: a sung-like tone survives the way there and back."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from earwitness.features import get_profile
from earwitness.features.inversion import griffin_lim
from earwitness.features.spectral import hann_window

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


@pytest.mark.parametrize(("frame_length", "hop_length"), [(1024, 315), (512, 160), (401, 160), (64, 64)])
def test_a_signal_of_which_all_phases_are_found_comes_back(frame_length, hop_length):
    """With its true magnitudes, and many iterations, its own spectrogram is found again."""
    window = hann_window(frame_length, frame_length)
    time = np.arange(frame_length + hop_length * 30) / 8000
    signal = (np.sin(2 * np.pi * 440 * time) * np.exp(-2 * time)).astype(np.float32)

    def magnitude(waveform: np.ndarray) -> np.ndarray:
        return np.abs(np.fft.rfft(sliding_window_view(waveform, frame_length)[::hop_length] * window)).astype(
            np.float32
        )

    wanted = magnitude(signal)
    found = griffin_lim(wanted, window, hop_length, seed=0, iterations=200)
    assert found.shape == signal.shape
    assert found.dtype == np.float32
    assert np.linalg.norm(magnitude(found) - wanted) < 0.1 * np.linalg.norm(wanted)


def test_it_is_as_near_as_librosas(spectrogram):
    import librosa  # which takes seconds

    padded = np.pad(PROFILE.magnitude(spectrogram.T), ((0, 0), (2, 2)), mode="edge").astype(np.float32)
    window = hann_window(1024, 1024)
    ours = griffin_lim(padded.T, window, 315, seed=0, iterations=100)[512:-512]
    theirs = librosa.griffinlim(padded, n_iter=100, hop_length=315, n_fft=1024, random_state=0)

    def distance(waveform: np.ndarray) -> float:
        again = PROFILE.spectrogram(waveform[2 * 315 - 512 :])
        return float(np.abs(again - spectrogram[: len(again)]).mean())

    assert distance(ours) < 1.1 * distance(theirs)


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
