"""Folders of every layout: which recordings, in which split, with which labels; what is missing, all of it."""

from pathlib import Path

import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.corpus import DatasetError
from earwitness.training.datasets.layout import Layout, SeededSplit, detect_kind, find_recordings

SEEDED = SeededSplit()


def touch(root: Path, *files: str, text: str = "0 1 sing\n") -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def told(layout: Layout) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.code, problem.file) for problem in layout.problems]


@pytest.fixture
def jamendo(tmp_path: Path) -> Path:
    touch(tmp_path, "audio/01 - a.ogg", "audio/02 - b.v2.mp3", "audio/03 - c.mp3")
    touch(tmp_path, "labels/01 - a.lab", "labels/02 - b.v2.lab", "labels/03 - c.lab")
    touch(tmp_path, "filelists/train", text="01 - a.ogg\n")
    touch(tmp_path, "filelists/valid", text="02 - b.v2.mp3\n")
    touch(tmp_path, "filelists/test", text="03 - c.mp3\n\n")
    return tmp_path


def test_jamendo_as_it_is_distributed(jamendo: Path) -> None:
    assert detect_kind(jamendo) == "jamendo"
    layout = find_recordings(jamendo, None, SEEDED)
    assert [(each.name, each.split, each.label.name) for each in layout.recordings] == [
        ("01 - a", "train", "01 - a.lab"),
        ("02 - b.v2", "valid", "02 - b.v2.lab"),
        ("03 - c", "test", "03 - c.lab"),
    ]
    assert layout.problems == ()


def test_lists_may_name_transcriptions_and_audio_may_lie_in_folders_of_the_splits(jamendo: Path) -> None:
    for split, name in (("train", "01 - a"), ("valid", "02 - b.v2"), ("test", "03 - c")):
        (jamendo / "filelists" / split).write_text(f"{name}.trs\n")
        (jamendo / "audio" / split).mkdir()
        for path in (jamendo / "audio").glob(f"{name}.*"):
            path.rename(jamendo / "audio" / split / path.name)
    layout = find_recordings(jamendo, "jamendo", SEEDED)
    assert [(each.name, each.split) for each in layout.recordings] == [
        ("test/03 - c", "test"), ("train/01 - a", "train"), ("valid/02 - b.v2", "valid"),
    ]  # fmt: skip
    assert layout.problems == ()


def test_all_that_is_missing_is_named_at_once(jamendo: Path) -> None:
    (jamendo / "audio/01 - a.ogg").unlink()
    (jamendo / "labels/02 - b.v2.lab").unlink()
    touch(jamendo, "audio/04 - d.ogg", "audio/._04 - d.ogg", "audio/cover.jpg", "audio/03 - c.flac")
    (jamendo / "filelists/valid").write_text("02 - b.v2.mp3\ngone.mp3\n02 - b.v2.mp3\n03 - c.mp3\n")
    layout = find_recordings(jamendo, None, SEEDED)
    assert set(told(layout)) == {
        ("error", "missing-audio", "01 - a.ogg"),
        ("error", "missing-audio", "gone.mp3"),
        ("error", "missing-label", "audio/02 - b.v2.mp3"),
        ("error", "doubled-name", "audio/03 - c.mp3"),
        ("error", "in-two-splits", ""),
        ("warning", "listed-twice", "02 - b.v2.mp3"),
        ("warning", "unlisted", "audio/04 - d.ogg"),
    }
    messages = {problem.file: problem.message for problem in layout.problems}
    assert messages["gone.mp3"].endswith("nor is its label file")
    assert messages["audio/02 - b.v2.mp3"] == "has no label file in labels/; expected 02 - b.v2.lab"


def test_missing_folders_and_lists_are_named(tmp_path: Path) -> None:
    layout = find_recordings(tmp_path, "jamendo", SEEDED)
    assert {problem.message for problem in layout.problems} == {
        "the folder audio is missing",
        "the folder labels is missing",
        *(f"the file list filelists/{split} is missing" for split in ("train", "valid", "test")),
    }
    assert [problem.code for problem in find_recordings(tmp_path, "folder", SEEDED).problems] == ["no-recordings"]
    with pytest.raises(DatasetError, match="no such folder"):
        find_recordings(tmp_path / "gone", None, SEEDED)


@pytest.mark.parametrize(("audio", "words"), [("audio", "words"), ("mp3", "annotations/words")])
def test_jamendolyrics_as_distributed_and_as_copied(tmp_path: Path, audio: str, words: str) -> None:
    for name in ("a_-_b", "c", "d"):
        touch(tmp_path, f"{audio}/{name}.mp3", f"{words}/{name}.csv", f"lyrics/{name}.words.txt")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert layout.kind == "jamendolyrics"
    assert [each.label.name for each in layout.recordings] == ["a_-_b.csv", "c.csv", "d.csv"]
    assert {each.split for each in layout.recordings} == {"train", "valid", "test"}


def test_any_folder_labels_beside_or_mirrored(tmp_path: Path) -> None:
    touch(tmp_path, "x/one.wav", "x/one.lab", "y/deep/one.flac", "y/deep/one.txt")
    touch(tmp_path, "audio/z/two.ogg", "labels/z/two.tsv")
    touch(tmp_path, "README.txt", text="words\n")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert [(each.name, layout.relative(each.label)) for each in layout.recordings] == [
        ("x/one", "x/one.lab"), ("y/deep/one", "y/deep/one.txt"), ("z/two", "labels/z/two.tsv"),
    ]  # fmt: skip
    assert layout.problems == ()


