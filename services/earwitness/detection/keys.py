"""Protocols and keys: which trials there are, which are genuine, and how the spoofs were made.

Those that ASVspoof distributes are recognised (`layouts`). Otherwise a list whose first two columns are file and key
may go on like those of 2017, the columns of which are, the last five where they are known:

    FILE genuine|spoof [SPEAKER [PHRASE [ENVIRONMENT [PLAYBACK [RECORDING]]]]]

and one with file and key in the second and fifth like those of 2019, SPEAKER FILE ENVIRONMENT ATTACK KEY; any other
needs a header, or has nothing but file and key. `-` is a missing value.
"""

import re
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earwitness.detection.layouts import marked, meant, partitions, recognised, refuse_verification
from earwitness.detection.tables import (
    FACTS,
    GENUINE_WORDS,
    KEY_WORDS,
    SKIPPED,
    Fact,
    Role,
    Table,
    file_column,
    key_column,
    read_table,
)

FACTS_2017: tuple[Fact, ...] = FACTS[:5]
CODES: tuple[tuple[Fact, str], ...] = (
    ("speaker", "[FM]"),
    ("phrase", "S"),
    ("environment", "E"),
    ("playback", "P"),
    ("recording", "R"),
)
"""The letters that the codes of ASVspoof 2017 begin with: they tell the columns of a trial list without key."""

