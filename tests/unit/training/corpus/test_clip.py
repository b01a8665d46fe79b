"""Labels, mixing and rendering of single clips."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.training.corpus import CorpusConfig, mixing
from earwitness.training.corpus.clip import render_clip, vocal_activity
from earwitness.training.corpus.plan import plan_clips
from earwitness.training.corpus.score import Note
from earwitness.training.corpus.sinsy import music_xml, score_pieces
from earwitness.training.corpus.soundfont import play_lead

CONFIG = CorpusConfig.small()
RATE_HZ = CONFIG.profile.sample_rate_hz


def no_voice(speaker):
    raise AssertionError(f"{speaker} was asked for")


def bursts(*intervals_s: tuple[float, float]) -> np.ndarray:
    voice = np.zeros(CONFIG.clip_samples, np.float32)
    for start, end in intervals_s:
        samples = np.arange(int(start * RATE_HZ), int(end * RATE_HZ))
        voice[samples] = np.sin(2 * np.pi * 220 * samples / RATE_HZ)
    return voice


def test_labels_mark_the_voice_to_a_frame_and_close_short_gaps():
    active = vocal_activity(bursts((1.0, 2.0), (2.15, 3.0), (4.0, 5.0)), CONFIG)
    seconds = CONFIG.profile.frame_centres(len(active)) / RATE_HZ
    edges = seconds[np.flatnonzero(np.diff(active.astype(int)))]
    np.testing.assert_allclose(edges, [1.0, 3.0, 4.0, 5.0], atol=0.04)


def test_clicks_and_silence_are_not_singing():
    assert not vocal_activity(bursts(), CONFIG).any()
    click = bursts((1.0, 3.0)) + bursts((4.0, 4.005))
    assert not vocal_activity(click, CONFIG)[int(3.5 * 70) :].any()


def test_balance_sets_the_ratio_over_the_sounding_voice():
    voice, backing = (
        bursts((1.0, 2.0)),
        np.random.default_rng(0).standard_normal(CONFIG.clip_samples).astype(np.float32),
    )
    mixed = mixing.balance(voice, backing, snr_db=6.0)
    scaled = mixed - backing / mixing.rms(backing)
    assert 20 * np.log10(mixing.active_rms(scaled)) == pytest.approx(6.0, abs=0.1)


def test_master_is_bounded_and_keeps_the_length():
    loud = 30 * np.random.default_rng(1).standard_normal(CONFIG.clip_samples).astype(np.float32)
    for seed in range(8):
        out = mixing.master(loud, RATE_HZ, np.random.default_rng(seed))
        assert out.dtype == np.float32
        assert out.shape == loud.shape
        assert np.isfinite(out).all()
        assert np.abs(out).max() < 1.3  # lossy coding may overshoot full scale


def test_vorbis_is_lossy_but_aligned():
    tone = 0.5 * bursts((0.0, 6.0))
    coded = mixing.vorbis(tone, RATE_HZ, 0.8)
    assert 0 < np.abs(coded - tone)[2_000:-2_000].mean() < 0.05


def test_a_clip_is_a_function_of_its_plan():
    plan = next(plan for plan in plan_clips(CONFIG, "train") if not plan.vocal)
    first, second = (render_clip(plan, CONFIG, no_voice) for _ in range(2))
    np.testing.assert_array_equal(first.waveform, second.waveform)
    assert first.waveform.shape == (CONFIG.clip_samples,)
    assert not first.vocal_frames.any()
    other = render_clip(replace(plan, seed=(9, 9, 9)), CONFIG, no_voice)
    assert not np.array_equal(first.waveform, other.waveform)


def test_a_sinsy_clip_sings_for_most_of_its_label():
    plan = next(plan for plan in plan_clips(CONFIG, "test") if plan.engine == "sinsy")
    clip = render_clip(plan, CONFIG, no_voice)
    assert clip.vocal_frames.mean() > 0.3
    assert clip.facts["vocal_fraction"] == pytest.approx(clip.vocal_frames.mean(), abs=1e-3)
    assert clip.facts["speaker"] == "nitech_jp_song070_f001"


def test_a_lead_follows_the_melody_and_its_vibrato():
    melody = (Note(0.0, 1.5, 69), Note(1.5, 1.5, 74))
    flute = play_lead(melody, 73, 3.0, RATE_HZ, np.random.default_rng(3))
    for note in melody:
        middle = flute[int((note.start_s + 0.5) * RATE_HZ) : int((note.start_s + 1.4) * RATE_HZ)]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))
        found = np.argmax(spectrum) * RATE_HZ / (1 << 17)
        octaves_off = np.log2(found / (440 * 2 ** ((note.midi - 69) / 12)))
        assert abs(octaves_off - round(octaves_off)) < 1.5 / 12


def test_scores_are_bars_of_equal_length():
    import xml.etree.ElementTree as ET

    melody = (Note(0.3, 0.4, 40), Note(0.9, 3.0, 62), Note(4.5, 0.05, 90))
    pieces = score_pieces(melody, 0.5)
    root = ET.fromstring(music_xml(pieces, ["ら"] * len(pieces), 0.5))
    for measure in root.iter("measure"):
        assert sum(int(duration.text) for duration in measure.iter("duration")) == 192
    octaves = {int(octave.text) for octave in root.iter("octave")}
    assert octaves <= {3, 4, 5}
