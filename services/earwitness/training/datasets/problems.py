"""What can be wrong with data, as values that are collected rather than raised one by one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from earwitness.detection.errors import listed
from earwitness.training.corpus import DatasetError

Severity = Literal["error", "warning", "note"]
"""Errors keep data from being imported; warnings are likely mistakes; notes are only worth knowing."""


@dataclass(frozen=True)
class Problem:
    """One finding; `file` is relative to the data's folder, and empty when the data as a whole are concerned.

    `code` names the kind of finding for machines, e.g. `missing-audio`.
    """

    severity: Severity
    code: str
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.file else self.message


class BrokenData(DatasetError):
    """Data that cannot be used; `problems` holds every finding, the message the errors of each code, counted."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        errors = errors_of(self.problems)
        by_code: dict[str, list[Problem]] = {}
        for error in errors:
            by_code.setdefault(error.code, []).append(error)
        told = "; ".join(map(_summed, by_code.values()))
        super().__init__(f"{path}: {count(len(errors), 'error')}: {told}; see `earwitness data check`")


def _summed(problems: Sequence[Problem]) -> str:
    """Problems of one code: the first in full, of the others the files, where they are many some of them."""
    others = [each.file or each.message for each in problems[1:]]
    return f"{problems[0]}{f' (likewise {listed(others)})' if others else ''}"


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """Those that are errors."""
    return [problem for problem in problems if problem.severity == "error"]


def sorted_problems(problems: Sequence[Problem]) -> list[Problem]:
    """Errors first, then warnings, then notes; by file within each, else as they were found."""
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(problems, key=lambda each: (order[each.severity], each.file))


def count(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Findings:
    """Collects what is wrong with one file; of findings of one code the first is told, the others are counted."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._first: dict[str, tuple[Severity, str]] = {}
        self._more: dict[str, int] = {}

    def add(self, severity: Severity, code: str, message: str) -> None:
        if code in self._first:
            self._more[code] = self._more.get(code, 0) + 1
        else:
            self._first[code] = (severity, message)

    def problems(self) -> Sequence[Problem]:
        """One problem for each code."""
        return [
            Problem(
                severity, code, self._file, message + (f" (and {self._more[code]} more)" if code in self._more else "")
            )
            for code, (severity, message) in self._first.items()
        ]