AUDIO_ENDINGS = frozenset({"wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "sph", "aif", "aiff"})


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: `file` as it is written, whether it is genuine where that is known, and what else is."""

    file: str
    genuine: bool | None = None
    speaker: str | None = None
    phrase: str | None = None
    environment: str | None = None
    playback: str | None = None
    recording: str | None = None
    attack: str | None = None
    codec: str | None = None
    codec_quality: str | None = None
    transmission: str | None = None
    source: str | None = None
    vocoder: str | None = None
    task: str | None = None
    team: str | None = None
    gender: str | None = None
    language: str | None = None
    attack_tag: str | None = None
    room: str | None = None
    microphone: str | None = None
    distance: str | None = None
    attack_room: str | None = None
    attack_microphone: str | None = None
    attack_device: str | None = None
    attack_distance: str | None = None
    trim: str | None = None
    subset: str | None = None

    @property
    def id(self) -> str:
        return trial_id(self.file)


@dataclass(frozen=True)
class Key:
    """The trials of a list in its order, what is wrong with its lines, and how it was read: the data set it was
    recognised as, if it was, and the roles of its columns (`-` for one that was not used)."""

    trials: list[Trial]
    problems: list[str]
    dataset: str | None
    columns: tuple[str, ...]

    @property
    def facts(self) -> list[Fact]:
        """What it tells of any trial."""
        return [fact for fact in FACTS if any(getattr(trial, fact) is not None for trial in self.trials)]

    def __str__(self) -> str:
        """How it was read, in words."""
        parts = [] if "subset" in self.columns else partitions([trial.file for trial in self.trials])
        of = ", ".join([self.dataset, *parts]) if self.dataset else "a key of no known data set"
        return f"{of}; columns: {', '.join(self.columns)}"


def trial_id(file: str) -> str:
    """A file's name without the ending of a sound file: lists name files with it or without."""
    name, _, ending = file.rpartition(".")
    return name if name and ending.lower() in AUDIO_ENDINGS else file


def read_key(path: Path, columns: Sequence[str] = (), without: Collection[int] = ()) -> Key:
    """A protocol, key or meta file.

    `columns` names the columns where they cannot be told; those of `without` mean something else.

    Raises: InvalidArgument when the file has no lines, a name of `columns` is unknown, or it is a key of speaker
    verification; OSError when it cannot be read.
    """
    table = read_table(path, columns)
    refuse_verification(table)
    layout, roles = recognised(table, without) or (None, _roles(table, without, by_hand=bool(columns)))
    file, key = table.cells(roles["file"]), table.cells(roles["key"]) if "key" in roles else None
    facts = {fact: table.cells(roles[fact]) for fact in FACTS if fact in roles}
    trials, problems = list[Trial](), list[str]()
    for row, (line, name) in enumerate(zip(table.lines, file, strict=True)):
        if not name:
            problems.append(f"line {line} names no file")
            continue
        genuine = None
        if key is not None and key[row] not in ("", SKIPPED):
            if key[row].lower() not in KEY_WORDS:
                problems.append(f"line {line}: {key[row]!r} is neither genuine (bonafide) nor spoof")
                continue
            genuine = key[row].lower() in GENUINE_WORDS
        known = {fact: meant(layout, fact, cells[row], genuine=genuine) for fact, cells in facts.items()}
        trials.append(Trial(name, genuine, **known))
    return Key(trials, problems, layout.name if layout else None, _named(table, roles))


def read_trials(
    path: Path, columns: Sequence[str] = (), without: Collection[int] = ()
) -> tuple[list[Trial], list[str]]:
    """The trials of a protocol, key or meta file, and what is wrong with its lines. Raises: as `read_key`."""
    key = read_key(path, columns, without)
    return key.trials, key.problems


def add_facts(trials: Sequence[Trial], more: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """Trials with what another list tells of them, and where the two differ; the first list counts there.

    Trials that only the other list has are left out.
    """
    told, added, differ = {trial.id: trial for trial in more}, list[Trial](), list[str]()
    for trial in trials:
        theirs = told.get(trial.id, trial)
        known = {name: value for name in ("genuine", *FACTS) if (value := getattr(theirs, name)) is not None}
        mine = {name: getattr(trial, name) for name in known}
        differ += [
            f"{trial.file}: {name} is {value}, and {mine[name]} in another list"
            for name, value in known.items()
            if mine[name] not in (None, value)
        ]
        added.append(replace(trial, **{name: value for name, value in known.items() if mine[name] is None}))
    return added, differ


def _named(table: Table, roles: Mapping[Role, int]) -> tuple[str, ...]:
    names = {column: role for role, column in roles.items()}
    return tuple(names.get(column, SKIPPED) for column in range(table.width))


def _roles(table: Table, without: Container[int], *, by_hand: bool) -> dict[Role, int]:
    """The column of each role: as named, else as the content tells; where a person named them, no other."""
    roles: dict[Role, int] = dict(table.named)
    key = key_column(table, without)
    if key is not None:
        roles["key"] = key
    roles["file"] = file_column(table, key, without)
    others = [column for column in range(table.width) if column not in roles.values() and column not in without]
    if not by_hand:
        roles |= {role: column for role, column in marked(table, others).items() if role not in roles}
    if table.named:
        return roles
    others = [column for column in others if column not in roles.values()]
    return roles | (_coded(table, others) if key is None else _placed(roles["file"], key, others))


def _placed(file: int, key: int, others: Sequence[int]) -> dict[Role, int]:
    """What the other columns of a list with keys mean, by their places."""
    if (file, key) == (0, 1):
        return dict(zip(FACTS_2017, others, strict=False))
    placed: dict[Role, int] = {}
    if key >= 2 and key - 1 in others:
        placed["attack"] = key - 1
    if file == 1 and 0 in others and key >= 3:
        placed["speaker"] = 0
    if (file, key) == (1, 4):
        placed["environment"] = 2
    return placed


def _coded(table: Table, others: Sequence[int]) -> dict[Role, int]:
    """What the columns of a list without keys mean, by the letters of their codes."""
    coded: dict[Role, int] = {}
    for column in others:
        codes = [cell for cell in table.cells(column) if cell not in ("", SKIPPED)]
        for fact, letter in CODES:
            if codes and all(re.fullmatch(rf"{letter}\d+", cell) for cell in codes):
                coded.setdefault(fact, column)
    return coded
