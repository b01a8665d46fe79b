"""Protocols and keys: which trials there are, which are genuine, and how the spoofs were made.

Read as they are distributed. The columns of ASVspoof 2017, the last five of them where they are known:

    FILE genuine|spoof [SPEAKER [PHRASE [ENVIRONMENT [PLAYBACK [RECORDING]]]]]

ASVspoof 2019 and 2021 have SPEAKER FILE ... ATTACK bonafide|spoof ...; any other order needs a header, or has nothing
but file and key. `-` is a missing value.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from earwitness.detection.tables import (
    GENUINE_WORDS,
    KEY_WORDS,
    SKIPPED,
    Role,
    Table,
    file_column,
    key_column,
    read_table,
)

Fact = Literal["speaker", "phrase", "environment", "playback", "recording", "attack"]
FACTS: tuple[Fact, ...] = get_args(Fact)
FACTS_2017 = FACTS[:5]
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

    @property
    def id(self) -> str:
        return trial_id(self.file)


def trial_id(file: str) -> str:
    """A file's name without the ending of a sound file: lists name files with it or without."""
    name, _, ending = file.rpartition(".")
    return name if name and ending.lower() in AUDIO_ENDINGS else file


def read_trials(path: Path, columns: Sequence[str] = (), without: Container[int] = ()) -> tuple[list[Trial], list[str]]:
    """The trials of a protocol, key or meta file in its order, and what is wrong with its lines.

    `columns` names the columns where they cannot be told; those of `without` mean something else.

    Raises: InvalidArgument when the file has no lines or a name of `columns` is unknown; OSError when it cannot be
    read.
    """
    table = read_table(path, columns)
    roles = _roles(table, without)
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
        known = {fact: cells[row] for fact, cells in facts.items() if cells[row] not in ("", SKIPPED)}
        trials.append(Trial(name, genuine, **known))
    return trials, problems


def add_facts(trials: Sequence[Trial], more: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """Trials with what another list tells of them, and where the two differ; the first list counts there.

    Trials that only the other list has are left out.
    """
    told, added, differ = {trial.id: trial for trial in more}, list[Trial](), list[str]()
    for trial in trials:
        mine, theirs = asdict(trial), asdict(told.get(trial.id, trial))
        known = {name: value for name, value in theirs.items() if value is not None and name != "file"}
        differ += [
            f"{trial.file}: {name} is {value}, and {mine[name]} in another list"
            for name, value in known.items()
            if mine[name] not in (None, value)
        ]
        added.append(replace(trial, **{name: value for name, value in known.items() if mine[name] is None}))
    return added, differ


def _roles(table: Table, without: Container[int]) -> dict[Role, int]:
    """The column of each role: as named, else as the content tells."""
    roles: dict[Role, int] = dict(table.named)
    key = key_column(table, without)
    if key is not None:
        roles["key"] = key
    roles["file"] = file_column(table, key, without)
    if table.named:
        return roles
    others = [column for column in range(table.width) if column not in roles.values() and column not in without]
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
