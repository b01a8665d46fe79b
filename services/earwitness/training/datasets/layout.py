"""Which recordings a folder holds, their label files and their splits; what is missing or ambiguous, by name.

    jamendo         audio/  labels/NAME.lab  filelists/{train,valid,test}: the Jamendo singing-voice set
    jamendolyrics   audio/ or mp3/  words/NAME.csv or annotations/words/NAME.csv
    folder          audio with label files beside them, or mirrored in audio/ and labels/, nested as one likes; a text
                    file of the name of a recording is its label file, unless it has another one

File lists hold one recording per line, with or without suffix. Where there are none, folders train/, valid/ and test/,
or others of FOLDERS, make the splits when they hold all recordings, or there are two of them; else a seed does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.features import AUDIO_SUFFIXES, Flaw, visible_files
from earwitness.text import plain_text
from earwitness.training.corpus import SPLITS, DatasetError, Split
from earwitness.training.datasets.labels import looks_like_intervals
from earwitness.training.datasets.problems import Problem

Kind = Literal["jamendo", "jamendolyrics", "folder"]

LABEL_SUFFIXES: Mapping[Kind, frozenset[str]] = {
    "jamendo": frozenset({".lab"}),
    "jamendolyrics": frozenset({".csv"}),
    "folder": frozenset({".lab", ".txt", ".tsv", ".csv"}),
}
LISTED_SUFFIXES = AUDIO_SUFFIXES | {".lab", ".trs"}
"""Endings of the names in file lists; the set's own lists name its transcriptions."""
FOLDERS: Mapping[str, Split] = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
"""Top folders, in any case, that make the splits."""
MIRRORED = ("audio", "labels")
"""Top folders that a folder of recordings may keep audio and labels apart in."""


@dataclass(frozen=True)
class Recording:
    """One recording: `name` is its path below the folder of the audio, without suffix."""

    name: str
    audio: Path
    label: Path
    split: Split


@dataclass(frozen=True)
class Layout:
    """What was found below `root`; `problems` are about files that are missing, doubled or in no split."""

    root: Path
    kind: Kind
    recordings: tuple[Recording, ...]
    problems: tuple[Problem, ...]

    def relative(self, path: Path) -> str:
        """A file as problems name it."""
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class SeededSplit:
    """Shares of the recordings that go into valid and test, drawn by `seed`; the others are for training."""

    seed: int = 0
    valid_share: float = 0.15
    test_share: float = 0.15

    def __post_init__(self) -> None:
        if not (0 < self.valid_share < 1 and 0 < self.test_share < 1 and self.valid_share + self.test_share < 1):
            raise InvalidArgument(
                "valid_share",
                f"is {self.valid_share} and test_share {self.test_share}; give shares that leave some of 1",
            )

    def of(self, names: Iterable[str]) -> dict[str, Split]:
        """The split of every name: at least one in valid and in test when there are three."""
        ordered = sorted(names)
        shuffled = [ordered[index] for index in np.random.default_rng(self.seed).permutation(len(ordered))]
        if len(shuffled) < len(SPLITS):
            return dict.fromkeys(shuffled, "train")
        valid = max(1, min(round(self.valid_share * len(shuffled)), len(shuffled) - 2))
        test = max(1, min(round(self.test_share * len(shuffled)), len(shuffled) - valid - 1))
        counts: dict[Split, int] = {"valid": valid, "test": test, "train": len(shuffled) - valid - test}
        places = [which for which, count in counts.items() for _ in range(count)]
        return dict(zip(shuffled, places, strict=True))


def detect_kind(root: Path) -> Kind:
    """What the folder looks like."""
    if (root / "audio").is_dir() and (root / "labels").is_dir() and (root / "filelists").is_dir():
        return "jamendo"
    if _first_folder(root, ("annotations/words", "words")) is not None:
        return "jamendolyrics"
    return "folder"


