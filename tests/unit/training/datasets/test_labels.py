"""Label files against intervals worked out by hand; every way to be wrong is one problem that says where."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.datasets.labels import Labelling, Vocabulary, looks_like_intervals, read_intervals, read_words

WORDS = Vocabulary.of()


def intervals(path: Path, text: str, vocabulary: Vocabulary = WORDS) -> tuple[Labelling | None, dict[str, str]]:
    path.write_text(text)
    labelling, problems = read_intervals(path, "a.lab", vocabulary)
    assert all(problem.file == "a.lab" for problem in problems)
    return labelling, {problem.code: problem.message for problem in problems}


@pytest.mark.parametrize(
    "text",
    [
        "0.000 1.5 nosing\n1.5 2 sing\n\n2 3.25 sing\n3.25 4 nosing\n",
        "0,1.5,nosing\r\n1.5, 3.25, Sing\r\n3.25,4,NOSING\r\n",
        "\nStart,End,Label\n0,1.5,nosing\n1.5,3.25,sing\n3.25,4,nosing\n",
        '"onset_s"\toffset_s\tevent\n0\t1.5\tnosing\n1.5\t3.25\tsing\n3.25\t4\tnosing\n',
        # As Audacity exports them, with ranges of frequencies, and as spreadsheets do.
        "0.000000\t1.500000\tnosing\n\\\t100.000000\t4000.000000\n1.500000\t3.250000\tsing\n"
        "\\\t-1.000000\t-1.000000\n3.250000\t4.000000\tnosing\n\\\t50.000000\t60.000000\n",
        '"start","end","label"\n"0.0","1.5","nosing"\n"1.5","3.25","sing"\n"3.25","4.0","nosing"\n',
        '"start";"end";"label"\n"0,0";"1,5";"nosing"\n"1,5";"3,25";"sing"\n"3,25";"4,0";"nosing"\n',
        "0,000000\t1,500000\tnosing\n1,500000\t3,250000\tsing\n3,250000\t4,000000\tnosing\n",
        "0;1.5;nosing\n1.5;3.25;sing\n3.25;4;nosing\n",
        '\ufeff0\t1.5\tnosing\n1.5\t3.25\t"sing"\n3.25\t4\tnosing',
    ],
)
def test_intervals_in_any_dress(tmp_path: Path, text: str) -> None:
    labelling, problems = intervals(tmp_path / "a", text)
    assert problems == {}
    assert labelling is not None
    np.testing.assert_array_equal(labelling.vocal, [[1.5, 3.25]])
    assert (labelling.end_s, labelling.complete) == (4.0, True)
    times = np.array([0.0, 1.4, 1.5, 3.2, 3.25, 9.0])
    np.testing.assert_array_equal(labelling.frames(times), [False, False, True, True, False, False])


def test_only_sung_parts_may_be_labelled(tmp_path: Path) -> None:
    labelling, problems = intervals(tmp_path / "a", "1 2 sing\n5 6 sing\n")
    assert labelling is not None
    assert (labelling.complete, problems) == (False, {})
    labelling, problems = intervals(tmp_path / "a", "0 1 nosing\n5 6 sing\n")
    assert labelling is not None
    assert problems == {"label-gap": "4.0 s between labels have none and count as not sung"}


def test_nobody_sings(tmp_path: Path) -> None:
    labelling, _ = intervals(tmp_path / "a", "0 9 nosing\n")
    assert labelling is not None
    assert not labelling.frames(np.arange(10.0)).any()


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "label-empty", "holds no labels"),
        ("0 1\n", "label-line", "line 1 is '0 1'; expected `start end word`"),
        (
            "0 1 sing\nx 2 sing\ny 3 sing\n",
            "label-line",
            "line 2 is 'x 2 sing'; expected `start end word` (and 1 more)",
        ),
        ("start end label\nstart end label\n", "label-line", "line 2 is 'start end label'"),
        ("0 nan sing\n", "label-time", "line 1: 0 to nan s is no time"),
        ("-1 2 sing\n", "label-time", "line 1: -1 to 2 s is no time"),
        ("3 2 sing\n", "label-backwards", "line 1 ends at 2 s, before it starts at 3 s"),
        ("0 2 sing\n1.5 3 nosing\n", "label-overlap", "line 2 starts at 1.5 s, the one before ends at 2 s"),
        ("5 6 sing\n0 5 nosing\n", "label-order", "line 2 starts at 0 s, the one before at 5 s"),
        ("0 2 guitar\n", "label-word", "line 1: unknown word 'guitar'; known are"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, code: str, said: str) -> None:
    labelling, problems = intervals(tmp_path / "a", text)
    assert labelling is None
    assert said in problems[code]


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    _, problems = intervals(tmp_path / "a", "0 2 guitar\n1 3 sing\nnothing\n9 8 sing\n")
    assert set(problems) == {"label-word", "label-overlap", "label-line", "label-backwards"}


def test_rounded_times_do_not_overlap(tmp_path: Path) -> None:
    assert intervals(tmp_path / "a", "0 2.004 sing\n2.0 3 nosing\n")[1] == {}


def test_words_can_be_given(tmp_path: Path) -> None:
    labelling, problems = intervals(tmp_path / "a", "0 1 Solo\n1 2 band\n", Vocabulary.of(["solo"], ["Band"]))
    assert labelling is not None
    assert problems == {}
    np.testing.assert_array_equal(labelling.vocal, [[0.0, 1.0]])
    turned = Vocabulary.of(["instrumental"])
    assert "instrumental" in turned.vocal - turned.other
    with pytest.raises(InvalidArgument, match="solo cannot mean both"):
        Vocabulary.of(["solo"], ["Solo"])


def test_old_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("0 1 chanté\n".encode("latin-1"))
    labelling, problems = read_intervals(tmp_path / "a", "a", Vocabulary.of(["chanté"]))
    assert (labelling is not None, problems) == (True, [])


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    _, problems = read_intervals(tmp_path / "gone.lab", "gone.lab", WORDS)
    assert "gone.lab: cannot be read (No such file or directory)" in map(str, problems)


def test_short_gaps_between_words_count_as_sung(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("word_start,word_end,line_end\n3.5,4.0,nan\n1.0,2.0,nan\n2.2,3.0,nan\n")
    labelling, problems = read_words(path, "a.csv")
    assert labelling is not None
    assert (problems, labelling.complete) == ([], False)
    times = np.array([0.5, 1.5, 2.1, 2.9, 3.2, 3.6, 4.0])
    np.testing.assert_array_equal(labelling.frames(times), [False, True, True, True, False, True, False])


def test_overlapping_words_are_two_voices(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("word_start,word_end\n1.0,5.0\n2.0,3.0\n")
    labelling, _ = read_words(path, "a.csv")
    assert labelling is not None
    np.testing.assert_array_equal(labelling.vocal, [[1.0, 5.0]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start,end\n1,2\n", "lacks the columns word_start and word_end"),
        ("word_start,word_end\n1,\n", "line 2 holds no word_start and word_end in seconds"),
        ("word_start,word_end\n2,1\n", "line 2 ends at 1 s, before it starts at 2 s"),
    ],
)
def test_broken_word_timings(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    labelling, problems = read_words(path, "a.csv")
    assert labelling is None
    assert said in problems[0].message


def test_other_text_files_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("\nThese are 2 recordings.\n")
    assert not looks_like_intervals(tmp_path / "README.txt")
    for text in ("\n0 1 sing\n", "\ufeff0 1 sing\n", "start,end,label\n0,1,sing\n"):
        (tmp_path / "a.txt").write_text(text)
        assert looks_like_intervals(tmp_path / "a.txt")
