"""Melodies stay in key and in range, contours pass through the notes, syllables fill their notes."""

from itertools import pairwise

import numpy as np
import pytest

from earwitness.training.corpus.score import (
    MELODY_REACH,
    Note,
    PitchStyle,
    compose_melody,
    compose_song,
    midi_to_hz,
    pitch_contour,
)
from earwitness.training.corpus.syllables import Span, Syllable, find_syllables, hold, interpolate, sung_spans

PLAIN = PitchStyle(8.0, 0.9, vibrato_depth=0.0, vibrato_rate_hz=6.0, vibrato_delay_s=0.1, scoop=0.0, wander=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_melodies_are_in_key_in_range_and_in_order(seed):
    rng = np.random.default_rng(seed)
    song = compose_song(rng, 6.0)
    melody = compose_melody(rng, song, 60, 6.0)
    assert {note.midi % 12 for note in melody} <= song.pitch_classes
    assert all(abs(note.midi - 60) <= MELODY_REACH for note in melody)
    assert all(before.end_s <= after.start_s + 1e-9 for before, after in pairwise(melody))
    assert melody[-1].end_s <= 6.0 + 1e-9
    assert len(song.chords) * song.bar_s >= 6.0


def test_a_harmony_stays_in_the_scale():
    song = compose_song(np.random.default_rng(0), 6.0, tonic=0, minor=False)
    assert song.shifted_in_scale(Note(0, 1, 60), 2).midi == 64
    assert song.shifted_in_scale(Note(0, 1, 62), 2).midi == 65


def test_contour_settles_on_each_note():
    melody = (Note(0.0, 1.0, 60), Note(1.0, 1.0, 67))
    pitch = pitch_contour(melody, 200, 100.0, PLAIN, np.random.default_rng(0))
    assert pitch[90] == pytest.approx(60, abs=0.01)
    assert 60.5 < pitch[102] < 66.5
    assert pitch[190] == pytest.approx(67, abs=0.05)


def test_vibrato_has_its_rate_and_depth():
    style = PitchStyle(8.0, 0.9, vibrato_depth=0.5, vibrato_rate_hz=6.0, vibrato_delay_s=0.1, scoop=0.0, wander=0.0)
    pitch = pitch_contour((Note(0.0, 4.0, 60),), 400, 100.0, style, np.random.default_rng(0))[100:] - 60
    spectrum = np.abs(np.fft.rfft(pitch * np.hanning(300)))
    assert np.argmax(spectrum) * 100 / 300 == pytest.approx(6.0, abs=0.7)
    assert np.abs(pitch).max() == pytest.approx(0.5, abs=0.02)


def test_midi_to_hz():
    np.testing.assert_allclose(midi_to_hz(np.array([69.0, 81.0])), [440.0, 880.0])


def test_slurred_notes_share_a_syllable():
    melody = (Note(0.0, 1.0, 60), Note(1.0, 0.5, 62, slurred=True), Note(2.0, 1.0, 60))
    assert sung_spans(melody) == [Span(0.0, 1.5), Span(2.0, 3.0)]


@pytest.mark.parametrize("frames", [4, 10, 40, 300])
def test_hold_fills_any_length_inside_the_syllable(frames):
    syllable = Syllable(10, 14, 18, 25)
    positions = hold(syllable, frames, 2.0, np.random.default_rng(0))
    assert len(positions) == frames
    assert positions.min() >= 10
    assert positions.max() <= 24
    if frames == 300:
        held = (positions >= 14) & (positions <= 18)
        assert held.sum() >= 300 - 2 * (4 + 7) - 1


def test_interpolate_is_linear_and_holds_the_ends():
    rows = np.array([[0.0], [10.0], [20.0]], np.float32)
    np.testing.assert_allclose(interpolate(rows, np.array([0.5, 2.0, 3.0]))[:, 0], [5.0, 20.0, 20.0])


def test_syllables_are_found_around_energy_peaks():
    time = np.arange(0, 1, 0.01)
    energy_db = -30 + 25 * np.abs(np.sin(np.pi * 4 * time))
    syllables = find_syllables(energy_db, np.ones(100, bool), 0.01)
    assert len(syllables) == 4
    for number, syllable in enumerate(syllables):
        assert syllable.nucleus_start <= 12.5 + 25 * number <= syllable.nucleus_end + 1
        assert syllable.start < syllable.nucleus_start < syllable.nucleus_end < syllable.end
