"""Anyone's score files: columns in any order, and everything wrong told at once."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from earwitness.detection.errors import BrokenScores
from earwitness.detection.keys import Trial
from earwitness.detection.scores import check_trials, match_scores, matched, read_scores, write_scores
from earwitness.errors import InvalidArgument
from tests.helpers.trials import made_scores, made_trials, write_score_lines

TRIALS = made_trials(40)
SCORES = made_scores(TRIALS)
KNOWN = {trial.id for trial in TRIALS}


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("{file} {score}", ""),
        ("{score} {stem}", ""),
        ("{file},{score}", "filename,cm-score"),
        ("{file}\t{score}\tx", ""),
        ("{stem} - spoof {score}", ""),
        ("{stem};{score}", "Datei;Wert"),
        ("x {file} {score}", ""),
        ("{score:+.17e}  {file}", "# made by hand"),
        ("1,{stem},{score},2", "run,utt,score,rank"),
    ],
)
def test_columns_are_told_apart(tmp_path: Path, form: str, header: str) -> None:
    read = read_scores(write_score_lines(tmp_path / "s.txt", SCORES, form, header), KNOWN)
    assert match_scores(TRIALS, read).tolist() == list(SCORES.values())
    assert match_scores(TRIALS[::-1], read).tolist() == list(SCORES.values())[::-1]


def test_file_names_may_be_numbers_where_the_key_knows_them(tmp_path: Path) -> None:
    path = write_score_lines(tmp_path / "s.txt", {"17": 1.5, "18": -2.0}, "{score} {file}")
    assert match_scores([Trial("17", True), Trial("18", False)], read_scores(path, {"17", "18"})).tolist() == [1.5, -2]


def test_two_columns_of_numbers_must_be_named(tmp_path: Path) -> None:
    path = write_score_lines(tmp_path / "s.txt", SCORES, "{file} 7 {score}")
    with pytest.raises(InvalidArgument, match="must hold the scores, columns 2, 3 do; name the columns"):
        read_scores(path, KNOWN)
    read = read_scores(path, KNOWN, ["file", "-", "score"])
    assert match_scores(TRIALS, read).tolist() == list(SCORES.values())
    with pytest.raises(InvalidArgument, match="none does"):
        read_scores(write_score_lines(path, SCORES, "{file} high"), KNOWN)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    lines = [f"{file} {score}" for file, score in SCORES.items()]
    broken = [*lines[2:], lines[3], "E_1000009.wav nan", "E_7.wav 0.5", "E_8.wav inf", "E_9.wav none"]
    broken[broken.index(lines[8])] = "E_1000009 oops"
    path = tmp_path / "s.txt"
    path.write_text("\n".join(broken))
    with pytest.raises(BrokenScores) as raised:
        match_scores(TRIALS, read_scores(path, KNOWN))
    assert raised.value.problems == (
        f"{path}: lines without a score (2): line 7 (E_1000009: oops), line 43 (E_9.wav: none)",
        f"{path}: files with more than one score (1): E_1000004",
        f"{path}: scores that are not finite (2): E_1000009.wav (nan), E_8.wav (inf)",
        f"{path}: files without a key (2): E_7, E_8",
        f"{path}: trials without a score (2): E_1000001.wav, E_1000002.wav",
    )


@pytest.mark.parametrize("cell", ["1_0", "\uff11.\uff15", "\u0661", "0x1p3", "1e", "--1", "1,5", "1.5.2"])
def test_only_decimal_numbers_are_scores(tmp_path: Path, cell: str) -> None:
    """Python's own float takes the first three."""
    lines = [f"{file}\t{score}" for file, score in SCORES.items()]
    path = tmp_path / "s.txt"
    path.write_text("\n".join([f"E_1000001.wav\t{cell}", *lines[1:]]))
    read = read_scores(path, KNOWN)
    assert read.problems == (f"line 1 (E_1000001.wav: {cell})",)


def test_numbers_in_all_their_forms_are_scores(tmp_path: Path) -> None:
    forms = ["1", "-1.", "+.5", "1e3", "1.5E-03", "007", "nan", "-inf", "Infinity", "-0"]
    (tmp_path / "s.txt").write_text("\n".join(f"f{place} {form}" for place, form in enumerate(forms)))
    read = read_scores(tmp_path / "s.txt")
    np.testing.assert_array_equal(read.values, [float(form) for form in forms])


def test_names_that_begin_with_a_hash_are_rows_and_comments_are_not(tmp_path: Path) -> None:
    lines = ["# by hand", "#", "##### 5", "#made by hand", "#utt score", "#T_1 0.5", "#T_2 -1", "T_3 2", "# T_4 1"]
    (tmp_path / "s.txt").write_text("\n".join(lines))
    read = read_scores(tmp_path / "s.txt")
    assert (read.files, read.values.tolist()) == (("#T_1", "#T_2", "T_3"), [0.5, -1, 2])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(["f\u00fcr_1\t0.5", "T_2\t-1.25", ""])
    (tmp_path / "s.txt").write_bytes(text.encode(encoding))
    read = read_scores(tmp_path / "s.txt")
    assert (read.files, read.values.tolist()) == (("f\u00fcr_1", "T_2"), [0.5, -1.25])


