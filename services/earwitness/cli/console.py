"""What commands print: results on stdout, as text or JSON; progress and messages on stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from earwitness.text import json_text

if TYPE_CHECKING:
    from rich.console import Console

Update = Callable[[float, float, str], None]
"""Told how much is done, of how much, and a few words on it."""
PIPE_COLUMNS = 200
"""Width of a table that is not printed on a terminal."""


def say(words: str) -> None:
    """A message on stderr."""
    _messages().print(words, markup=False)


def show(words: str) -> None:
    """A line of the result on stdout."""
    typer.echo(words)


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN and infinity, which JSON lacks, become null."""
    typer.echo(json_text(document))


def print_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; a column whose name ends in # holds numbers and is set flush right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        number = column.endswith("#")
        table.add_column(column.removesuffix("#"), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    if title:
        console.print(Text(title, style="bold"))
    console.print(table)


@contextmanager
def progress(description: str) -> Iterator[Update]:
    """A bar on stderr with the time left, gone when the work is done; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    console = _messages()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(description, total=None, words="")
        yield lambda done, total, words: bars.update(task, completed=done, total=total, words=words)


@cache
def _messages() -> "Console":
    """One console, so that messages and a running bar make way for each other."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)
