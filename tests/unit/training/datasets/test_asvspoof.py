"""ASVspoof 2017 in both layouts, read as it comes; and everything that can be wrong with it, told at once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.features import get_profile
from earwitness.training.corpus import DatasetError
from earwitness.training.datasets import (
    BrokenData,
    DataConfig,
    DataReport,
    check_data,
    import_data,
    open_spoofing_corpus,
)
from earwitness.training.datasets.asvspoof import UTTERANCE_SPLITS, read_spoofing_corpus
from tests.helpers.odd_audio import written
from tests.helpers.recordings import write_audio, write_jamendo
from tests.helpers.spoofing import RATE_HZ, SECONDS, made_corpus, spoken, write_version_1, write_version_2

PROFILE = get_profile("log-mel-80@1")


def check(path: Path, config: DataConfig | None = None) -> DataReport:
    return check_data(path, PROFILE, config or DataConfig())


def told(report: DataReport) -> set[tuple[str, str, str]]:
    return {(problem.severity, problem.code, problem.file) for problem in report.problems}


def messages(report: DataReport) -> dict[str, str]:
    return {problem.code: problem.message for problem in report.problems}


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_are_read_as_distributed(tmp_path: Path, version: int) -> None:
    root = (write_version_1, write_version_2)[version - 1](tmp_path)
    corpus = open_spoofing_corpus(root)
    assert (corpus.version, corpus.problems) == (version, ())
    assert corpus.sources == [f"ASVspoof 2017, version {version}"]
    for split, trials in made_corpus().items():
        assert corpus.trials(split) == trials
        assert [(each.id, each.genuine, each.speaker) for each in corpus.utterances(split)] == [
            (trial.id, trial.genuine, trial.speaker) for trial in trials
        ]
        assert all(each.path.is_file() for each in corpus.utterances(split))


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_wrong_with_sound_data(tmp_path: Path, version: int) -> None:
    report = check((write_version_1, write_version_2)[version - 1](tmp_path))
    assert (report.ok, report.kind, report.problems) == (True, f"asvspoof2017, version {version}", ())
    assert report.sample_rates == {RATE_HZ: 12}
    for summary in report.splits.values():
        assert (summary.files, summary.genuine, summary.spoof, summary.speakers) == (4, 2, 2, 2)
        assert summary.hours == pytest.approx(4 * SECONDS / 3600, abs=1e-4)
    assert set(report.splits) == set(UTTERANCE_SPLITS)


@pytest.mark.parametrize("columns", range(2, 8))
def test_flac_and_protocols_of_any_width(tmp_path: Path, columns: int) -> None:
    corpus = open_spoofing_corpus(write_version_2(tmp_path, suffix=".flac", columns=columns))
    first, second = corpus.utterances("eval")[:2]
    assert (first.path.suffix, first.genuine, second.genuine) == (".flac", True, False)
    assert first.speaker == ("-" if columns < 3 else "M0200")
    assert corpus.trials("eval")[1].playback == (None if columns < 6 else "P02")


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    root = write_version_2(tmp_path, per_split=12)
    train, dev = root / "ASVspoof2017_V2_train", root / "ASVspoof2017_V2_dev"
    (train / "T_1000001.wav").unlink()
    write_audio(train / "T_9.wav", spoken(900), RATE_HZ)
    write_audio(train / "T_1000002.wav", spoken(0)[:0], RATE_HZ)
    write_audio(train / "T_1000003.wav", spoken(901)[:1], RATE_HZ)
    soundfile.write(train / "T_1000004.wav", np.stack([spoken(902), spoken(903)], axis=1), RATE_HZ)
    write_audio(train / "T_1000005.wav", spoken(904, rate_hz=44_100), 44_100)
    write_audio(train / "T_1000006.wav", np.zeros(8000, np.float32), RATE_HZ)
    write_audio(train / "T_1000007.wav", np.full(8000, np.nan, np.float32), RATE_HZ)
    (train / "T_1000008.wav").write_text("not audio")
    for number in (1, 2):
        shutil.copy(train / "T_1000009.wav", dev / f"D_100000{number}.wav")
    shutil.copy(train / "T_1000010.wav", train / "T_1000011.wav")
    with (root / "protocol_V2/ASVspoof2017_V2_dev.trl.txt").open("a") as file:
        file.write("T_1000012.wav spoof M0005 S01 - - -\nD_1000003.wav genuine M0101 S01\nD_1000009.wav maybe\n")
    report = check(root)
    assert told(report) == {
        ("error", "missing-audio", "T_1000001.wav"),
        ("warning", "unlisted", "ASVspoof2017_V2_train/T_9.wav"),
        ("error", "undecodable", "ASVspoof2017_V2_train/T_1000002.wav"),
        ("error", "too-short", "ASVspoof2017_V2_train/T_1000003.wav"),
        ("warning", "channels", "ASVspoof2017_V2_train/T_1000004.wav"),
        ("warning", "sample-rate", "ASVspoof2017_V2_train/T_1000005.wav"),
        ("error", "silent", "ASVspoof2017_V2_train/T_1000006.wav"),
        ("error", "not-finite", "ASVspoof2017_V2_train/T_1000007.wav"),
        ("error", "undecodable", "ASVspoof2017_V2_train/T_1000008.wav"),
        ("error", "protocol-line", "protocol_V2/ASVspoof2017_V2_dev.trl.txt"),
        ("warning", "listed-twice", "protocol_V2/ASVspoof2017_V2_dev.trl.txt"),
        ("warning", "in-two-splits", ""),
        ("warning", "same-audio", ""),
        ("note", "shared-speakers", ""),
    }
    by_code = messages(report)
    assert by_code["too-short"] == "lasts 1 sample; no phrase is shorter than 0.1 s"
    assert by_code["protocol-line"] == "1 line: line 15: 'maybe' is neither genuine (bonafide) nor spoof"
    assert (
        by_code["same-audio"] == "1 recording under several names in one split: T_1000010 (train) = T_1000011 (train)"
    )
    across = [problem.message for problem in report.problems if problem.code == "in-two-splits"]
    assert across[0] == "1 trial in more than one split: T_1000012"
    assert across[1].startswith("2 recordings in more than one split, by content: ")
    assert "T_1000009 (train) = D_1000001 (dev) = D_1000002 (dev)" in across[1]
    assert not report.ok
    with pytest.raises(BrokenData, match=r"T_1000001\.wav: is in the protocol of train, but not among the audio"):
        open_spoofing_corpus(root)


def test_the_error_of_a_corpus_without_audio_is_a_line_to_read(tmp_path: Path) -> None:
    lists = tmp_path / "protocol_V2"
    lists.mkdir()
    for split, name in (("train", "train.trn"), ("dev", "dev.trl")):
        lines = "".join(f"{split[0].upper()}_{number}.wav spoof\n" for number in range(300))
        (lists / f"ASVspoof2017_V2_{name}.txt").write_text(lines)
    with pytest.raises(BrokenData) as raised:
        open_spoofing_corpus(tmp_path)
    assert len(raised.value.problems) == 601
    others = ", ".join(f"T_{number}.wav" for number in range(1, 21))
    assert str(raised.value) == (
        f"{tmp_path}: 601 errors: T_0.wav: is in the protocol of train, but not among the audio (likewise {others} and "
        "579 more); eval: its protocol is missing; see `earwitness data check`"
    )


@pytest.mark.parametrize(("key", "said"), [("genuine", "genuine"), ("spoof", "spoofs")])
def test_a_split_of_one_class_has_no_eer(tmp_path: Path, key: str, said: str) -> None:
    root = write_version_2(tmp_path, columns=2)
    protocol = root / "protocol_V2/ASVspoof2017_V2_eval.trl.txt"
    protocol.write_text("".join(f"{line.split()[0]} {key}\n" for line in protocol.read_text().splitlines()))
    report = check(root)
    assert messages(report) == {
        "one-class": f"eval: all 4 recordings are {said}; an equal error rate is not defined on them"
    }
    assert not report.ok


def test_an_evaluation_without_its_key_is_told(tmp_path: Path) -> None:
    root = write_version_1(tmp_path)
    (root / "protocol/ASVspoof2017_eval_v2_meta.trl.txt").unlink()
    key = root / "protocol/ASVspoof2017_eval_v2_key.trl.txt"
    key.write_text("".join(key.read_text().splitlines(keepends=True)[:3]))
    assert messages(check(root)) == {"missing-key": "eval: 1 trial without a key, left out: E_1000004.wav"}
    assert len(open_spoofing_corpus(root).trials("eval")) == 3
    key.unlink()
    report = check(root)
    assert messages(report)["missing-key"].startswith("eval: none of 4 trials has a key; put the key file beside")
    assert not report.ok


def test_lists_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    root = write_version_1(tmp_path)
    key = root / "protocol/ASVspoof2017_eval_v2_key.trl.txt"
    key.write_text(key.read_text().replace("E_1000001.wav genuine", "E_1000001.wav spoof") + "E_1000002 genuine\n")
    found = [(problem.severity, problem.message) for problem in read_spoofing_corpus(root).problems]
    assert found == [
        ("error", "1 trial both genuine and spoof: E_1000002"),
        ("error", "1 conflict: E_1000001.wav: genuine is True, and False in another list"),
    ]


def test_audio_of_the_same_name_is_that_of_the_split(tmp_path: Path) -> None:
    root = write_version_2(tmp_path)
    shutil.copytree(root / "ASVspoof2017_V2_dev", root / "other")
    assert {each.path.parent.name for each in open_spoofing_corpus(root).utterances("dev")} == {"ASVspoof2017_V2_dev"}
    (root / "ASVspoof2017_V2_dev").rename(root / "more")
    assert {problem.code for problem in read_spoofing_corpus(root).problems} == {"doubled-name"}


def test_a_missing_protocol_and_two_versions_in_one_folder(tmp_path: Path) -> None:
    root = write_version_2(tmp_path / "v2")
    (root / "protocol_V2/ASVspoof2017_V2_dev.trl.txt").unlink()
    assert messages(check(root))["missing-list"] == "dev: its protocol is missing"
    write_version_1(tmp_path / "v1")
    with pytest.raises(DatasetError, match="both versions of ASVspoof 2017"):
        check(tmp_path)
    with pytest.raises(DatasetError, match="no protocols of ASVspoof 2017"):
        check(write_jamendo(tmp_path / "songs"), DataConfig(kind="asvspoof2017"))
    with pytest.raises(DatasetError, match="no such folder"):
        check(tmp_path / "nowhere", DataConfig(kind="asvspoof2017"))


def test_the_fingerprint_tells_corpora_apart(tmp_path: Path) -> None:
    root = write_version_2(tmp_path / "a")
    fingerprint = open_spoofing_corpus(root).fingerprint
    moved = Path(shutil.copytree(root, tmp_path / "b"))
    assert open_spoofing_corpus(moved).fingerprint == fingerprint
    write_audio(moved / "ASVspoof2017_V2_eval/E_1000001.wav", spoken(7), RATE_HZ)
    assert open_spoofing_corpus(moved).fingerprint != fingerprint


def test_a_corpus_made_here_names_its_own_sources(tmp_path: Path) -> None:
    root = write_version_2(tmp_path)
    (root / "manifest.json").write_text(json.dumps({"sources": ["simulated rooms"]}))
    assert open_spoofing_corpus(root).sources == ["simulated rooms"]
    assert check(root).kind == "asvspoof2017, version 2"


def test_a_build_under_way_leaves_the_corpus_that_is_there_as_it_is(tmp_path: Path) -> None:
    root = write_version_2(tmp_path / "data")
    there = open_spoofing_corpus(root)
    shutil.copytree(root, tmp_path / "new")
    (tmp_path / "new").rename(root / ".build-0123456789abcdef")
    (root / "ASVspoof2017_V2_train/._T_1000001.wav").touch()
    assert open_spoofing_corpus(root) == there


@pytest.mark.parametrize("text", ["{}", "[]", '{"sources": 1}', "not JSON"])
def test_a_manifest_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    root = write_version_2(tmp_path)
    (root / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match=r"manifest\.json is no corpus manifest .* does not say the sources"):
        open_spoofing_corpus(root)


def test_it_cannot_be_imported_as_labelled_frames(tmp_path: Path) -> None:
    root = write_version_2(tmp_path / "data")
    with pytest.raises(DatasetError, match="one label each, genuine or spoof, make no corpus of labelled frames"):
        import_data(root, tmp_path / "corpus", PROFILE, DataConfig())
    assert not (tmp_path / "corpus").exists()


def test_a_cut_off_recording_is_an_error_and_named(tmp_path: Path) -> None:
    root = write_version_2(tmp_path)
    path = root / "ASVspoof2017_V2_eval/E_1000001.wav"
    path.write_bytes(written(tmp_path / "whole.wav", subtype="PCM_16")[:16_049])
    (tmp_path / "whole.wav").unlink()
    report = check_data(root, PROFILE, DataConfig())
    (found,) = [each for each in report.problems if each.severity == "error"]
    assert (found.code, found.file) == ("cut-off", "ASVspoof2017_V2_eval/E_1000001.wav")
    assert found.message.startswith("breaks off after 0.50 of the 3.00 s that its header tells")
