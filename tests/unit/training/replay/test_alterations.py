"""What alterations take from a sound whose parts are known, and what they leave."""

import numpy as np
import pytest

from earwitness.training.replay.alterations import ALTERATIONS

RATE_HZ = 16_000
TONES_HZ = (100, 1_000, 3_000, 5_000, 7_000)


def tones() -> np.ndarray:
    """A second of sines of equal level."""
    times = np.arange(RATE_HZ) / RATE_HZ
    return (0.1 * sum(np.sin(2 * np.pi * tone * times) for tone in TONES_HZ)).astype(np.float32)


def altered(name: str, waveform: np.ndarray) -> np.ndarray:
    found = ALTERATIONS[name].apply(waveform, RATE_HZ)
    assert found.dtype == np.float32
    return found


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("above-300-hz", (1_000, 3_000, 5_000, 7_000)),
        ("below-6-khz", (100, 1_000, 3_000, 5_000)),
        ("at-8-khz", (100, 1_000, 3_000)),
    ],
)
def test_a_band_is_taken_and_the_rest_left_as_it_is(name: str, kept: tuple[int, ...]) -> None:
    found = altered(name, tones())
    assert len(found) == RATE_HZ
    middle = slice(RATE_HZ // 4, 3 * RATE_HZ // 4)  # filters need a while at both ends
    spectrum = np.abs(np.fft.rfft(found[middle])) / (RATE_HZ // 4)
    for tone in TONES_HZ:
        assert spectrum[tone // 2] == pytest.approx(0.1 if tone in kept else 0.0, abs=2e-3)


def test_only_leading_silence_is_cut() -> None:
    rng = np.random.default_rng(0)
    hiss = (0.001 * rng.standard_normal(2_000)).astype(np.float32)
    whole = np.concatenate([hiss, tones(), hiss])
    np.testing.assert_array_equal(altered("no-leading-silence", whole), whole[1_920:])  # blocks of 160 samples
    silent = np.zeros(500, np.float32)
    np.testing.assert_array_equal(altered("no-leading-silence", silent), silent)


def test_gain_changes_nothing_but_the_level() -> None:
    whole = tones()
    np.testing.assert_allclose(altered("6-db-louder", whole), 1.99526 * whole, rtol=1e-5)
    np.testing.assert_allclose(altered("6-db-softer", altered("6-db-louder", whole)), whole, rtol=1e-5)


@pytest.mark.parametrize("name", list(ALTERATIONS))
@pytest.mark.parametrize("samples", [1, 40])
def test_whatever_is_left_is_a_sound(name: str, samples: int) -> None:
    found = altered(name, np.full(samples, 0.5, np.float32))
    assert len(found) >= 1
    assert np.isfinite(found).all()
