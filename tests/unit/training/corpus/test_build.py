"""Building: the same bytes whatever the workers and interruptions, a cache that knows its configuration, statistics."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.corpus import SPLITS, CorpusConfig, DatasetError, build_corpus, open_corpus


class Interrupted(Exception):
    pass


def test_an_interrupted_build_resumes_to_the_same_bytes_with_other_workers(small_corpus, tmp_path):
    def stop_after_two_shards(stage, done, _total):
        if stage == "clips" and done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        build_corpus(CorpusConfig.small(), tmp_path, workers=1, progress=stop_after_two_shards)
    with pytest.raises(DatasetError, match=r"no complete corpus \(no manifest.json\)"):
        open_corpus(tmp_path)
    calls = []
    resumed = build_corpus(CorpusConfig.small(), tmp_path, workers=1, progress=lambda *call: calls.append(call))
    assert calls[0] == ("speakers", 3, 3)
    first_clips = next(call for call in calls if call[0] == "clips")
    assert first_clips[1] >= 2
    assert calls[-1] == ("clips", 6, 6)
    assert resumed.manifest == json.loads((small_corpus.folder / "manifest.json").read_text())
    for split in SPLITS:
        for name in ("frames.npy", "labels.npy", "clips.json"):
            assert (tmp_path / split / name).read_bytes() == (small_corpus.folder / split / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "test", "train", "valid"]


def test_a_finished_corpus_is_not_built_again(small_corpus):
    before = (small_corpus.folder / "test" / "frames.npy").stat().st_mtime_ns
    again = build_corpus(CorpusConfig.small(), small_corpus.folder, progress=lambda *_: pytest.fail("worked"))
    assert again.manifest == small_corpus.manifest
    assert (small_corpus.folder / "test" / "frames.npy").stat().st_mtime_ns == before


def test_the_manifest_tells_what_is_in_it(small_corpus):
    config = CorpusConfig.small()
    assert small_corpus.manifest["fingerprint"] == config.fingerprint() != replace(config, seed=1).fingerprint()
    splits = small_corpus.manifest["splits"]
    assert splits["train"]["engines"].keys() == {"hibari", "world"}
    assert splits["test"]["engines"].keys() == {"sinsy", "world"}
    assert [splits[split]["clips"] for split in SPLITS] == [6, 2, 4]
    for split in SPLITS:
        assert 0.1 < splits[split]["vocal_fraction"] < 0.8
        assert small_corpus.open(split).profile == config.profile


def test_labels_follow_the_voice(small_corpus):
    for split in SPLITS:
        data = small_corpus.open(split)
        for number, clip in enumerate(data.clips):
            assert data.clip_labels(number).any() == clip.facts["vocal"]
            assert np.isfinite(data.spectrogram(number)).all()


def test_workers_must_be_positive(tmp_path):
    with pytest.raises(InvalidArgument, match="workers: is 0"):
        build_corpus(CorpusConfig.small(), tmp_path, workers=0)


def test_workers_end_with_a_killed_build(tmp_path):
    code = (
        "import sys; from earwitness.training.corpus import CorpusConfig, build_corpus\n"
        "build_corpus(CorpusConfig(), sys.argv[1], 1, lambda stage, done, _: done and print(stage, flush=True))\n"
    )
    build = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert build.stdout is not None
    with build, build.stdout:
        assert build.stdout.readline() == "speakers\n"
        build.kill()
    deadline = time.monotonic() + 20
    while session_members(build.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert session_members(build.pid) == []


def session_members(session: int) -> list[str]:
    """Processes of a session, from /proc: field 6 of stat, counted after the command in parentheses."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(stat.parent.name)
    return members
