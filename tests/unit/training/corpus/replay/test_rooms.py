"""Rooms: the direct sound where it should be, reverberation as long as asked for, noise of the room's colour."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ
from earwitness.training.corpus.replay.rooms import BEFORE_DIRECT, EARLY_REACH_M, KINDS, SOUND_M_PER_S, Room, _images

OFFICE = Room("E01-office", "office", (4.2, 3.6, 2.6), (0.5, 0.4), 1.0, 50.0, 0.0)


def decay_time_s(response: np.ndarray) -> float:
    """Reverberation time from the backward integral of the energy, between -5 and -25 dB, after the direct sound."""
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    level_db = 10 * np.log10(energy / energy[BEFORE_DIRECT + 40])
    first, last = (int(np.argmax(level_db < limit)) for limit in (-5, -25))
    return 3 * (last - first) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("seed", range(3))
def test_the_direct_sound_is_the_loudest_of_a_near_source(kind, seed):
    rng = np.random.default_rng(seed)
    room = Room.draw("E01", kind, rng)
    response = room.impulse_response(0.1, rng)
    assert np.argmax(np.abs(response)) == pytest.approx(BEFORE_DIRECT, abs=1)
    assert response[BEFORE_DIRECT - 1 : BEFORE_DIRECT + 2].max() == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("t60_s", [0.2, 0.5, 0.8])
def test_sound_decays_in_the_time_asked_for(t60_s):
    room = replace(OFFICE, t60_s=(t60_s, t60_s))
    times = [decay_time_s(room.impulse_response(0.5, np.random.default_rng(seed))) for seed in range(5)]
    assert np.median(times) == pytest.approx(t60_s, rel=0.25)


def test_a_farther_source_has_more_reverberation_beside_its_direct_sound():
    near, far = (OFFICE.impulse_response(metres, np.random.default_rng(0)) for metres in (0.1, 1.0))
    assert np.sum(far[100:] ** 2) == pytest.approx(100 * np.sum(near[100:] ** 2), rel=0.5)


def test_early_and_late_sound_meet_at_one_level():
    room = replace(OFFICE, t60_s=(0.6, 0.6))
    responses = [room.impulse_response(0.3, np.random.default_rng(seed)) for seed in range(20)]
    count = len(min(responses, key=len))
    energy = np.mean([response[:count] ** 2 for response in responses], axis=0)
    meeting = round(EARLY_REACH_M / SOUND_M_PER_S * SAMPLE_RATE_HZ)
    width = 160
    before, after = energy[meeting - 2 * width : meeting - width].mean(), energy[meeting + width :][:width].mean()
    assert after / before == pytest.approx(np.exp(-6 * np.log(10) * 3 * width / SAMPLE_RATE_HZ / 0.6), rel=0.4)


def test_images_of_a_source_between_two_walls():
    offsets, bounces = _images(1.0, 0.0, 3.0)
    found = dict(zip(offsets.tolist(), bounces.tolist(), strict=True))
    assert {place: found[place] for place in (1.0, -1.0, 5.0, 7.0, -5.0)} == {1.0: 0, -1.0: 1, 5.0: 1, 7.0: 2, -5.0: 2}


def test_noise_has_the_rooms_colour_and_hum():
    quiet, humming = (
        replace(OFFICE, noise_slope=2.0, hum_level=level).noise(SAMPLE_RATE_HZ, np.random.default_rng(0))
        for level in (0.0, 0.8)
    )
    assert np.sqrt(np.mean(quiet**2)) == pytest.approx(1.0)
    power = np.abs(np.fft.rfft(quiet)) ** 2
    assert 10 * np.log10(power[400:600].mean() / power[4000:6000].mean()) == pytest.approx(20, abs=2)
    assert np.abs(np.fft.rfft(humming))[50] > 5 * np.abs(np.fft.rfft(quiet))[50]
