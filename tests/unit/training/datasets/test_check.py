"""A folder with everything wrong that can be: every finding by name, at once, and none where all is well."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.features import get_profile
from earwitness.training.datasets import DataConfig, DataReport, check_data, sorted_problems
from tests.helpers.odd_audio import written
from tests.helpers.recordings import (
    RATE_HZ,
    SECONDS,
    label_lines,
    sound,
    write_audio,
    write_jamendo,
    write_labelled,
)

PROFILE = get_profile("log-mel-80@1")
OGG_OPUS = {"format": "OGG", "subtype": "OPUS"}


def check(path: Path, config: DataConfig | None = None, segment_frames: int | None = None) -> DataReport:
    return check_data(path, PROFILE, config or DataConfig(), segment_frames=segment_frames)


def told(report: DataReport) -> set[tuple[str, str, str]]:
    return {(problem.severity, problem.code, problem.file) for problem in report.problems}


def add(root: Path, name: str, waveform: np.ndarray, labels: str, rate_hz: int = RATE_HZ) -> None:
    """One more recording for training."""
    write_audio(root / "audio" / name, waveform, rate_hz)
    (root / "labels" / name).with_suffix(".lab").write_text(labels)
    with (root / "filelists/train").open("a") as file:
        file.write(f"{name}\n")


def test_nothing_is_wrong_with_sound_data(tmp_path: Path) -> None:
    report = check(write_jamendo(tmp_path))
    assert (report.ok, report.kind, report.problems) == (True, "jamendo", ())
    assert report.sample_rates == {RATE_HZ: 6}
    for summary in report.splits.values():
        assert summary.files == 2
        assert summary.hours == pytest.approx(2 * SECONDS / 3600, abs=1e-4)
        assert summary.vocal_fraction == pytest.approx(1.5 / SECONDS, abs=0.02)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    root = write_jamendo(tmp_path, per_split=3)
    audio, labels = root / "audio", root / "labels"
    (audio / "00 - train. song.ogg").unlink()
    (labels / "01 - train. song.lab").unlink()
    (labels / "02 - train. song.lab").write_text("0 4 humming\n")
    whole = (audio / "01 - valid. song.mp3").read_bytes()
    (audio / "01 - valid. song.mp3").write_bytes(whole[: len(whole) // 2])
    (audio / "00 - valid. song.ogg").write_text("not audio")
    (labels / "00 - test. song.lab").write_text(label_lines(seconds=SECONDS + 1.5))
    shutil.copy(audio / "02 - valid. song.ogg", audio / "01 - test. song.mp3")
    noise = sound(99)
    add(root, "silent.wav", np.zeros_like(noise), label_lines())
    add(root, "empty.wav", noise[:0], label_lines())
    add(root, "nan.wav", np.where(np.arange(len(noise)) == 7, np.nan, noise).astype(np.float32), label_lines())
    add(root, "short.wav", noise[: RATE_HZ // 2], "0 0.5 nosing\n")
    add(root, "telephone.wav", sound(5, rate_hz=8_000), label_lines(), rate_hz=8_000)
    add(root, "studio.wav", sound(6, rate_hz=48_000), label_lines(), rate_hz=48_000)
    add(root, "three.wav", noise[: 3 * RATE_HZ], label_lines(seconds=3.0))
    report = check(root, segment_frames=208)
    assert not report.ok
    assert told(report) == {
        ("error", "missing-audio", "00 - train. song.ogg"),
        ("error", "missing-label", "audio/01 - train. song.mp3"),
        ("error", "label-word", "labels/02 - train. song.lab"),
        ("error", "cut-off", "audio/01 - valid. song.mp3"),
        ("error", "label-end", "labels/01 - valid. song.lab"),
        ("error", "undecodable", "audio/00 - valid. song.ogg"),
        ("error", "label-end", "labels/00 - test. song.lab"),
        ("error", "in-two-splits", ""),
        ("error", "silent", "audio/silent.wav"),
        ("error", "undecodable", "audio/empty.wav"),
        ("error", "not-finite", "audio/nan.wav"),
        ("error", "too-short", "audio/short.wav"),
        ("warning", "low-sample-rate", "audio/telephone.wav"),
        ("warning", "few-files", ""),
        ("warning", "short-for-training", "audio/three.wav"),
        ("note", "sample-rate", "audio/studio.wav"),
    }
    messages = {problem.file: problem.message for problem in report.problems}
    assert messages["audio/nan.wav"] == "holds NaN or infinity in 1 sample"
    assert "ends at 5.5 s, its audio at 4.0 s (tolerance 1 s)" in messages["labels/00 - test. song.lab"]
    assert messages["audio/three.wav"].startswith("lasts 3.00 s; training by default takes 3.01 s")
    assert [problem.severity for problem in sorted_problems(report.problems)][-4:] == ["warning"] * 3 + ["note"]
    assert report.splits["train"].files == 3


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "opus", "w64"])
def test_a_recording_that_breaks_off_is_told_whatever_it_is(tmp_path: Path, suffix: str) -> None:
    root = write_jamendo(tmp_path)
    for name, kept in {"half": 0.5, "nearly": 0.97}.items():
        path = root / "audio" / f"{name}.{suffix}"
        content = written(path, samples=sound(9, rate_hz=16_000), **OGG_OPUS if suffix == "opus" else {})
        path.write_bytes(content[: round(kept * len(content))])
        (root / "labels" / name).with_suffix(".lab").write_text("0 1 nosing\n1 2 sing\n")
        with (root / "filelists/train").open("a") as file:
            file.write(f"{path.name}\n")
    found = {problem.file: problem for problem in check(root).problems if problem.code == "cut-off"}
    assert found[f"audio/half.{suffix}"].severity == "error"
    # How much an Ogg lacks is nowhere told; elsewhere what lacks less than the tolerance can be used.
    assert found[f"audio/nearly.{suffix}"].severity == ("error" if suffix == "opus" else "warning")
    assert found[f"audio/half.{suffix}"].message.startswith("breaks off after ")


def test_what_has_the_name_of_a_recording_and_is_none_is_told(tmp_path: Path) -> None:
    root = write_jamendo(tmp_path)
    (root / "audio/gone.wav").symlink_to(root / "nowhere.wav")
    (found,) = check(root).problems
    assert (found.severity, found.code, found.file) == ("error", "unreadable", "audio/gone.wav")
    assert found.message.startswith("is a link to a file that is not there")


def test_tolerance_decides_what_matches(tmp_path: Path) -> None:
    root = write_jamendo(tmp_path)
    (root / "labels/00 - test. song.lab").write_text(label_lines(seconds=SECONDS + 0.6))
    assert check(root).ok
    assert ("error", "label-end", "labels/00 - test. song.lab") in told(check(root, DataConfig(tolerance_s=0.5)))
    (root / "labels/00 - test. song.lab").write_text(label_lines(seconds=SECONDS - 0.6))
    assert not check(root, DataConfig(tolerance_s=0.5)).ok
    (root / "labels/00 - test. song.lab").write_text("1 2.5 sing\n")
    assert check(root, DataConfig(tolerance_s=0.5)).ok


@pytest.mark.parametrize("word", ["sing", "nosing"])
def test_one_class_only_is_an_error(tmp_path: Path, word: str) -> None:
    root = write_jamendo(tmp_path)
    for path in (root / "labels").iterdir():
        path.write_text(f"0 {SECONDS} {word}\n")
    report = check(root)
    assert told(report) == {("error", "one-class", "")}
    assert str(report.problems[0]).startswith(f"all of the data are {'vocal' if word == 'sing' else 'non-vocal'}")


def test_one_class_in_one_split_is_an_error(tmp_path: Path) -> None:
    root = write_jamendo(tmp_path)
    for path in (root / "labels").glob("*valid*"):
        path.write_text(f"0 {SECONDS} nosing\n")
    assert [str(problem) for problem in check(root).problems] == ["valid: all of it is non-vocal"]


def test_too_few_recordings_for_three_splits(tmp_path: Path) -> None:
    write_labelled(tmp_path / "a.wav", tmp_path / "a.lab", 1)
    report = check(tmp_path)
    assert {str(problem).partition(":")[0] for problem in report.problems if problem.code == "empty-split"} == {
        "valid", "test",
    }  # fmt: skip
    assert report.to_dict()["splits"]["valid"]["files"] == 0


def test_a_built_corpus_is_checked_too(easy_corpus: Path) -> None:
    report = check(easy_corpus)
    assert (report.ok, report.kind) == (True, "corpus")
    assert report.splits["train"].files == 12


def test_a_built_corpus_of_one_class_is_told(easy_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(easy_corpus, tmp_path / "corpus")
    labels = np.load(tmp_path / "corpus/test/labels.npy")
    np.save(tmp_path / "corpus/test/labels.npy", np.ones_like(labels))
    assert [str(problem) for problem in check(tmp_path / "corpus").problems] == ["test: all of it is vocal"]


def test_workers_find_the_same(tmp_path: Path) -> None:
    root = write_jamendo(tmp_path)
    (root / "audio/00 - test. song.ogg").write_text("not audio")
    assert check(root) == check_data(root, PROFILE, DataConfig(), workers=2)


def test_a_configuration_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="tolerance_s: is -1"):
        DataConfig(tolerance_s=-1)
    with pytest.raises(InvalidArgument, match="cannot mean both"):
        DataConfig(vocal=("la",), other=("la",))
