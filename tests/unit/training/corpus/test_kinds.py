"""Kinds of voice and their imitations: rhythm, pitch, slices, stacks, beats; what is voice in them and what is not."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.corpus import SPLITS, CorpusConfig
from earwitness.training.corpus.audio import render_clips
from earwitness.training.corpus.beats import play_beat
from earwitness.training.corpus.chops import REPITCHED, chop
from earwitness.training.corpus.config import IMITATING, KIND_SHARES, VOICE_KINDS
from earwitness.training.corpus.flow import LONGEST_STEP_S, SUBDIVISIONS, ad_libs, compose_flow, compose_speech
from earwitness.training.corpus.foreground import IMITATIONS
from earwitness.training.corpus.imitation import resonate
from earwitness.training.corpus.layers import Part, stack_parts, stacked
from earwitness.training.corpus.plan import plan_clips
from earwitness.training.corpus.recordings import split_tracks
from earwitness.training.corpus.score import Note, PitchStyle, compose_song, pitch_contour

RATE_HZ = 22_050
SECONDS = 6.0
CONFIG = replace(CorpusConfig.with_kinds(), train_speakers=3, test_speakers=3, train_clips=400, test_clips=400)
SONGS = [compose_song(np.random.default_rng(seed), SECONDS) for seed in range(12)]


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float = 220.0, seconds: float = SECONDS) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32)


def test_a_corpus_of_singing_alone_keeps_its_fingerprint_and_another_has_one_of_its_own():
    # That of the corpus behind the shipped generators; a change of the recipe raises RECIPE_VERSION and changes it.
    assert CorpusConfig().fingerprint().startswith("8dc022477400")
    prints = [replace(CorpusConfig(), **{name: 0.2}).fingerprint() for name in KIND_SHARES]
    assert len({CorpusConfig().fingerprint(), CorpusConfig.with_kinds().fingerprint(), *prints}) == 8


def test_kinds_have_their_shares_and_do_not_move_what_was_planned_without_them():
    for split in SPLITS:
        plans, before = plan_clips(CONFIG, split), plan_clips(replace(CorpusConfig(), train_clips=400), split)
        assert {plan.kind for plan in before} <= {"sung", ""}
        assert [(p.vocal, p.lead_program) for p in plans[:100]] == [(p.vocal, p.lead_program) for p in before[:100]]
    plans = plan_clips(CONFIG, "train")
    kinds = Counter(plan.kind for plan in plans if plan.vocal)
    for kind in VOICE_KINDS:
        assert kinds[kind] / kinds.total() == pytest.approx(CONFIG.voice_shares[kind], abs=0.02)
    leads = [plan for plan in plans if plan.lead_program is not None]
    assert np.mean([plan.kind == IMITATING for plan in leads]) == pytest.approx(0.5, abs=0.12)
    # Beats tell nothing of the class.
    for vocal in (True, False):
        of_class = [plan for plan in plans if plan.vocal == vocal]
        assert np.mean([plan.backing == "beat" for plan in of_class]) == pytest.approx(0.25, abs=0.08)


def test_short_syllables_are_never_sinsys_and_company_is_of_the_same_split():
    speakers = {split: {s for p in plan_clips(CONFIG, split) for s in p.espeak_speakers} for split in SPLITS}
    assert not speakers["train"] & speakers["test"]
    test = plan_clips(CONFIG, "test")
    assert {plan.engine for plan in test if plan.kind in {"rapped", "spoken"}} == {"world"}
    assert {plan.engine for plan in test if plan.kind in {"chopped", "layered"}} == {"sinsy", "world"}
    assert any(plan.company for plan in test if plan.kind == "rapped")


@pytest.mark.parametrize("compose", [compose_flow, compose_speech])
def test_syllables_follow_each_other_as_fast_as_people_speak(compose):
    rates = []
    for seed, song in enumerate(SONGS):
        notes = compose(generator(seed), song, 55, SECONDS)
        assert all(note.duration_s > 0 and note.start_s >= 0 and note.end_s <= SECONDS + 1e-9 for note in notes)
        assert all(one.end_s <= other.start_s + 1e-9 for one, other in pairwise(notes))
        rates.append(len(notes) / sum(note.duration_s for note in notes))
    assert 3.0 < np.mean(rates) < 8.0
    assert np.max(rates) < 12.0


def test_rap_keeps_to_the_grid_of_the_beat():
    for seed, song in enumerate(SONGS):
        starts = np.array([note.start_s for note in compose_flow(generator(seed), song, 55, SECONDS)])
        steps = [song.beat_s / parts for parts in SUBDIVISIONS if song.beat_s / parts <= LONGEST_STEP_S]
        # Late by up to 30 ms, all syllables alike, and loose by a few more.
        spreads = [np.abs(np.exp(2j * np.pi * starts / step).mean()) for step in steps]
        assert max(spreads) > 0.7


def test_ad_libs_answer_in_the_gaps():
    flow = (Note(0.0, 0.2, 50), Note(0.2, 0.2, 50), Note(2.0, 0.2, 50))
    song = SONGS[0]
    answers = [note for seed in range(8) for note in ad_libs(generator(seed), flow, song, SECONDS)]
    assert answers
    assert all(note.midi > 50 and not 0 <= note.start_s < 0.4 for note in answers)


def test_speech_falls_in_every_syllable_and_tuned_pitch_steps():
    melody = (Note(0.0, 1.0, 60), Note(1.0, 1.0, 64))
    fall = replace(PitchStyle.draw_spoken(generator(1)), fall=2.0, wander=0.0)
    spoken = pitch_contour(melody, 200, 100.0, fall, generator(1))
    assert spoken[80] == pytest.approx(58, abs=0.1)
    assert spoken[180] == pytest.approx(62, abs=0.1)
    tuned = pitch_contour(melody, 200, 100.0, PitchStyle.draw_tuned(generator(1)), generator(1))
    assert np.mean(np.abs(tuned - np.rint(tuned)) < 0.15) > 0.9


def test_chops_repeat_what_the_take_holds_moved_in_steps_and_leave_silence_between():
    song, melody = SONGS[1], tuple(Note(0.5 * place, 0.5, 57) for place in range(12))
    heard, silent = set(), []
    for seed in range(10):
        out = chop(tone(), RATE_HZ, melody, song, generator(seed))
        assert out.shape == tone().shape
        assert np.isfinite(out).all()
        silent.append(np.mean(np.abs(out) < 1e-6))
        spectrum = np.abs(np.fft.rfft(out[: 5 * RATE_HZ]))
        loudest = np.argmax(spectrum) / 5
        heard.add(min(REPITCHED, key=lambda each, hertz=loudest: abs(12 * np.log2(hertz / 220) - each)))
        assert min(abs(12 * np.log2(loudest / 220) - each) for each in REPITCHED) < 0.5
        np.testing.assert_array_equal(out, chop(tone(), RATE_HZ, melody, song, generator(seed)))
    assert 0.1 < np.mean(silent) < 0.8
    assert len(heard) > 1


def test_stacks_are_in_the_scale_begin_with_the_melody_and_stay_near_in_time_and_tune():
    song, performers = SONGS[2], set()
    (midi,) = song.scale_between(60, 60 + 11)[:1]
    melody = (Note(0.0, 1.0, midi), Note(1.0, 1.0, midi))
    for seed in range(20):
        parts = stack_parts(generator(seed), melody, song, 3)
        assert 3 <= len(parts) <= 5
        assert parts[0].performer == 0
        performers |= {part.performer for part in parts}
        assert {note.midi % 12 for part in parts for note in part.melody} <= {
            tone % 12 for tone in (*song.pitch_classes, *song.chord_at(0.0), *song.chord_at(1.0))
        }
    assert performers == {0, 1, 2}
    parts = [Part(melody, number) for number in range(4)]
    out = stacked(parts, lambda _: tone(), RATE_HZ, generator(0))
    assert out.shape == tone().shape
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    near = np.abs(np.fft.rfftfreq(len(out), 1 / RATE_HZ) - 220) < 220 * (2 ** (30 / 1200) - 1) + 1
    assert np.sum(spectrum[near] ** 2) > 0.99 * np.sum(spectrum**2)


def test_resonances_shape_the_voice_bands_and_add_nothing():
    noise = generator(0).standard_normal(len(tone())).astype(np.float32)
    for seed in range(4):
        out = resonate(noise, RATE_HZ, 0.5, generator(seed))
        assert out.shape == noise.shape
        power = np.abs(np.fft.rfft(out)) ** 2
        hertz = np.fft.rfftfreq(len(out), 1 / RATE_HZ)
        inside = power[(hertz > 250) & (hertz < 2_800)].mean()
        assert inside > 5 * power[hertz > 4_000].mean()
    assert not resonate(np.zeros_like(noise), RATE_HZ, 0.5, generator(0)).any()


def test_beats_are_busy_deep_and_equal_from_equal_seeds():
    track = split_tracks("train")[0]
    lows = []
    for seed in range(4):
        song, beat = play_beat(track, "train", SECONDS, RATE_HZ, generator(seed))
        again = play_beat(track, "train", SECONDS, RATE_HZ, generator(seed))[1]
        np.testing.assert_array_equal(beat, again)
        assert beat.shape == (int(SECONDS * RATE_HZ),)
        assert np.isfinite(beat).all()
        assert song.bar_s * len(song.chords) >= SECONDS
        power = np.abs(np.fft.rfft(beat)) ** 2
        lows.append(power[: int(120 * SECONDS)].sum() / power.sum())
    assert max(lows) > 0.1


@pytest.fixture(scope="module")
def clips():
    """The first clips of every kind of voice by hibari, one rapped and one layered by WORLD, and every imitation."""
    plans = plan_clips(CONFIG, "train")
    chosen = [next(p for p in plans if p.kind == kind and p.engine == "hibari") for kind in VOICE_KINDS]
    chosen += [next(p for p in plans if p.kind == kind and p.engine == "world") for kind in ("rapped", "layered")]
    chosen += [p for p in plans if p.kind == IMITATING][:16]
    return list(zip(chosen, render_clips(chosen, CONFIG), strict=True))


def test_every_kind_has_voice_and_no_imitation_has(clips):
    for plan, clip in clips:
        assert np.isfinite(clip.waveform).all()
        assert clip.vocal_frames.any() == plan.vocal
        assert clip.facts["kind"] == plan.kind
        assert clip.facts["vocal_fraction"] == pytest.approx(clip.vocal_frames.mean(), abs=1e-3)
    assert len({clip.facts["imitation"] for _, clip in clips} - {None}) >= 3
    assert {clip.facts["imitation"] for _, clip in clips} <= {None, *IMITATIONS}


def test_a_clip_of_any_kind_is_a_function_of_its_plan(clips):
    for plan, clip in (clips[1], clips[3], clips[-1]):
        (again,) = render_clips([plan], CONFIG)
        np.testing.assert_array_equal(again.waveform, clip.waveform)
        np.testing.assert_array_equal(again.vocal_frames, clip.vocal_frames)


def test_labels_of_chops_are_where_the_slices_sound(clips):
    fractions = {plan.kind: clip.vocal_frames.mean() for plan, clip in clips}
    assert fractions["chopped"] > 0.2
    assert 0.3 < fractions["rapped"] <= 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rapped_share": -0.1}, "rapped_share: is -0.1"),
        ({"beat_share": float("nan")}, "beat_share: is nan"),
        ({"rapped_share": 0.8, "layered_share": 0.3}, "shares add up to 1.1"),
    ],
)
def test_impossible_shares_are_refused(change, message):
    with pytest.raises(InvalidArgument, match=message):
        CorpusConfig(**change)