def find_recordings(root: Path, kind: Kind | None, split: SeededSplit) -> Layout:
    """The recordings of `root`, sorted by name.

    Raises: DatasetError when `root` is no folder.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; give the folder of the recordings")
    return _Search(root, kind or detect_kind(root)).run(split)


@dataclass
class _Files:
    """Files by name: their path below the folder, without suffix."""

    folder: Path
    by_name: dict[str, Path] = field(default_factory=dict)
    doubled: list[tuple[str, Path]] = field(default_factory=list)
    _names_of_stem: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, path: Path) -> None:
        if name in self.by_name:
            self.doubled.append((name, path))
            return
        self.by_name[name] = path
        self._names_of_stem.setdefault(PurePosixPath(name).name, []).append(name)

    def alike(self, name: str) -> list[str]:
        """All names with the same file name, in whatever folders."""
        return self._names_of_stem.get(PurePosixPath(name).name, [])

    def find(self, name: str) -> str | None:
        """The name itself, or the only one with the same file name."""
        if name in self.by_name:
            return name
        same = self.alike(name)
        return same[0] if len(same) == 1 else None


class _Search:
    """One pass over a folder; findings go to `problems`."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self._root = root
        self._kind = kind
        self._problems: list[Problem] = []
        self._lists = _list_files(root)
        audio, labels = {
            "jamendo": (("audio",), ("labels",)),
            "jamendolyrics": (("audio", "mp3"), ("annotations/words", "words")),
            "folder": (("",), ("",)),
        }[kind]
        self._audio = self._files(audio, AUDIO_SUFFIXES)
        self._labels = self._files(labels, LABEL_SUFFIXES[kind])

    def run(self, split: SeededSplit) -> Layout:
        for _, path in self._audio.doubled + self._labels.doubled:
            self._error("doubled-name", self._relative(path), "another file has the same name but for its ending")
        splits = self._listed() if self._kind == "jamendo" or self._lists else self._unlisted(split)
        recordings = []
        for name, which in sorted(splits.items()):
            audio, label = self._audio.by_name[name], self._label_of(name, self._labels)
            if label is None:
                wanted = " or ".join(f"{name}{suffix}" for suffix in sorted(LABEL_SUFFIXES[self._kind]))
                where = self._relative(self._labels.folder)
                beside = "" if where == "." else f" in {where}/"
                self._error("missing-label", self._relative(audio), f"has no label file{beside}; expected {wanted}")
            else:
                recordings.append(Recording(name, audio, self._labels.by_name[label], which))
        if not splits and not self._problems:
            self._error("no-recordings", "", f"no recordings below {self._root}; looked for a {self._kind} layout")
        return Layout(self._root, self._kind, tuple(recordings), tuple(self._problems))

    def _listed(self) -> dict[str, Split]:
        """Recordings of the file lists, each in one split."""
        for split in SPLITS:
            if split not in self._lists:
                self._error("missing-list", "", f"the file list filelists/{split} is missing")
        splits: dict[str, Split] = {}
        for split, path in self._lists.items():
            for entry in plain_text(path).splitlines():
                if entry.strip():
                    self._take(entry.strip(), split, splits)
        for name in sorted(self._audio.by_name.keys() - splits.keys()):
            self._add("warning", "unlisted", self._relative(self._audio.by_name[name]), "is in no file list, left out")
        return splits

    def _take(self, entry: str, split: Split, splits: dict[str, Split]) -> None:
        wanted = self._name(PurePosixPath(entry.replace("\\", "/")), LISTED_SUFFIXES)
        name = self._audio.find(wanted)
        if name is None:
            label = "" if self._labels.find(wanted) else ", nor is its label file"
            self._error("missing-audio", entry, f"is in the file list {split}, but not among the recordings{label}")
        elif name not in splits:
            splits[name] = split
        elif splits[name] == split:
            self._add("warning", "listed-twice", entry, f"stands twice in the file list {split}")
        else:
            self._error("in-two-splits", "", f"{entry} is in the file lists {splits[name]} and {split}")

    def _unlisted(self, split: SeededSplit) -> dict[str, Split]:
        names = self._audio.by_name
        for name, path in sorted(self._labels.by_name.items()):
            if self._audio.find(name) is None:
                self._error("missing-audio", self._relative(path), "is a label file without its recording")
        tops = {name: PurePosixPath(name).parts[0] for name in names if "/" in name}
        splits = {name: FOLDERS[top.lower()] for name, top in tops.items() if top.lower() in FOLDERS}
        used = ", ".join(f"{top}/" for top in sorted({tops[name] for name in splits}))
        if not splits:
            return split.of(names)
        if len(splits) < len(names) and len(set(splits.values())) == 1:
            self._add("warning", "lone-split", "", f"{used} alone makes no splits, the seed draws them; add another")
            return split.of(names)
        for name in sorted(names.keys() - splits.keys()):
            message = f"is in none of the folders that make the splits ({used}), left out"
            self._add("warning", "outside-splits", self._relative(names[name]), message)
        return splits

    def _files(self, folders: tuple[str, ...], suffixes: frozenset[str]) -> _Files:
        folder = _first_folder(self._root, folders)
        if folder is None:
            self._error("missing-folder", "", f"the folder {' or '.join(folders)} is missing")
            return _Files(self._root / folders[0])
        found, others = _Files(folder), list[tuple[str, Path]]()
        for path in visible_files(folder, self._irregular):
            if path.suffix.lower() not in suffixes or path in self._lists.values():
                continue
            name = self._name(PurePosixPath(path.relative_to(folder).as_posix()), suffixes)
            if self._kind != "folder" or path.suffix.lower() in AUDIO_SUFFIXES | {".lab"} or looks_like_intervals(path):
                found.add(name, path)
            else:
                others.append((name, path))
        for name, path in self._unlabelled(others, found):
            found.add(name, path)
        return found

    def _unlabelled(self, texts: Iterable[tuple[str, Path]], labels: _Files) -> list[tuple[str, Path]]:
        """Those texts that have the name of a recording without labels: meant as such, whatever is wrong with them."""
        named = ((self._audio.find(name), name, path) for name, path in texts)
        return [(name, path) for recording, name, path in named if recording and not self._label_of(recording, labels)]

    def _label_of(self, name: str, labels: _Files) -> str | None:
        """The label file of a recording: the one of its name, else the only one of its file name that is nobody else's.

        Where several recordings have that file name, nothing tells whose it is.
        """
        if name in labels.by_name:
            return name
        left = [each for each in labels.alike(name) if each not in self._audio.by_name]
        return left[0] if len(left) == len(self._audio.alike(name)) == 1 else None

    def _name(self, path: PurePosixPath, suffixes: frozenset[str]) -> str:
        """A path without its ending; in a folder of any form also without the top folders audio/ and labels/."""
        bare = path.with_name(path.name[: -len(path.suffix)]) if path.suffix.lower() in suffixes else path
        parts = bare.parts
        mirrored = len(parts) > 1 and parts[0] in MIRRORED
        return PurePosixPath(*parts[1:] if mirrored else parts).as_posix()

    def _irregular(self, flaw: Flaw) -> None:
        problem = Problem("error", "unreadable", self._relative(flaw.path), flaw.message)
        if problem not in self._problems:  # audio and labels may be looked for in one folder
            self._problems.append(problem)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _error(self, code: str, file: str, message: str) -> None:
        self._add("error", code, file, message)

    def _add(self, severity: Literal["error", "warning"], code: str, file: str, message: str) -> None:
        self._problems.append(Problem(severity, code, file, message))


def _list_files(root: Path) -> dict[Split, Path]:
    """The file lists there are, in filelists/ or beside the recordings."""
    places = [root / "filelists", root]
    found: dict[Split, Path] = {}
    for split in SPLITS:
        candidates = (folder / name for folder in places for name in (split, f"{split}.txt"))
        path = next((path for path in candidates if path.is_file()), None)
        if path is not None:
            found[split] = path
    return found


def _first_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)
