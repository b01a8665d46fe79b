"""What commands print: results on stdout, as text or JSON; progress and messages on stderr."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from earwitness.text import duration, json_text

if TYPE_CHECKING:
    from rich.console import Console

Update = Callable[[float, float, str], None]
"""Receives how much is done, out of how much, and a short remark."""
PIPE_COLUMNS = 200
"""Width of a table that is not printed on a terminal, unless COLUMNS is set."""
FIRST_LINE_S = 1.0
"""Time until the first line on progress in a log."""
LINE_S = 10.0
"""Time between two such lines."""


def say(words: str) -> None:
    """A message on stderr."""
    _messages().print(words, markup=False)


def show(words: str) -> None:
    """A line of the result on stdout."""
    typer.echo(words)


def show_page(folder: Path) -> None:
    """Where the page of an output folder is, as a link."""
    show(f"look and listen: {(folder / 'index.html').absolute().as_uri()}")


def print_json(document: Any) -> None:
    """One JSON document on stdout; NaN and infinity, which JSON lacks, become null."""
    typer.echo(json_text(document))


def print_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], *, keys: int = 1) -> None:
    """A table on stdout, as wide as the terminal: see `tables`."""
    from rich.console import Console
    from rich.text import Text

    from earwitness.cli.tables import folded, tables

    width = shutil.get_terminal_size((PIPE_COLUMNS, 0)).columns
    console = Console(highlight=False, width=width, soft_wrap=True)
    if title:
        console.print(Text("\n".join(folded(title, width)), style="bold"))
    for part in tables(columns, rows, width, keys=keys):
        console.print(part, markup=False)
        if not isinstance(part, str):
            console.print()


@contextmanager
def progress(description: str, unit: str = "") -> Iterator[Update]:
    """Show progress on stderr: a bar on a terminal, removed at the end; elsewhere an occasional line, for a log.

    `unit` is what is counted, in the plural. Work that finishes at once leaves no line.
    """
    if _messages().is_terminal:
        with _bar(description) as update:
            yield update
        return
    log = ProgressLog(description, unit, time.monotonic())
    ended = threading.Event()

    def tell() -> None:
        wait_s = FIRST_LINE_S
        while not ended.wait(wait_s):
            say(log.line(time.monotonic()))
            wait_s = LINE_S

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield lambda done, total, words: log.update(time.monotonic(), done, total, words)
    finally:
        ended.set()
        teller.join()


@contextmanager
def _bar(description: str) -> Iterator[Update]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=_messages(), transient=True) as bars:
        task = bars.add_task(description, total=None, words="")
        yield lambda done, total, words: bars.update(task, completed=done, total=total, words=words)


class ProgressLog:
    """Progress as a line: how much is done, of how much, and how long is left. All times are of one clock, in s."""

    def __init__(self, description: str, unit: str, begun_s: float) -> None:
        self._description = description
        self._unit = f" {unit}" if unit else ""
        self._begun_s = begun_s
        self._state: tuple[float, float, str] | None = None
        self._since = (begun_s, 0.0)
        """When the counting of this total began, and at what value."""

    def update(self, now_s: float, done: float, total: float, words: str) -> None:
        """Update the count; another total, or a smaller count, starts new work."""
        if self._state is None or total != self._state[1] or done < self._state[0]:
            self._since = (now_s, done)
        self._state = (done, total, words)

    def line(self, now_s: float) -> str:
        """E.g. `searching: 340 of 1000 steps (34 %), median activation 3.1, 12 s so far, about 23 s left`."""
        so_far = f"{duration(now_s - self._begun_s)} so far"
        if self._state is None:
            return f"{self._description}: {so_far}"
        done, total, words = self._state
        share = f"{done / total:.0%}".replace("%", " %") if total else ""
        counts = f"{done:.0f} of {total:.0f}{self._unit} ({share})" if total > 1 else share
        begun_s, first = self._since
        left = ""
        if first < done < total and "left" not in words.split():  # some who count know better how long it takes
            left = f"about {duration((total - done) * (now_s - begun_s) / (done - first))} left"
        return f"{self._description}: {', '.join(filter(None, (counts, words, so_far, left)))}"


@cache
def _messages() -> "Console":
    """One console, so that messages and a running bar make way for each other."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)
