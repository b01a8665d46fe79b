"""Text tables as anyone writes them: which character parts the columns, whether they have names, what each one holds.

A column is told apart by its header, or by its content: labels, numbers, known names, the most different values.
"""

import csv
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from earwitness.errors import InvalidArgument
from earwitness.text import kind_of, plain_text

Fact = Literal[
    "speaker", "phrase", "environment", "playback", "recording", "attack",
    "codec", "codec_quality", "transmission", "source", "vocoder", "task", "team", "gender", "language", "attack_tag",
    "room", "microphone", "distance", "attack_room", "attack_microphone", "attack_device", "attack_distance",
    "trim", "subset",
]  # fmt: skip
"""What a key may tell of a trial besides its class. ASVspoof 2017 has the first five; `layouts` says who has which."""
Role = Literal["file", "key", "score"] | Fact
FACTS: tuple[Fact, ...] = get_args(Fact)
ROLES: tuple[Role, ...] = ("file", "key", "score", *FACTS)
SKIPPED = "-"
"""Stands for a column without a role where columns are named by hand, and for a missing value in a protocol."""

GENUINE_WORDS = frozenset({"genuine", "bonafide", "bona-fide", "bona_fide"})
SPOOF_WORDS = frozenset({"spoof", "spoofed"})
KEY_WORDS = GENUINE_WORDS | SPOOF_WORDS

NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE)
"""Narrower than Python's own, which takes `1_0` for ten, and digits of any script."""

SAMPLED = 5000
MOSTLY = 0.5
"""A column of keys or numbers may hold others, up to this share, to be told by name."""

NAMES: Mapping[str, Role] = {
    **dict.fromkeys(("file", "filename", "id", "utt", "utterance", "trial", "name", "path", "audiofilename"), "file"),
    **dict.fromkeys(("uttid", "utteranceid", "trialid", "fileid", "wav", "audio", "flacfilename", "trialanon"), "file"),
    **dict.fromkeys(("key", "label", "class", "type", "speechtype", "target", "cmlabel"), "key"),
    **dict.fromkeys(("score", "scores", "cmscore", "llr", "logodds", "logit"), "score"),
    **dict.fromkeys(("speaker", "speakerid", "spk", "spkid"), "speaker"),
    **dict.fromkeys(("phrase", "phraseid", "sentence"), "phrase"),
    **dict.fromkeys(("environment", "environmentid", "env", "envid"), "environment"),
    **dict.fromkeys(("playback", "playbackdevice", "playbackid"), "playback"),
    **dict.fromkeys(("recording", "recordingdevice", "recorder", "recordingid"), "recording"),
    **dict.fromkeys(("attack", "attackid", "attacktype", "systemid", "attacklabel", "attackanon"), "attack"),
    **dict.fromkeys(("codec", "compr", "compression"), "codec"),
    **dict.fromkeys(("codecq", "codecquality"), "codec_quality"),
    **dict.fromkeys(("trans", "transmission"), "transmission"),
    **dict.fromkeys(("gender", "genderpair", "speakergender"), "gender"),
    **dict.fromkeys(("room", "asvroom"), "room"),
    **dict.fromkeys(("microphone", "asvmic"), "microphone"),
    **dict.fromkeys(("distance", "distoasv"), "distance"),
    **dict.fromkeys(("attackroom", "attroom"), "attack_room"),
    **dict.fromkeys(("attackmicrophone", "attmic"), "attack_microphone"),
    **dict.fromkeys(("attackdevice", "attd"), "attack_device"),
    **dict.fromkeys(("attackdistance", "atttospk"), "attack_distance"),
    **dict.fromkeys(("subset", "phase", "split", "partition"), "subset"),
    "attacktag": "attack_tag",
    "source": "source",
    "vocoder": "vocoder",
    "task": "task",
    "team": "team",
    "language": "language",
    "trim": "trim",
}
"""Roles of header names, in lower case and without marks: `CM-score` is `cmscore`; `utt-0001` is none, it is a file."""