@pytest.mark.parametrize("text", ["\ufeff0 1 sing\n", "start,end,label\n0,1,sing\n", "", "0 one sing\n1 2 sing\n"])
def test_a_text_of_the_name_of_a_recording_is_its_label_file(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "x/one.wav", "audio/two.wav")
    touch(tmp_path, "x/one.txt", "labels/two.csv", text=text)
    touch(tmp_path, "x/notes.txt", text="words\n")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert [each.label.name for each in layout.recordings] == ["two.csv", "one.txt"]
    assert layout.problems == ()


def test_words_beside_a_labelled_recording_are_no_label_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.lab", "b.wav", "b.tsv", "c.wav")
    touch(tmp_path, "a.txt", "b.txt", "c.txt", "c.csv", text="la la\n")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert [each.label.name for each in layout.recordings] == ["a.lab", "b.tsv", "c.csv"]
    assert told(layout) == [("error", "doubled-name", "c.txt")]


def test_a_folder_says_what_belongs_to_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.lab", "c.m4a", "c.lab")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert set(told(layout)) == {("error", "missing-label", "a.wav"), ("error", "missing-audio", "b.lab")}
    assert [each.audio.name for each in layout.recordings] == ["c.m4a"]


@pytest.mark.parametrize(
    ("files", "labels", "without"),
    [
        (("a/01.wav", "b/01.wav", "b/01.lab"), {"b/01": "b/01.lab"}, {"a/01.wav"}),
        (("a/01.wav", "b/01.wav", "c/01.lab"), {}, {"a/01.wav", "b/01.wav"}),
        (("a/01.wav", "b/01.lab", "c/01.lab"), {}, {"a/01.wav"}),
        (("a/01.wav", "b/01.lab"), {"a/01": "b/01.lab"}, set()),
    ],
)
def test_labels_of_another_recording_are_nobody_elses(
    tmp_path: Path, files: tuple[str, ...], labels: dict[str, str], without: set[str]
) -> None:
    touch(tmp_path, *files)
    layout = find_recordings(tmp_path, None, SEEDED)
    assert {each.name: layout.relative(each.label) for each in layout.recordings} == labels
    assert {problem.file for problem in layout.problems if problem.code == "missing-label"} == without


def test_a_text_beside_a_recording_is_its_label_file_whatever_its_namesake_has(tmp_path: Path) -> None:
    touch(tmp_path, "a/01.wav", "b/01.wav", "b/01.lab")
    touch(tmp_path, "a/01.txt", text="0 one sing\n")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert [layout.relative(each.label) for each in layout.recordings] == ["a/01.txt", "b/01.lab"]


def test_folders_of_splits_make_the_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        touch(tmp_path, f"{split}/a.wav", f"{split}/a.lab")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert [(each.name, each.split) for each in layout.recordings] == [
        ("test/a", "test"), ("train/a", "train"), ("valid/a", "valid"),
    ]  # fmt: skip


@pytest.mark.parametrize("valid", ["valid", "Val", "dev"])
def test_folders_of_splits_are_honoured_with_recordings_outside_of_them(tmp_path: Path, valid: str) -> None:
    inside = {"train/a": "train", "train/b": "train", f"{valid}/c": "valid", "test/d": "test"}
    for name in (*inside, "stray", "more/e"):
        touch(tmp_path, f"{name}.wav", f"{name}.lab")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert {each.name: each.split for each in layout.recordings} == inside
    assert told(layout) == [
        ("warning", "outside-splits", "more/e.wav"), ("warning", "outside-splits", "stray.wav"),
    ]  # fmt: skip
    assert layout.problems[0].message.endswith(f"({', '.join(sorted((f'{valid}/', 'test/', 'train/')))}), left out")


def test_one_folder_named_like_a_split_makes_none_and_says_so(tmp_path: Path) -> None:
    for name in ("train/a", "plane/b", "car/c"):
        touch(tmp_path, f"{name}.wav", f"{name}.lab")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert {each.split for each in layout.recordings} == {"train", "valid", "test"}
    assert [problem.message for problem in layout.problems] == [
        "train/ alone makes no splits, the seed draws them; add another"
    ]


def test_lists_beside_the_recordings_make_the_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        touch(tmp_path, f"{split}_song.wav", f"{split}_song.lab")
        touch(tmp_path, f"{split}.txt", text=f"{split}_song\n")
    layout = find_recordings(tmp_path, None, SEEDED)
    assert [(each.name, each.split) for each in layout.recordings] == [
        ("test_song", "test"), ("train_song", "train"), ("valid_song", "valid"),
    ]  # fmt: skip
    assert layout.problems == ()


def test_seeded_split_is_a_fair_draw_of_its_own() -> None:
    names = [f"{number:02d}" for number in range(40)]
    split = SeededSplit(seed=3).of(names)
    assert split == SeededSplit(seed=3).of(reversed(names)) != SeededSplit(seed=4).of(names)
    assert [list(split.values()).count(each) for each in ("train", "valid", "test")] == [28, 6, 6]
    for count in range(3, 9):
        for shares in ((0.01, 0.98), (0.98, 0.01)):
            assert set(SeededSplit(0, *shares).of(names[:count]).values()) == {"train", "valid", "test"}
    assert set(SEEDED.of(names[:2]).values()) == {"train"}
    with pytest.raises(InvalidArgument, match="shares that leave some of 1"):
        SeededSplit(0, 0.5, 0.5)
