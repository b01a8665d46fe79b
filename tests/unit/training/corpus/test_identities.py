"""Splits share no speaker, language, variant, track family or lead instrument, whatever the seed."""

from itertools import chain, combinations

import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.corpus import SPLITS, CorpusConfig
from earwitness.training.corpus.config import ENGINE_SHARES
from earwitness.training.corpus.identities import CHORD_INSTRUMENTS, LEADS, divide, programs, speakers
from earwitness.training.corpus.plan import plan_clips
from earwitness.training.corpus.recordings import split_tracks, tracks

VOICE_PRESETS = {52, 53, 54, 85, 91}
PAIRS = list(combinations(SPLITS, 2))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_splits_are_disjoint(one, other):
    for part in (lambda name: name, lambda name: name.split("+")[0], lambda name: name.split("+")[1]):
        assert not {part(name) for name in speakers(one, 50)} & {part(name) for name in speakers(other, 50)}
    assert not {track.family for track in split_tracks(one)} & {track.family for track in split_tracks(other)}
    for families in (LEADS, CHORD_INSTRUMENTS):
        assert not set(programs(families, one)) & set(programs(families, other))


def test_everything_is_used_and_nothing_sings_among_the_instruments():
    assert sum(len(split_tracks(split)) for split in SPLITS) == len(tracks()) == 28
    for families in (LEADS, CHORD_INSTRUMENTS):
        used = {program for split in SPLITS for program in programs(families, split)}
        assert used == {program for family in families for program in family}
        assert not used & VOICE_PRESETS


@pytest.mark.parametrize("count", [3, 5, 28])
def test_divide_is_a_partition(count):
    parts = [divide(range(count), split, "x") for split in SPLITS]
    assert sorted(chain(*parts)) == list(range(count))
    assert all(parts)


def test_more_speakers_than_there_are_is_refused():
    with pytest.raises(InvalidArgument, match="test_speakers: is 100000"):
        speakers("test", 100_000)


def test_plans_keep_to_their_split_and_shares():
    config = CorpusConfig(train_clips=400, valid_clips=100, test_clips=100)
    plans = {split: plan_clips(config, split) for split in SPLITS}
    assert not {p.speaker for p in plans["test"] if p.vocal} & {p.speaker for p in plans["train"] if p.vocal}
    assert "sinsy" in {p.engine for p in plans["test"]}
    assert "sinsy" not in {p.engine for p in plans["train"] + plans["valid"]}
    backings = {split: {p.backing_id for p in plans[split]} for split in SPLITS}
    assert not backings["train"] & backings["test"]
    assert not backings["train"] & backings["valid"]
    vocal = [p for p in plans["train"] if p.vocal]
    assert len(vocal) == pytest.approx(0.58 * 400, abs=1)
    assert sum(p.engine == "hibari" for p in vocal) == pytest.approx(
        ENGINE_SHARES["train"]["hibari"] * len(vocal), abs=3
    )
    assert sum(p.lead_program is not None for p in plans["train"]) / (400 - len(vocal)) == pytest.approx(0.5, abs=0.1)
    assert len({p.seed for split in SPLITS for p in plans[split]}) == 600


def test_another_seed_gives_other_songs_but_the_same_division():
    first, second = (plan_clips(CorpusConfig(seed=seed, test_clips=50), "test") for seed in (0, 1))
    assert [p.speaker for p in first] != [p.speaker for p in second]
    tracks_of_test = {track.name for track in split_tracks("test")}
    assert {p.backing_id for p in first + second if p.backing == "recording"} <= tracks_of_test


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocal_share": 1.5}, "vocal_share: is 1.5"),
        ({"test_clips": 0}, "test_clips"),
        ({"clip_seconds": 1.0}, "1.68 s"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(InvalidArgument, match=message):
        CorpusConfig(**change)


def test_scaled_keeps_the_proportions():
    scaled = CorpusConfig().scaled(1_005)
    assert (scaled.train_clips, scaled.valid_clips, scaled.test_clips) == (900, 45, 60)
