"""Plans: splits share nothing they must not, both classes meet every channel, names tell kinds."""

from collections import Counter
from itertools import combinations

import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.corpus.replay import REPLAY_SPLITS, ReplayConfig, SplitSize
from earwitness.training.corpus.replay.codecs import CODECS
from earwitness.training.corpus.replay.devices import LOUDSPEAKER_KINDS, MICROPHONE_KINDS
from earwitness.training.corpus.replay.plan import (
    CODEC_SHARES,
    LOUDSPEAKER_SHARES,
    MICROPHONE_SHARES,
    ROOM_SHARES,
    Catalogue,
    Trial,
    plan_trials,
)
from earwitness.training.corpus.replay.rooms import KINDS
from earwitness.training.corpus.replay.talkers import voices


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.draw(ReplayConfig())


@pytest.fixture(scope="module")
def plans(catalogue) -> dict[str, list[Trial]]:
    config = ReplayConfig()
    return {split: plan_trials(config, catalogue, split, voices(config)[split]) for split in REPLAY_SPLITS}


def channels(trials: list[Trial], spoof: bool) -> dict[str, set[str]]:
    chosen = [trial for trial in trials if (trial.attack is not None) == spoof]
    return {
        "rooms": {trial.capture.room for trial in chosen},
        "microphones": {trial.capture.microphone for trial in chosen},
    }


def everything(trials: list[Trial]) -> set[str]:
    """Names of all rooms and devices that were used, the attackers' too."""
    captures = [trial.capture for trial in trials] + [trial.attack.capture for trial in trials if trial.attack]
    names = {name for capture in captures for name in (capture.room, capture.microphone)}
    return names | {trial.attack.loudspeaker for trial in trials if trial.attack}


def test_sizes_are_as_configured(plans):
    assert [len(plans[split]) for split in REPLAY_SPLITS] == [2_400, 1_000, 2_400]
    assert [sum(trial.attack is None for trial in plans[split]) for split in REPLAY_SPLITS] == [1_200, 500, 800]


@pytest.mark.parametrize(("one", "other"), list(combinations(REPLAY_SPLITS, 2)))
def test_no_speaker_is_in_two_splits(plans, one, other):
    assert not {trial.speaker for trial in plans[one]} & {trial.speaker for trial in plans[other]}


def test_eval_is_new_and_half_of_dev_is_known(plans, catalogue):
    train, dev, evaluation = (everything(plans[split]) for split in REPLAY_SPLITS)
    assert not evaluation & (train | dev)
    assert everything(plans["train"]) == {
        each.name
        for part in ("rooms", "microphones", "loudspeakers")
        for each in getattr(catalogue.pools["train"], part)
    }
    for spoof in (False, True):
        trials = [trial for trial in plans["dev"] if (trial.attack is not None) == spoof]
        known = [trial for trial in trials if everything([trial]) <= train]
        assert len(known) == len(trials) / 2
        assert not any(everything([trial]) & train for trial in trials if trial not in known)


@pytest.mark.parametrize("split", REPLAY_SPLITS)
def test_every_channel_and_every_utterance_is_in_both_classes_equally_often(plans, split):
    trials = plans[split]
    assert channels(trials, spoof=False) == channels(trials, spoof=True)
    classes = [[trial for trial in trials if (trial.attack is not None) == spoof] for spoof in (False, True)]
    assert len({frozenset((t.speaker, t.phrase) for t in chosen) for chosen in classes}) == 1
    for chosen in classes:
        said = Counter((trial.speaker, trial.phrase) for trial in chosen)
        assert len(set(said.values())) == 1
        heard = Counter(trial.capture.microphone for trial in chosen if split != "dev")
        assert not heard or max(heard.values()) - min(heard.values()) <= 1


def test_classes_are_mixed_and_files_numbered(plans):
    trials = plans["train"]
    assert [trial.file for trial in trials[:2]] == ["T_1000001.flac", "T_1000002.flac"]
    first = sum(trial.attack is None for trial in trials[:1_200])
    assert 500 < first < 700


