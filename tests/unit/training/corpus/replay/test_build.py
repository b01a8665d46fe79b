"""Building: equal bytes whatever the workers and interruptions, the published layout, nothing lost."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from earwitness.errors import InvalidArgument
from earwitness.training.corpus import DatasetError, open_corpus
from earwitness.training.corpus.replay import ReplayConfig, SplitSize, build_replay_corpus
from earwitness.training.corpus.replay.difficulty import measure_difficulty

TINY = ReplayConfig(
    phrases=1,
    train=SplitSize(speakers=1, rooms=1, microphones=1, loudspeakers=1, genuine=1, spoof=2),
    dev=SplitSize(speakers=1, rooms=1, microphones=1, loudspeakers=1, genuine=1, spoof=1),
    eval=SplitSize(speakers=1, rooms=1, microphones=1, loudspeakers=1, genuine=1, spoof=1),
)


class Interrupted(Exception):
    pass


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_interrupted_build_resumes_to_the_same_bytes_with_other_workers(tmp_path):
    def stop_at_the_second(stage, done, _total):
        if stage == "recordings" and done == 2:
            raise Interrupted

    whole = build_replay_corpus(TINY, tmp_path / "whole", workers=2)
    parts = tmp_path / "parts"
    with pytest.raises(Interrupted):
        build_replay_corpus(TINY, parts, workers=1, progress=stop_at_the_second)
    with pytest.raises(DatasetError, match=r"no complete corpus \(no manifest.json\)"):
        open_corpus(parts)
    calls = []
    build_replay_corpus(TINY, parts, workers=1, progress=lambda *call: calls.append(call))
    assert calls[0] == ("speakers", 3, 3)
    assert calls[1][1] >= 2
    assert calls[-1] == ("recordings", 7, 7)
    assert contents(parts) == contents(whole.folder)


def test_a_finished_corpus_is_not_built_again(small_replay_corpus):
    before = contents(small_replay_corpus.folder)
    again = build_replay_corpus(
        ReplayConfig.small(), small_replay_corpus.folder, progress=lambda *_: pytest.fail("worked")
    )
    assert again.manifest == small_replay_corpus.manifest
    assert contents(small_replay_corpus.folder) == before


def test_the_folder_is_laid_out_as_the_challenge_is_distributed(small_replay_corpus):
    folder = small_replay_corpus.folder
    for split, letter, kind, count in (("train", "T", "trn", 16), ("dev", "D", "trl", 16), ("eval", "E", "trl", 24)):
        protocol = folder / "protocol_V2" / f"ASVspoof2017_V2_{split}.{kind}.txt"
        lines = [line.split(" ") for line in protocol.read_text().splitlines()]
        assert len(lines) == count
        assert {len(line) for line in lines} == {7}
        files = sorted(path.name for path in (folder / f"ASVspoof2017_V2_{split}").iterdir())
        assert files == [line[0] for line in lines] == [f"{letter}_{1_000_001 + n}.flac" for n in range(count)]
        for name in files:
            info = soundfile.info(folder / f"ASVspoof2017_V2_{split}" / name)
            assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
            assert 1.0 < info.duration < 4.5


def test_the_manifest_tells_what_is_in_it(small_replay_corpus):
    manifest = small_replay_corpus.manifest
    assert (manifest["kind"], manifest["config"]) == ("replay", ReplayConfig.small().to_dict())
    assert [manifest["splits"][split]["genuine"] for split in ("train", "dev", "eval")] == [8, 8, 8]
    assert manifest["splits"]["eval"]["loudspeaker_kinds"] == {"hifi": 4, "laptop": 4, "phone": 4, "portable": 4}
    devices = {
        device["name"]: device
        for pool in manifest["catalogue"]["splits"].values()
        for part in ("rooms", "microphones", "loudspeakers")
        for device in pool[part]
    }
    trials = [json.loads(line) for line in (small_replay_corpus.folder / "trials.jsonl").read_text().splitlines()]
    assert len(trials) == 56
    assert {trial["capture"]["microphone"] for trial in trials} <= devices.keys()
    loudspeakers = [devices[trial["attack"]["loudspeaker"]] for trial in trials if trial["attack"]]
    assert len(loudspeakers) == 32
    assert all(each["drive"] > 0 and each["response"]["peaks"] for each in loudspeakers)


def test_files_have_the_level_that_was_planned(small_replay_corpus):
    trials = [json.loads(line) for line in (small_replay_corpus.folder / "trials.jsonl").read_text().splitlines()]
    for trial in trials[:16]:
        waveform, _ = soundfile.read(small_replay_corpus.folder / "ASVspoof2017_V2_train" / trial["file"])
        assert 10 * np.log10(np.mean(waveform**2)) == pytest.approx(trial["level_db"], abs=0.1)


def test_simple_classifiers_are_measured_by_split_and_kind(small_replay_corpus):
    figures = measure_difficulty(small_replay_corpus.folder)
    assert figures["spectrum"]["train"] < 0.1
    assert figures["spectrum by group"]["dev"].keys() == {
        "phone", "laptop", "portable", "hifi", "known to training", "new"
    }  # fmt: skip
    assert "known to training" not in figures["spectrum by group"]["eval"]


def test_another_corpus_is_kept_unless_forced_away(tmp_path):
    first = build_replay_corpus(TINY, tmp_path)
    before = contents(tmp_path)
    other = replace(TINY, seed=1)
    with pytest.raises(DatasetError, match=r"holds another corpus .* replace it with --force"):
        build_replay_corpus(other, tmp_path)
    assert contents(tmp_path) == before
    second = build_replay_corpus(other, tmp_path, force=True)
    assert second.manifest["fingerprint"] != first.manifest["fingerprint"]
    assert contents(tmp_path).keys() == before.keys()
    assert contents(tmp_path) != before


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="holds something else than a corpus of this kind"):
        build_replay_corpus(TINY, tmp_path, force=True)
    assert list(contents(tmp_path)) == ["thesis.tex"]


def test_a_corpus_of_another_kind_is_not_replaced(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "manifest.json").write_text(json.dumps({"fingerprint": "singing", "sources": []}))
    with pytest.raises(DatasetError, match="holds something else than a corpus of this kind"):
        build_replay_corpus(TINY, tmp_path, force=True)
    assert list(contents(tmp_path)) == ["manifest.json"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "corpus").write_text("")
    with pytest.raises(OSError, match="corpus"):
        build_replay_corpus(TINY, tmp_path / "corpus")


def test_workers_must_be_positive(tmp_path):
    with pytest.raises(InvalidArgument, match="workers: is 0"):
        build_replay_corpus(TINY, tmp_path, workers=0)
