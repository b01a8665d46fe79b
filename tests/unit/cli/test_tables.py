"""Tables at the widths of terminals: no word is broken, no figure torn apart, nothing is lost, nothing sticks out."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earwitness import cli
from earwitness.cli import console
from earwitness.cli.app import app
from earwitness.cli.tables import LONGEST_NUMBER
from tests.unit.cli.printed import everything
from tests.unit.cli.test_wording import ALL

WIDTHS = (80, 100)
RULE = "─"


@dataclass(frozen=True)
class Printed:
    """A table as a command gave it, and where in the code."""

    place: tuple[str, int]
    title: str | None
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: int


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Printed]:
    """Every table that a command prints."""
    found = []

    def keep(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], *, keys: int = 1) -> None:
        caller = sys._getframe(1)
        place = (Path(caller.f_code.co_filename).name, caller.f_lineno)
        found.append(Printed(place, title, columns, [list(row) for row in rows], keys))

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(console, "print_table", keep)
        for show in everything(tmp_path_factory.mktemp("printed")).values():
            show()
    return found


def test_every_call_that_prints_a_table_is_among_them(tables: list[Printed]) -> None:
    places = {each.place for each in tables}
    for path in sorted(Path(next(iter(cli.__path__))).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "console.print_table":
                lines = {(path.name, line) for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
                assert places & lines, f"{path.name}:{node.lineno} prints a table that is not in printed.py"


@pytest.mark.parametrize("width", [40, *WIDTHS, 200])
def test_they_are_whole(
    tables: list[Printed], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for each in tables:
        console.print_table(each.title, each.columns, each.rows, keys=each.keys)
        shown = capsys.readouterr().out
        where = f"{each.place} at {width}:\n{shown}"
        said = Counter(shown.split())
        for text in (each.title or "", *(cell for row in each.rows for cell in row)):
            for word in text.split():
                assert said[word], f"{word!r} of {where}"
        words = Counter(word for row in each.rows for cell in row for word in cell.split())
        assert all(said[word] >= count for word, count in words.items()), where
        stacked = RULE not in shown
        for name, *cells in zip(each.columns, *each.rows, strict=True):
            assert all(said[word] for word in name.removesuffix("#").split() if any(cells) or not stacked), where
            if name.endswith("#"):
                whole = [cell for cell in cells if len(cell) <= LONGEST_NUMBER]
                assert stacked or all(any(cell in line for line in shown.splitlines()) for cell in whole), where
        longest = max(map(len, said))
        assert width < 80 or max(map(len, shown.splitlines())) <= max(width, longest + 20), where


def test_at_80_columns_rows_are_rows_but_where_a_path_is_too_long(
    tables: list[Printed], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for each in tables:
        console.print_table(each.title, each.columns, each.rows, keys=each.keys)
        shown = capsys.readouterr().out
        assert RULE in shown or max(map(len, shown.split())) > 50, f"{each.place}:\n{shown}"


def test_help_is_whole_at_80_columns() -> None:
    """Of titles of its panels typer cuts off what is too long, and it breaks words that are."""
    for command in ALL:
        words = []
        for width in (80, 300):
            shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": str(width)}).stdout
            titles = re.findall(r"╭─ (.*?) ?─*╮", shown)
            words.append((titles, set(re.sub("[─│╭╮╰╯]", " ", shown).split())))
        assert words[0] == words[1], command