def test_lines_have_the_seven_columns_and_kinds_in_their_names(plans):
    for split in REPLAY_SPLITS:
        for trial in plans[split]:
            file, key, speaker, phrase, *configuration = trial.line.split(" ")
            assert (file, speaker) == (trial.file, trial.speaker)
            assert phrase in {f"S{number:02d}" for number in range(1, 11)}
            if key == "genuine":
                assert configuration == ["-", "-", "-"]
                continue
            assert key == "spoof"
            kinds = [name.partition("-")[2] for name in configuration]
            assert [name[0] for name in configuration] == ["E", "P", "R"]
            assert kinds[0] in KINDS
            assert kinds[1] in LOUDSPEAKER_KINDS
            assert kinds[2] in MICROPHONE_KINDS


def test_shares_name_what_there_is():
    assert set(ROOM_SHARES) == set(KINDS)
    assert set(MICROPHONE_SHARES) == set(MICROPHONE_KINDS)
    for split in REPLAY_SPLITS:
        assert set(LOUDSPEAKER_SHARES[split]) == set(LOUDSPEAKER_KINDS)
        assert set(CODEC_SHARES[split]) <= {"", *CODECS}
        for shares in (LOUDSPEAKER_SHARES[split], CODEC_SHARES[split]):
            assert sum(shares.values()) == pytest.approx(1.0)
    assert set(CODEC_SHARES["eval"]) - set(CODEC_SHARES["train"]) - set(CODEC_SHARES["dev"])
    assert set(CODECS) == set(CODEC_SHARES["eval"]) - {""}


def test_attacks_keep_their_codecs_shares(plans):
    codecs = Counter(trial.attack.codec for trial in plans["train"] if trial.attack)
    assert {name: count / 1_200 for name, count in codecs.items()} == pytest.approx(CODEC_SHARES["train"], abs=0.01)


def test_another_seed_gives_other_devices_and_ways(catalogue, plans):
    config = ReplayConfig(seed=1)
    other = Catalogue.draw(config)
    assert other.microphones["R01-phone"] != catalogue.microphones["R01-phone"]
    assert plan_trials(config, other, "dev", voices(config)["dev"])[0] != plans["dev"][0]
    assert config.fingerprint(other.to_dict()) != ReplayConfig().fingerprint(catalogue.to_dict())


def test_a_split_of_one_device_of_each_kind_has_four_kinds_of_loudspeaker():
    drawn = Catalogue.draw(ReplayConfig.small())
    for split in REPLAY_SPLITS:
        assert {each.kind for each in drawn.pools[split].loudspeakers} == set(LOUDSPEAKER_KINDS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReplayConfig(phrases=11), "phrases: is 11; give 1 to 10"),
        (lambda: ReplayConfig(dev=SplitSize(0, 1, 1, 1)), "dev.speakers: is 0; give at least 1"),
        (lambda: ReplayConfig(dev=SplitSize(1, 1, 1, 1, borrowed_share=2)), "dev.borrowed_share: is 2"),
        (lambda: ReplayConfig(train=SplitSize(1, 1, 1, 1, borrowed_share=0.5)), "train.borrowed_share: must be 0"),
        (lambda: ReplayConfig.of_size("10"), "10 trials are too few: give at least 464"),
        (lambda: ReplayConfig.of_size("medium"), "size: is 'medium'; give small, full, or a number"),
        (lambda: ReplayConfig.of_size("-5"), "size: is '-5'"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_more_speakers_than_espeak_has_are_refused():
    with pytest.raises(InvalidArgument, match="valid_speakers: is 10000; espeak-ng gives this split"):
        voices(ReplayConfig(dev=SplitSize(10_000, 1, 1, 1)))


@pytest.mark.parametrize("trials", [464, 2_900, 11_600])
def test_sizes_scale(trials):
    config = ReplayConfig.of_size(str(trials))
    assert sum(map(config.trial_count, REPLAY_SPLITS)) == pytest.approx(trials, rel=0.1)
    assert Catalogue.draw(config).pools["eval"].loudspeakers