def test_files_compressed_by_gzip_are_read_and_others_named(tmp_path: Path) -> None:
    path = tmp_path / "s.txt.gz"
    path.write_bytes(gzip.compress(b"T_1 0.5\nT_2 -1\n"))
    assert read_scores(path).values.tolist() == [0.5, -1]
    for content, words in (
        (gzip.compress(b"T_1 0.5\nT_2 -1\n" * 100)[:-20], "compressed by gzip, cut off"),
        (b"PK\3\4\0\0", "a zip archive; unpack it"),
        (b"\x93NUMPY\1\0v\0", "an array of numpy"),
        (b"\1\2\0\0\0abc", "something else"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidArgument, match=f"is no text but {words}"):
            read_scores(path)


def test_quoted_cells(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text('"take 1.wav" 0.5\n"T_2" "-1"\n')
    read = read_scores(tmp_path / "s.txt")
    assert (read.files, read.values.tolist()) == (("take 1.wav", "T_2"), [0.5, -1])


def test_labels_that_contradict_the_key_are_told(tmp_path: Path) -> None:
    lines = [f"{each.file} {'genuine' if each.genuine else 'spoof'} {SCORES[each.file]}" for each in TRIALS]
    lines[1] = lines[1].replace("spoof", "bonafide")
    (tmp_path / "s.txt").write_text("\n".join(lines))
    with pytest.raises(BrokenScores, match=r"labels that contradict the key \(1\): E_1000002.wav$"):
        match_scores(TRIALS, read_scores(tmp_path / "s.txt", KNOWN))


def test_scores_of_other_trials_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_score_lines(tmp_path / "s.txt", {**SCORES, "E_7.wav": 0.5, "E_8.wav": 1.0})
    read = read_scores(path, KNOWN)
    found = matched(TRIALS[:30], read, KNOWN)
    assert found.values.tolist() == list(SCORES.values())[:30]
    assert found.without_key == ("E_7", "E_8")
    with pytest.raises(BrokenScores, match=r"files without a key \(2\): E_7, E_8$"):
        match_scores(TRIALS, read)
    with pytest.raises(
        BrokenScores, match=r"files without a key \(2\): E_7, E_8; .*: trials without a score \(1\): E_9"
    ):
        matched([*TRIALS, Trial("E_9", True)], read)


def test_scores_of_speaker_verification_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("- target 4.1\n- nontarget -2\nA07 spoof 0.3\n")
    with pytest.raises(InvalidArgument, match=r"is of speaker verification \(ASV\): column 2"):
        read_scores(tmp_path / "s.txt", KNOWN)


def test_twenty_names_are_told_and_the_others_counted(tmp_path: Path) -> None:
    path = write_score_lines(tmp_path / "s.txt", dict(list(SCORES.items())[:5]))
    with pytest.raises(BrokenScores, match=r"trials without a score \(35\): E_1000006.wav, .*25.wav and 15 more$"):
        match_scores(TRIALS, read_scores(path, KNOWN))


def test_keys_must_be_there_once() -> None:
    check_trials(Path("key"), TRIALS)
    with pytest.raises(BrokenScores) as raised:
        check_trials(Path("key"), [*TRIALS, TRIALS[3], Trial("E_1")], ["line 3: 'x' is neither"])
    assert raised.value.problems == (
        "key: lines that cannot be read (1): line 3: 'x' is neither",
        "key: trials that stand there more than once (1): E_1000004",
        "key: trials without a key, genuine or spoof (1): E_1",
    )
    with pytest.raises(InvalidArgument, match="no column of genuine"):
        check_trials(Path("key"), [Trial("a"), Trial("b")])


def test_written_scores_come_back_to_the_last_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=len(TRIALS))
    write_scores(tmp_path / "s.txt", dict(zip((trial.file for trial in TRIALS), values, strict=True)))
    assert (tmp_path / "s.txt").read_text().splitlines()[0] == f"E_1000001.wav {values.tolist()[0]}"
    assert match_scores(TRIALS, read_scores(tmp_path / "s.txt", KNOWN)).tolist() == values.tolist()
    with pytest.raises(BrokenScores, match="1 scores are not finite: b"):
        write_scores(tmp_path / "t.txt", {"a": 1.0, "b": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["s.txt"]


@pytest.mark.parametrize(
    "odd", ["take {} of 2.wav", "a,{}.wav", "a;{}.wav", '"{}" said.wav', "a\u00a0{}.wav", "# {}", "#{}.wav", "## {}"]
)
@pytest.mark.parametrize("all_odd", [True, False])
def test_written_names_may_hold_what_parts_columns(tmp_path: Path, odd: str, all_odd: bool) -> None:
    names = [odd.format(1), odd.format(2) if all_odd else "2.wav"]
    trials = [Trial(names[0], True), Trial(names[1], False)]
    write_scores(tmp_path / "s.txt", {names[0]: 1.5, names[1]: -2.0})
    for read in (
        read_scores(tmp_path / "s.txt", {each.id for each in trials}),
        read_scores(tmp_path / "s.txt", columns=("file", "score")),
    ):
        assert match_scores(trials, read).tolist() == [1.5, -2.0]
