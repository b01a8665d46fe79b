"""Tables that stay readable at any width: cells fold at blanks, wide tables are cut into parts, or stacked."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2
"""Blanks between two columns."""
LONGEST_NUMBER = 24
"""Longer cells of numbers (`explainer 1.2, scorer 0.3, ...`) are lists, and fold as words do."""


@dataclass(frozen=True)
class Column:
    """A column with its cells. Numbers are set flush right and kept on one line."""

    name: str
    cells: tuple[str, ...]
    numbers: bool

    @property
    def least(self) -> int:
        """The narrowest that it can be without breaking a word or a number."""
        whole = LONGEST_NUMBER if self.numbers else 0
        cells = (_width(cell) if _width(cell) <= whole else _longest_word(cell) for cell in self.cells)
        return max((_longest_word(self.name), *cells))

    @property
    def natural(self) -> int:
        """The width at which nothing folds."""
        return max(map(_width, (self.name, *self.cells)))


def tables(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, keys: int = 1
) -> "Iterator[Table | str]":
    """A table in `width` columns, wider only if a single word is: rich's tables, or lines.

    A column whose name ends in # holds numbers. Cells fold at blanks. Where not all columns go side by side, those that
    do not are a table of their own below, with the first `keys` columns again; where one does not go beside the keys,
    each row becomes a paragraph, a line for each of its cells.
    """
    made = [
        Column(name.removesuffix("#"), tuple(row[index] for row in rows), name.endswith("#"))
        for index, name in enumerate(columns)
    ]
    parts = _parts(made, width, min(keys, len(made) - 1))
    if parts is None:
        yield from _stacked(made, width)
    else:
        yield from (_side_by_side(part, width) for part in parts)


def _parts(columns: Sequence[Column], width: int, keys: int) -> list[list[Column]] | None:
    """The columns of each part, as few parts as will do; None where a column does not fit beside the keys."""
    if _room([column.least for column in columns]) <= width:
        return [list(columns)]
    parts: list[list[Column]] = []
    for column in columns[keys:]:
        if not parts or _room([each.least for each in (*parts[-1], column)]) > width:
            parts.append([*columns[:keys]])
        parts[-1].append(column)
    return parts if all(_room([each.least for each in part]) <= width for part in parts) else None


def _side_by_side(columns: Sequence[Column], width: int) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for column, room in zip(columns, _widths(columns, width), strict=True):
        table.add_column(Text(column.name), justify="right" if column.numbers else "left", overflow="fold", width=room)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Room for each column: all that it would take, but for the widest, which share what is left."""
    limit = max(column.natural for column in columns)
    while True:
        widths = [min(column.natural, max(column.least, limit)) for column in columns]
        if _room(widths) <= width or limit == 0:
            return widths
        limit -= 1


def _room(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _stacked(columns: Sequence[Column], width: int) -> Iterator[str]:
    """A paragraph for each row: a column's name, and its cell folded beside it; empty cells are left out."""
    indent = max(len(column.name) for column in columns) + GAP
    for cells in zip(*(column.cells for column in columns), strict=True):
        for column, cell in zip(columns, cells, strict=True):
            if cell:
                first, *more = folded(cell, width - indent)
                yield column.name.ljust(indent) + first
                yield from (" " * indent + line for line in more)
        yield ""


def folded(text: str, width: int) -> list[str]:
    """Lines that end at blanks, none wider than `width` unless a single word is."""
    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]


def _longest_word(text: str) -> int:
    return max(map(_width, text.split()), default=0)


def _width(text: str) -> int:
    """Columns that it takes on a terminal: two for each character of East Asian scripts."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
