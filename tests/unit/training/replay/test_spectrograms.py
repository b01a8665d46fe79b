"""Stored spectrograms: the profile's own, computed once, and what is said of files that cannot be used."""

import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.features import PROFILES, AudioError, get_profile, load_audio
from earwitness.training.replay.spectrograms import stored_spectrograms
from earwitness.training.replay.utterances import Utterance
from tests.helpers.recordings import write_audio
from tests.helpers.spoofing import spoken
from tests.unit.training.replay.conftest import ListedCorpus

PROFILE = get_profile("log-power-512@1")


def test_frames_are_the_profiles_and_are_computed_once(dull_replays: ListedCorpus, tmp_path: Path) -> None:
    dev = dull_replays.utterances("dev")
    events: list[tuple[int, int]] = []
    data = stored_spectrograms(dev, PROFILE, tmp_path, progress=lambda done, total, text: events.append((done, total)))
    assert events[-1] == (8, 8)
    assert len(data) == 8
    assert data.genuine.tolist() == [utterance.genuine for utterance in dev]
    for index in (0, 7):
        expected = PROFILE.spectrogram(load_audio(dev[index].path, 16_000))
        np.testing.assert_allclose(data.spectrogram(index), expected, atol=0.01)
    mean, std = data.band_statistics()
    np.testing.assert_allclose(mean, data.frames.astype(np.float64).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(std, data.frames.astype(np.float64).std(axis=0), rtol=1e-3)

    again = stored_spectrograms(dev, PROFILE, tmp_path, progress=lambda *event: pytest.fail("computed again"))
    np.testing.assert_array_equal(again.frames, data.frames)
    (index,) = tmp_path.glob("*.json")
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / f"{index.stem}.f16.{socket.gethostname()}-{ended.pid}.part").touch()
    index.unlink()
    stored_spectrograms(dev, PROFILE, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "what a killed process left is removed"
    with_workers = stored_spectrograms(dev, PROFILE, tmp_path / "workers", workers=2)
    np.testing.assert_array_equal(with_workers.frames, data.frames)


@pytest.mark.parametrize("name", [name for name, each in PROFILES.items() if each.sample_rate_hz == 16_000])
def test_first_frames_only_are_the_same_frames(name: str, tmp_path: Path) -> None:
    profile = get_profile(name)
    kept = profile.excerpt_shape[1]
    utterances = []
    for seconds in (0.5, 1.0, 1.01, 4.01, 5.0):
        path = write_audio(tmp_path / f"{seconds}.wav", spoken(0, seconds), 16_000)
        utterances.append(Utterance(path.stem, path, True, "-"))
    whole = stored_spectrograms(utterances, profile, tmp_path)
    cut = stored_spectrograms(utterances, profile, tmp_path, kept_frames=kept)
    assert list(cut.frame_counts) == [min(kept, count) for count in whole.frame_counts]
    for index, count in enumerate(cut.frame_counts):
        # Products with another number of rows may round another way, to the next half-precision number.
        np.testing.assert_allclose(cut.spectrogram(index), whole.spectrogram(index)[:count], rtol=2**-10, atol=1e-3)


def test_altered_utterances_have_spectrograms_of_their_own(dull_replays: ListedCorpus, tmp_path: Path) -> None:
    dev = dull_replays.utterances("dev")
    plain = stored_spectrograms(dev, PROFILE, tmp_path)
    softer = stored_spectrograms(dev, PROFILE, tmp_path, alteration="6-db-softer")
    np.testing.assert_allclose(plain.frames[:20, :50] - softer.frames[:20, :50], 0.6 * np.log(10), atol=0.02)


def test_broken_files_are_named_all_at_once_and_nothing_is_left(dull_replays: ListedCorpus, tmp_path: Path) -> None:
    dev = list(dull_replays.utterances("dev"))
    (tmp_path / "empty.wav").write_bytes(b"")
    dev[1] = replace(dev[1], path=tmp_path / "gone.wav")
    dev[5] = replace(dev[5], path=tmp_path / "empty.wav")
    dev[6] = replace(dev[6], path=write_audio(tmp_path / "one.wav", spoken(0)[:1], 44_100))
    said = r"gone\.wav: no such audio file.*empty\.wav: cannot be read.*one\.wav: lasts less than a sample at 16000 Hz"
    with pytest.raises(AudioError, match=said):
        stored_spectrograms(dev, PROFILE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(InvalidArgument, match="utterances: got none"):
        stored_spectrograms([], PROFILE, tmp_path / "cache")
