"""Talkers: espeak-ng voices that repeat themselves exactly, and recordings of one's own, checked before work begins."""

import numpy as np
import pytest
import soundfile

from earwitness.features.audio import AudioError
from earwitness.training.corpus import DatasetError
from earwitness.training.corpus.replay import REPLAY_SPLITS, ReplayConfig, SplitSize, build_replay_corpus
from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ
from earwitness.training.corpus.replay.speech import LONGEST_S, load_speech, save_speech, trimmed
from earwitness.training.corpus.replay.talkers import Talker, recorded_talkers, recordings_digest, voices

ONE = SplitSize(speakers=9, rooms=1, microphones=1, loudspeakers=1, genuine=1, spoof=1)
CONFIG = ReplayConfig(phrases=2, train=ONE, dev=ONE, eval=ONE)


@pytest.fixture
def recordings(tmp_path):
    """Five speakers with three files each, at 22.05 kHz: a burst of noise between silences."""
    for speaker in range(5):
        folder = tmp_path / "speech" / f"s{speaker}"
        folder.mkdir(parents=True)
        for take in range(3):
            rng = np.random.default_rng([speaker, take])
            burst = np.pad(0.1 * rng.standard_normal(11_025), 5_000)
            soundfile.write(folder / f"{take}.wav", burst, 22_050)
    return tmp_path / "speech"


def test_recordings_are_divided_by_speaker_and_built_into_a_corpus(recordings, tmp_path):
    talkers = recorded_talkers(recordings, CONFIG)
    names = [talker.name for split in REPLAY_SPLITS for talker in talkers[split]]
    assert sorted(names) == ["s0", "s1", "s2", "s3", "s4"]
    assert all(talker.phrases == 2 for talker in talkers["train"])
    built = build_replay_corpus(CONFIG, tmp_path / "corpus", speech=recordings)
    assert sum(split["trials"] for split in built.manifest["splits"].values()) == 5 * 2 * 2
    assert "recordings given" in built.manifest["sources"][0]
    assert not built.manifest["phrases"]
    digest = recordings_digest(talkers)
    soundfile.write(recordings / talkers["dev"][0].name / "0.wav", np.full(22_050, 0.1), 22_050)
    assert recordings_digest(talkers) != digest
    with pytest.raises(DatasetError, match="holds another corpus"):
        build_replay_corpus(CONFIG, tmp_path / "corpus", speech=recordings)


def test_recordings_that_cannot_be_used_are_left_out_and_named(recordings, tmp_path, caplog):
    for path in (recordings / "s1/0.wav", *(recordings / "s3").iterdir()):
        path.write_text("no audio")
    soundfile.write(recordings / "s2/0.aiff", np.ones(16_000), 16_000)
    talkers = recorded_talkers(recordings, CONFIG)
    files = {each.name: [path.name for path in each.recordings] for split in REPLAY_SPLITS for each in talkers[split]}
    assert files == {"s0": ["0.wav", "1.wav"], "s1": ["1.wav", "2.wav"], "s2": ["0.aiff", "0.wav"], "s4": files["s4"]}
    for name in ("s1/0.wav", "s3/0.wav"):
        assert f"left out: {recordings}/{name}: cannot be read as audio (it is text)" in caplog.text
    (recordings / "s 5").mkdir()
    soundfile.write(recordings / "s 5" / "0.wav", np.ones(1_000), 16_000)
    with pytest.raises(DatasetError, match="white space in 's 5'"):
        recorded_talkers(recordings, CONFIG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds 0 folders with audio"):
        recorded_talkers(tmp_path / "empty", CONFIG)


@pytest.mark.parametrize(
    ("count", "message"), [(16_000, "is silent; leave it out"), (1, "is shorter than 0.1 s; leave it out")]
)
def test_a_silent_or_tiny_recording_is_refused(tmp_path, count, message):
    soundfile.write(tmp_path / "nothing.wav", np.zeros(count), 16_000)
    with pytest.raises(AudioError, match=f"nothing.wav: {message}"):
        Talker("s", 1, (tmp_path / "nothing.wav",)).speak()


def test_silence_around_speech_goes_and_speech_has_one_level():
    burst = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    kept = trimmed(0.01 * np.pad(burst, (3_200, 4_800)))
    assert len(kept) == 16_000
    assert np.sqrt(np.mean(kept**2)) == pytest.approx(0.1)
    assert len(trimmed(np.tile(burst, 9))) == LONGEST_S * SAMPLE_RATE_HZ


def test_speech_is_stored_as_it_is(tmp_path):
    said = [np.arange(5, dtype=np.float32), np.ones(3, np.float32)]
    save_speech(said, tmp_path / "speech.npz")
    for stored, each in zip(load_speech(tmp_path / "speech.npz"), said, strict=True):
        np.testing.assert_array_equal(stored, each)


def test_voices_have_the_same_phrases():
    for split in REPLAY_SPLITS:
        assert [talker.phrases for talker in voices(CONFIG)[split]] == [2] * 9
