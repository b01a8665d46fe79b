"""Sounds of one loudness, and pictures for dark pages."""

import io

import matplotlib.image
import numpy as np
import pytest
import soundfile

from earwitness.client.output.media import DARK_GROUND, DARK_INK, FADE_S, LOUDNESS_DB, dark_picture, levelled
from earwitness.features import get_profile, render_picture

RATE = 16000


def wav(waveform: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def heard(content: bytes) -> np.ndarray:
    waveform, rate = soundfile.read(io.BytesIO(content))
    assert rate == RATE
    return np.asarray(waveform)


def loudness_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform**2)))


@pytest.mark.parametrize("amplitude", [0.003, 0.1, 0.99])
def test_sounds_have_one_loudness_and_the_gain_is_told(amplitude: float) -> None:
    tone = amplitude * np.cos(np.arange(RATE) * 0.2)
    made = levelled(wav(tone))
    assert loudness_db(heard(made.wav)) == pytest.approx(LOUDNESS_DB, abs=0.02)
    assert made.gain_db == pytest.approx(LOUDNESS_DB - 20 * np.log10(amplitude / np.sqrt(2)), abs=0.1)


def test_both_ends_are_faded() -> None:
    made = heard(levelled(wav(np.full(RATE, 0.5))).wav)
    fade = round(FADE_S * RATE)
    assert fade == 80
    assert made[0] == 0
    assert made[fade // 2] == pytest.approx(made[RATE // 2] / 2, rel=0.01)
    np.testing.assert_allclose(made[fade:-fade], made[RATE // 2])
    np.testing.assert_allclose(made, made[::-1], atol=made.max() / fade)


def test_a_click_is_as_loud_as_its_peak_allows_and_silence_stays() -> None:
    click = np.zeros(RATE)
    click[RATE // 2] = 0.1
    made = levelled(wav(click))
    assert np.abs(heard(made.wav)).max() == pytest.approx(0.99, abs=0.001)
    assert loudness_db(heard(made.wav)) < LOUDNESS_DB
    silent = levelled(wav(np.zeros(50)))
    assert (silent.gain_db, heard(silent.wav).any()) == (0, False)
    assert len(heard(levelled(wav(np.ones(3) / 2)).wav)) == 3  # shorter than its fades


def test_a_dark_picture_has_a_dark_ground_and_the_same_spectrogram() -> None:
    profile = get_profile("log-mel-80@1")
    spectrogram = np.random.default_rng(0).standard_normal((80, 115)).astype(np.float32)
    light = render_picture(profile, spectrogram, "title")
    before, after = (matplotlib.image.imread(io.BytesIO(each))[..., :3] for each in (light, dark_picture(light)))
    assert after.shape == before.shape
    np.testing.assert_allclose(255 * after[0, 0], DARK_GROUND, atol=1)
    white, black = (before == 1).all(axis=-1), (before == 0).all(axis=-1)
    assert white.mean() > 0.2
    np.testing.assert_allclose(255 * after[white], np.broadcast_to(DARK_GROUND, (white.sum(), 3)), atol=1)
    np.testing.assert_allclose(255 * after[black], np.broadcast_to(DARK_INK, (black.sum(), 3)), atol=1)
    coloured = np.ptp(before, axis=-1) > 0.1
    assert coloured.mean() > 0.4
    np.testing.assert_allclose(after[coloured], before[coloured], atol=0.01)