@dataclass(frozen=True)
class Table:
    """Rows of cells, the numbers of their lines, and the roles that a header gave to columns."""

    path: Path
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    named: Mapping[Role, int]

    @property
    def width(self) -> int:
        return max(map(len, self.rows), default=0)

    def cells(self, column: int) -> list[str]:
        """A column; empty where a row is shorter."""
        return [row[column] if column < len(row) else "" for row in self.rows]

    def sampled_rows(self) -> Sequence[Sequence[str]]:
        """SAMPLED rows, or all there are, evenly spread: enough to tell what the columns hold."""
        return self.rows[:: 1 + len(self.rows) // SAMPLED]

    def sample(self, column: int) -> list[str]:
        """The cells of a column in those rows."""
        return [row[column] if column < len(row) else "" for row in self.sampled_rows()]

    def best(
        self, value: Callable[[Iterable[str]], float], without: Container[int | None] = (), least: float = 0
    ) -> int | None:
        """The first column whose sample has the highest `value` above `least`."""
        values = {column: value(self.sample(column)) for column in range(self.width) if column not in without}
        best = max(values, key=values.__getitem__, default=None)
        return best if best is not None and values[best] > least else None


def read_table(path: Path, columns: Sequence[str] = ()) -> Table:
    """A text file whose columns are parted by tabs, commas, semicolons or blanks, whichever stands in every line.

    Empty lines and comments are left out. `columns` names them by hand, `-` for one without a role.

    Raises: InvalidArgument when there are no lines or a name of `columns` is unknown; OSError when it cannot be read.
    """
    text = plain_text(path)
    if "\0" in text:
        raise InvalidArgument(str(path), f"is no text but {kind_of(path) or 'something else'}; give a plain text file")
    kept = [
        (number, line)
        for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1)
        if line.strip() and not is_comment(line)
    ]
    if not kept:
        raise InvalidArgument(str(path), "holds no lines")
    lines = [line for _, line in kept]
    mark = next((mark for mark in "\t,;" if all(mark in line for line in lines)), None)
    rows = [_cells(line, mark) for line in lines]
    numbers = [number for number, _ in kept]
    header = _is_header(rows)
    named = _roles(path, columns) if columns else _named(rows[0]) if header else {}
    return Table(path, rows[header:], numbers[header:], named)


def is_comment(line: str) -> bool:
    """A line with # and a blank, or another #, before its words; or # at once, and nothing of a row in it.

    The name of a trial may begin with #: what holds a number or a key is a row, and names of columns are a header.
    """
    words = line.lstrip()
    if not words.startswith("#"):
        return False
    if not words[1:2].strip("# \t"):
        return True
    cells = re.split(r"[\s,;]+", words)
    return not (any(is_number(cell) or _is_key(cell) for cell in cells[1:]) or len(_named(cells)) > 1)


def _cells(line: str, mark: str | None) -> list[str]:
    if mark is not None:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark))]
    if '"' not in line:
        return line.split()
    return [cell for cell in next(csv.reader([re.sub(r"\s", " ", line)], delimiter=" ")) if cell]


def is_number(cell: str) -> bool:
    """Whether it is a decimal number, in ASCII digits and without `_`, or the word for NaN or infinity."""
    return NUMBER.fullmatch(cell) is not None


def _is_key(cell: str) -> bool:
    return cell.lower() in KEY_WORDS


def number_share(cells: Iterable[str]) -> float:
    return _share(cells, is_number)


def key_share(cells: Iterable[str]) -> float:
    return _share(cells, _is_key)


def key_column(table: Table, without: Container[int | None] = ()) -> int | None:
    """The column that says genuine or spoof: by name, else by content."""
    return table.named.get("key", table.best(key_share, without, least=MOSTLY))


def file_column(table: Table, key: int | None, without: Container[int | None] = ()) -> int:
    """The column of file names: by name; the first where the key is the second, as in ASVspoof 2017; else that of the
    most different values, numbers last.

    Where it is a tie, the second column if the key comes after the third, as in ASVspoof 2019 and later; else the
    first.

    Raises: InvalidArgument when every column means something else.
    """
    if "file" in table.named:
        return table.named["file"]
    if key == 1 and 0 not in without and not table.named:
        return 0
    usual = 1 if key is not None and key >= 3 else 0
    values = {
        column: (number_share(cells) < MOSTLY, len(set(cells)), column == usual)
        for column in range(table.width)
        if column != key and column not in without and (cells := table.sample(column))
    }
    if not values:
        raise InvalidArgument(str(table.path), "has no column of file names")
    return max(values, key=values.__getitem__)


def _share(cells: Iterable[str], test: Callable[[str], bool]) -> float:
    answers = [test(cell) for cell in cells]
    return sum(answers) / max(1, len(answers))


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """No key and no number in it, but names that mean something, or else numbers below it.

    Above keys it takes such a name: the first trial, its key misspelt, looks like a header too. So does one whose score
    is misspelt, above numbers; but its name is like the next but for the digits.
    """
    if any(is_number(cell) or _is_key(cell) for cell in rows[0]):
        return False
    if any(re.search("[0-9]", cell) and _shape(cell) == _shape(below) for cell, below in zip(*rows[:2], strict=False)):
        return False
    known = len(_named(rows[0]))
    if any(_is_key(cell) for row in rows[1:] for cell in row):
        return known > 0
    return known > 1 or any(is_number(cell) for row in rows[1:2] for cell in row)


def _shape(cell: str) -> str:
    return re.sub("[0-9]", "0", cell)


def _named(header: Sequence[str]) -> dict[Role, int]:
    """Columns by role, the first of each."""
    named: dict[Role, int] = {}
    for column, name in enumerate(header):
        role = NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))
        if role is not None:
            named.setdefault(role, column)
    return named


def _roles(path: Path, columns: Sequence[str]) -> dict[Role, int]:
    roles: dict[Role, int] = {}
    for column, name in enumerate(columns):
        role = next((role for role in ROLES if role == name), None)
        if role is not None and role not in roles:
            roles[role] = column
        elif name != SKIPPED:
            known = ", ".join(ROLES)
            raise InvalidArgument(str(path), f"{name!r} cannot name a column; known are {known}, and - to skip; once")
    return roles
