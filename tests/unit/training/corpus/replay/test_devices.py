"""Microphones and loudspeakers: responses as described, distortion of both orders, noise at the level asked for."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ
from earwitness.training.corpus.replay.devices import (
    LOUDSPEAKER_KINDS,
    MICROPHONE_KINDS,
    Loudspeaker,
    Microphone,
    Peak,
    Response,
)

FLAT = Response(20.0, 2, 8_000.0, 2, ())


def gains_db(response: Response) -> np.ndarray:
    """At whole hertz."""
    impulse = np.zeros(SAMPLE_RATE_HZ)
    impulse[0] = 1.0
    return 20 * np.log10(np.abs(np.fft.rfft(response.apply(impulse))) + 1e-12)


def tone_powers(waveform: np.ndarray) -> np.ndarray:
    """Power at whole hertz of one second from the middle of `waveform`."""
    middle = len(waveform) // 2
    kept = waveform[middle - SAMPLE_RATE_HZ // 2 : middle + SAMPLE_RATE_HZ // 2]
    return np.abs(np.fft.rfft(kept)) ** 2


def test_a_response_cuts_and_resonates_where_it_says():
    response = Response(300.0, 2, 4_000.0, 4, (Peak(1_000.0, 6.0, 2.0),))
    gains = gains_db(response)
    assert gains[1_000] == pytest.approx(6.0, abs=0.3)
    assert gains[300] == pytest.approx(-3.0, abs=1.0)
    assert gains[4_000] == pytest.approx(-3.0, abs=1.0)
    assert gains[75] == pytest.approx(-24.0, abs=1.5)


def test_a_loudspeaker_distorts_with_even_and_odd_harmonics_and_no_alias():
    tone = np.sin(2 * np.pi * 3_000 * np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    low = np.sin(2 * np.pi * 500 * np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    speaker = Loudspeaker("P01-phone", "phone", FLAT, drive=1.5, asymmetry=0.2)
    powers = 10 * np.log10(tone_powers(speaker.play(low)) + 1e-12)
    assert powers[1_000] > powers[500] - 40
    assert powers[1_500] > powers[500] - 40
    # Without oversampling the third harmonic of 3 kHz would come back as 7 kHz.
    folded = 10 * np.log10(tone_powers(speaker.play(tone)) + 1e-12)
    assert folded[7_000] < folded[3_000] - 40
    linear = 10 * np.log10(tone_powers(replace(speaker, drive=0.01).play(low)) + 1e-12)
    assert linear[1_500] < linear[500] - 80


@pytest.mark.parametrize("kind", LOUDSPEAKER_KINDS)
def test_no_loudspeaker_turns_back_and_most_make_even_harmonics(kind):
    """Over all that is drawn, and a little beyond full scale, where oversampled peaks lie."""
    ranges, places = LOUDSPEAKER_KINDS[kind], np.linspace(-1.2, 1.2, 2_401)
    tone = np.sin(2 * np.pi * np.arange(1_024) / 1_024)
    for drive in np.linspace(*ranges.drive, 5):
        for asymmetry in np.linspace(*ranges.asymmetry, 5):
            speaker = Loudspeaker("P", kind, FLAT, float(drive), float(asymmetry))
            moved = speaker.displacement(places)
            assert (np.diff(moved) > 0).all()
            assert np.diff(moved)[1_200] * 1_000 == pytest.approx(1, abs=0.01), "nothing happens to what is soft"
            first, second = np.abs(np.fft.rfft(speaker.displacement(tone)))[1:3]
            assert asymmetry * drive / 8 <= second / first + 1e-9 <= asymmetry * drive / 2 + 2e-9
            limits = replace(speaker, drive=1e3).displacement(np.array([-1.0, 1.0])) * 1e3
            np.testing.assert_allclose(limits, [-1 / (1 + asymmetry), 1 / (1 - asymmetry)])


def test_a_loudspeaker_does_not_care_at_which_level_it_is_fed():
    waveform = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ)
    speaker = Loudspeaker.draw("P01-phone", "phone", np.random.default_rng(0))
    np.testing.assert_allclose(speaker.play(waveform), speaker.play(0.001 * waveform), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("snr_db", [20.0, 40.0])
@pytest.mark.parametrize("own_noise", [0.0, 0.5, 1.0])
def test_a_microphones_noise_lies_where_asked(snr_db, own_noise):
    rng = np.random.default_rng(0)
    microphone = Microphone("R01-phone", "phone", FLAT, own_noise)
    sound, noise = rng.standard_normal(SAMPLE_RATE_HZ), 7 * rng.standard_normal(SAMPLE_RATE_HZ)
    recorded = microphone.record(sound, noise, snr_db, rng)
    clean = FLAT.apply(sound)
    added = recorded - clean / np.sqrt(np.mean(clean**2))
    assert -10 * np.log10(np.mean(added**2)) == pytest.approx(snr_db, abs=0.3)


@pytest.mark.parametrize(
    ("kinds", "draw"), [(MICROPHONE_KINDS, Microphone.draw), (LOUDSPEAKER_KINDS, Loudspeaker.draw)]
)
def test_every_kind_is_drawn_within_its_ranges(kinds, draw):
    for kind, ranges in kinds.items():
        for seed in range(20):
            device = draw("X01", kind, np.random.default_rng(seed))
            assert ranges.low_cut_hz[0] <= device.response.low_cut_hz <= ranges.low_cut_hz[1]
            assert device.kind == kind
            assert np.isfinite(device.response.apply(np.ones(1_000))).all()


def test_better_loudspeakers_alter_speech_less():
    def roughness_db(kind: str) -> float:
        drawn = [Loudspeaker.draw("P", kind, np.random.default_rng(seed)) for seed in range(12)]
        return float(np.mean([np.std(gains_db(each.response)[200:7_000]) for each in drawn]))

    found = [roughness_db(kind) for kind in ("phone", "laptop", "portable", "hifi")]
    assert found == sorted(found, reverse=True)
