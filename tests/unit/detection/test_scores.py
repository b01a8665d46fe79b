"""Anyone's score files: columns in any order, and everything wrong told at once."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.detection.errors import BrokenScores
from earwitness.detection.keys import Trial
from earwitness.detection.scores import check_trials, match_scores, read_scores, write_scores
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
    with pytest.raises(ValueError, match="1 scores are not finite: b"):
        write_scores(tmp_path / "t.txt", {"a": 1.0, "b": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["s.txt"]


@pytest.mark.parametrize("odd", ["take {} of 2.wav", "a,{}.wav", "a;{}.wav", '"{}" said.wav', "a\u00a0{}.wav"])
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
