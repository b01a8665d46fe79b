"""The columns of the keys that ASVspoof distributes, and by what one is recognised.

Sources: the README of each data set; for 2021 that of the evaluation package, asvspoof-challenge/2021; for ASVspoof 5
that of the database, and asvspoof-challenge/asvspoof5.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from earwitness.detection.tables import GENUINE_WORDS, KEY_WORDS, MOSTLY, SKIPPED, Role, Table
from earwitness.errors import InvalidArgument

FITTING = 0.9
"""This share of the lines must fit a layout; what is wrong with the others is told line by line."""

ASV_WORDS = frozenset({"target", "nontarget"})
"""What a key of speaker verification says of trials that are no spoofs."""

_KEY = "|".join(map(re.escape, sorted(KEY_WORDS)))
_SUBSET = r"progress|eval|hidden(_track)?(_[12])?"
_TAIL: Mapping[Role, str] = {"key": _KEY, "trim": "(no)?trim", "subset": _SUBSET}

_COLUMNS_2017: tuple[Role, ...] = ("file", "key", "speaker", "phrase", "environment", "playback", "recording")


@dataclass(frozen=True)
class Layout:
    """A key's columns in their order, None for one that says nothing here; `forms` are what some must look like."""

    name: str
    columns: tuple[Role | None, ...]
    forms: Mapping[Role, str]

    @property
    def roles(self) -> dict[Role, int]:
        """The place of each role."""
        return {role: place for place, role in enumerate(self.columns) if role is not None}

    def fits(self, row: Sequence[str]) -> bool:
        """Whether a line may be one of this layout."""
        roles = self.roles
        return len(row) == len(self.columns) and all(
            re.fullmatch(form, row[roles[role]], re.IGNORECASE) for role, form in self.forms.items()
        )


LAYOUTS = (
    Layout(
        "ASVspoof 2021 DF",
        ("speaker", "file", "codec", "source", "attack", "key", "trim", "subset",
         "vocoder", "task", "team", "gender", "language"),
        _TAIL,
    ),
    Layout(
        "ASVspoof 2021 DF, the first release",
        ("speaker", "file", "codec", "source", "attack", "key", "trim", "subset"),
        {**_TAIL, "file": "DF_.*"},
    ),
    Layout(
        "ASVspoof 2021 LA",
        ("speaker", "file", "codec", "transmission", "attack", "key", "trim", "subset"),
        _TAIL,
    ),
    Layout(
        "ASVspoof 2021 PA",
        ("speaker", "file", "room", "microphone", "distance", "attack_room", "attack_microphone", "attack_device",
         "attack_distance", "key", "trim", "subset"),
        _TAIL,
    ),
    Layout(
        "ASVspoof 2021 PA, the first release",
        ("speaker", "file", None, None, "key", "trim", "subset"),
        _TAIL,
    ),
    Layout(
        "ASVspoof 5 Track 1",
        ("speaker", "file", "gender", "codec", "codec_quality", None, "attack_tag", "attack", "key", None),
        {"key": _KEY, "gender": "[FM-]", "codec": r"C\d+|-", "attack": rf"A\d+|-|{_KEY}"},
    ),
    Layout(
        "ASVspoof 5 Track 1, the first phase",
        ("speaker", "file", "gender", None, "attack", "key"),
        {"key": _KEY, "gender": "[FM-]", "attack": rf"A\d+|-|{_KEY}"},
    ),
    Layout(
        "ASVspoof 2019 PA",
        ("speaker", "file", "environment", "attack", "key"),
        {"key": _KEY, "environment": "[abc]{3}", "attack": "[ABC]{2}|-"},
    ),
    Layout(
        "ASVspoof 2019 LA",
        ("speaker", "file", None, "attack", "key"),
        {"key": _KEY, "file": "LA_.*", "attack": r"A\d+|-"},
    ),
    *(
        Layout(
            "ASVspoof 2017",
            _COLUMNS_2017[:count],
            {"file": r"[TDE]_\d+(\.wav)?", "key": _KEY, **({"speaker": r"[FM]\d+|-"} if count > 2 else {})},
        )
        for count in (7, 6, 5, 4, 3, 2)
    ),
)  # fmt: skip
"""The first one that fits is taken."""

