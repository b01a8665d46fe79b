"""Keys as they are distributed, line by line; and what is wrong with them."""

from pathlib import Path

import pytest

from earwitness.detection.keys import Trial, add_facts, read_trials, trial_id
from earwitness.errors import InvalidArgument
from tests.helpers.trials import line_2017, made_trials, write_key


@pytest.mark.parametrize("columns", range(2, 8))
def test_protocols_of_two_to_seven_columns(tmp_path: Path, columns: int) -> None:
    trials = made_trials(40)
    read, problems = read_trials(write_key(tmp_path / "key.txt", trials, columns))
    assert problems == []
    assert [line_2017(each, columns) for each in read] == [line_2017(each, columns) for each in trials]
    assert all(each.recording is None for each in read) == (columns < 7)


def test_lines_of_different_lengths(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("T_1.wav genuine M0001 S01\n\nT_2.wav spoof M0002 S02 E01 P03 R05\n")
    assert read_trials(key)[0] == [
        Trial("T_1.wav", True, "M0001", "S01"),
        Trial("T_2.wav", False, "M0002", "S02", "E01", "P03", "R05"),
    ]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        (
            "LA_0079 LA_T_11 - - bonafide\nLA_0079 LA_T_12 - A01 spoof\nLA_0080 LA_T_13 - A02 spoof",
            Trial("LA_T_11", True, "LA_0079"),
            Trial("LA_T_13", False, "LA_0080", attack="A02"),
        ),
        (
            "PA_0079 PA_T_11 aaa - bonafide\nPA_0079 PA_T_12 aab AA spoof",
            Trial("PA_T_11", True, "PA_0079", environment="aaa"),
            Trial("PA_T_12", False, "PA_0079", environment="aab", attack="AA"),
        ),
        (
            "LA_0009 LA_E_93 alaw ita_tx A07 spoof notrim eval\nLA_0020 LA_E_51 none - - bonafide notrim eval",
            Trial(
                "LA_E_93",
                False,
                "LA_0009",
                attack="A07",
                codec="alaw",
                transmission="ita_tx",
                trim="notrim",
                subset="eval",
            ),
            Trial("LA_E_51", True, "LA_0020", codec="none", trim="notrim", subset="eval"),
        ),
        ("spoof a.wav\nbonafide b.wav", Trial("a.wav", False), Trial("b.wav", True)),
        ("E_1.wav S01\nE_2.wav S02\nE_3.wav S01", Trial("E_1.wav", phrase="S01"), Trial("E_3.wav", phrase="S01")),
        (
            "Label,File Name,Playback_Device\ngenuine,a 1.wav,-\nSPOOF,a 2.wav,hifi",
            Trial("a 1.wav", True),
            Trial("a 2.wav", False, playback="hifi"),
        ),
        (
            "1000001 genuine M0001 S01\n1000002 spoof M0002 S01",
            Trial("1000001", True, "M0001", "S01"),
            Trial("1000002", False, "M0002", "S01"),
        ),
        ("utt_1 genuine spk_1\nutt_2 spoof spk_2", Trial("utt_1", True, "spk_1"), Trial("utt_2", False, "spk_2")),
        ("# two trials\nx\tgenuine\ty z\nw\tspoof\ty q", Trial("x", True, "y z"), Trial("w", False, "y q")),
    ],
    ids=["2019 LA", "2019 PA", "2021 LA", "key first", "no key", "header", "numbers", "like a header", "tabs"],
)
def test_other_forms(tmp_path: Path, text: str, first: Trial, last: Trial) -> None:
    (tmp_path / "key.txt").write_text(text)
    read, problems = read_trials(tmp_path / "key.txt")
    assert (read[0], read[-1], problems) == (first, last, [])


def test_columns_named_by_hand(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("9 spoof 12 7\n10 genuine 13 8\n")
    read, _ = read_trials(tmp_path / "key.txt", ["-", "key", "file", "speaker"])
    assert read == [Trial("12", False, "7"), Trial("13", True, "8")]
    for wrong in (["file", "keys"], ["file", "file"]):
        with pytest.raises(InvalidArgument, match="cannot name a column; known are file, key, score"):
            read_trials(tmp_path / "key.txt", wrong)


def test_lines_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("a genuine\nb maybe\nc spoof\n")
    assert read_trials(tmp_path / "key.txt") == (
        [Trial("a", True), Trial("c", False)],
        ["line 2: 'maybe' is neither genuine (bonafide) nor spoof"],
    )
    (tmp_path / "key.txt").write_text(" \n# nothing\n")
    with pytest.raises(InvalidArgument, match="holds no lines"):
        read_trials(tmp_path / "key.txt")
    (tmp_path / "key.txt").write_text("genuine\nspoof\n")
    with pytest.raises(InvalidArgument, match="no column of file names"):
        read_trials(tmp_path / "key.txt")


def test_a_misspelt_key_in_the_first_line_is_told_and_not_taken_for_a_header(tmp_path: Path) -> None:
    for first in ("E_1 geniune M0001 S01", "utt_1 geniune M0001 S01"):
        (tmp_path / "key.txt").write_text(f"{first}\nE_2 spoof M0002 S02\nE_3 spoof M0002 S02\n")
        read, problems = read_trials(tmp_path / "key.txt")
        assert [trial.file for trial in read] == ["E_2", "E_3"]
        assert problems == ["line 1: 'geniune' is neither genuine (bonafide) nor spoof"]
    (tmp_path / "key.txt").write_text("Datei;Key\nE_1;genuine\nE_2;spoof\n")
    assert read_trials(tmp_path / "key.txt") == ([Trial("E_1", True), Trial("E_2", False)], [])


def test_a_file_that_stands_twice_keeps_its_column(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("a genuine M1 S01\na genuine M1 S02\nb spoof M1 S03\n")
    assert [trial.file for trial in read_trials(tmp_path / "key.txt")[0]] == ["a", "a", "b"]


def test_endings_of_sound_files_do_not_matter() -> None:
    assert [trial_id(file) for file in ("E_1.wav", "E_1", "a.b.FLAC", "v1.2", ".wav")] == [
        "E_1", "E_1", "a.b", "v1.2", ".wav",
    ]  # fmt: skip


def test_a_meta_file_adds_what_a_key_lacks() -> None:
    key = [Trial("E_1.wav", False), Trial("E_2.wav", True, "M1")]
    meta = [Trial("E_1", None, "M2", environment="E03"), Trial("E_2", None, "M9"), Trial("E_3", True)]
    added, differ = add_facts(key, meta)
    assert added == [Trial("E_1.wav", False, "M2", environment="E03"), Trial("E_2.wav", True, "M1")]
    assert differ == ["E_2.wav: speaker is M9, and M1 in another list"]