MARKS: Mapping[Role, str] = {"trim": _TAIL["trim"], "subset": _TAIL["subset"]}
"""What tells a column of any key."""

PARTITIONS: Mapping[str, str] = {"T": "train", "D": "dev", "E": "eval"}
"""By the letter that names of files carry, as in LA_E_1234567 and T_1000001."""


def recognised(table: Table, without: Collection[int]) -> tuple[Layout, dict[Role, int]] | None:
    """The layout that a table has, and the column of each role; columns of `without` do not count.

    Where a header, or a person, names columns, they must be those of the layout.
    """
    kept = [column for column in range(table.width) if column not in without]
    rows = [[row[column] for column in kept if column < len(row)] for row in table.sampled_rows()]
    for layout in LAYOUTS:
        if sum(map(layout.fits, rows)) >= FITTING * len(rows):
            roles = {role: kept[place] for role, place in layout.roles.items()}
            named = {role: column for role, column in table.named.items() if column not in without}
            return (layout, roles) if not named or named == roles else None
    return None


def marked(table: Table, columns: Collection[int]) -> dict[Role, int]:
    """Those of `columns` that their words tell, in a list that has no known layout."""
    found: dict[Role, int] = {}
    for role, form in MARKS.items():
        for column in columns:
            cells = table.sample(column)
            if sum(re.fullmatch(form, cell, re.IGNORECASE) is not None for cell in cells) >= FITTING * len(cells):
                found.setdefault(role, column)
    return found


def meant(layout: Layout | None, role: Role, cell: str, *, genuine: bool | None) -> str | None:
    """What a cell says in its column; None where it says nothing.

    Genuine trials have `bonafide` for an attack or a vocoder in some keys. In ASVspoof 5 a `-` among the codecs is a
    condition of its own, as `none` is in 2021. The distance of 2021 PA is that of the
    talker from the ASV system for genuine trials, D1 to D6, and that of the replay device for spoofs, d1 to d6.
    """
    if role == "codec" and cell == SKIPPED and layout is not None and layout.name.startswith("ASVspoof 5"):
        return "none"
    if cell in ("", SKIPPED) or (role in ("attack", "vocoder") and cell.lower() in GENUINE_WORDS):
        return None
    if role == "distance" and genuine is not None and layout is not None and layout.name.startswith("ASVspoof 2021 PA"):
        return cell.upper() if genuine else cell.lower()
    return cell.lower() if role == "subset" else cell


def refuse_verification(table: Table) -> None:
    """Raises: InvalidArgument for a key, or scores, of speaker verification (ASV) in place of a countermeasure's."""
    for column in [table.named["key"]] if "key" in table.named else range(table.width):
        cells = [cell.lower() for cell in table.sample(column)]
        verified = sum(cell in ASV_WORDS for cell in cells)
        if verified and verified + sum(cell in KEY_WORDS for cell in cells) > MOSTLY * len(cells):
            raise InvalidArgument(
                str(table.path),
                f"is of speaker verification (ASV): column {column + 1} says target and nontarget; give the key and "
                "the scores of the countermeasure (CM): keys/LA/CM/trial_metadata.txt, ASVspoof2019.LA.cm.eval.trl.txt "
                "or ASVspoof5.eval.track_1.tsv, say",
            )


def partitions(files: Sequence[str]) -> list[str]:
    """Of which parts of a data set trials are, as the names of their files tell; none where they do not all."""
    letters = {found[1] if (found := re.match(r"(?:[A-Z]{2}_)?([TDE])_", file)) else "" for file in files}
    return [] if "" in letters else [part for letter, part in PARTITIONS.items() if letter in letters]
