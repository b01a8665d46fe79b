"""Label files: where a recording sings, from intervals with words or from the timings of sung words."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.text import plain_text
from earwitness.training.datasets.problems import Findings, Problem

CLOSED_GAP_S = 0.3
"""Shorter pauses between sung words count as sung."""

ROUNDING_S = 0.01
"""Label files round their times: a smaller overlap is none."""

VOCAL_WORDS = frozenset({"sing", "singing", "vocal", "vocals", "voice", "1"})
OTHER_WORDS = frozenset({"nosing", "no-sing", "non-vocal", "nonvocal", "no-voice", "novoice", "instrumental", "0"})

HEADER_WORDS = ("start", "begin", "onset")
"""What a line with the names of the columns begins with."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Vocabulary:
    """The words of interval labels, in lower case; those given are added to the known ones."""

    vocal: frozenset[str]
    other: frozenset[str]

    @classmethod
    def of(cls, vocal: Iterable[str] = (), other: Iterable[str] = ()) -> "Vocabulary":
        """Raises: InvalidArgument for a word that would mean both."""
        given = (frozenset(map(str.lower, vocal)), frozenset(map(str.lower, other)))
        if both := given[0] & given[1]:
            raise InvalidArgument(
                "vocal", f"{', '.join(sorted(both))} cannot mean both, vocal and other; give each word once"
            )
        return cls((VOCAL_WORDS | given[0]) - given[1], (OTHER_WORDS | given[1]) - given[0])


@dataclass(frozen=True)
class Labelling:
    """Where a recording sings: `vocal` `[N, 2]`, start and end in seconds, sorted and apart.

    `end_s` is where the last label ends. `complete` labels say also where nobody sings, so that they end where the
    recording ends; others end with the last sung word.
    """

    vocal: NDArray[np.float64]
    end_s: float
    complete: bool

    def frames(self, centres_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each time of `centres_s` `[frames]` is sung."""
        if not len(self.vocal):
            return np.zeros(len(centres_s), bool)
        interval = np.searchsorted(self.vocal[:, 0], centres_s, side="right") - 1
        return np.asarray((interval >= 0) & (centres_s < self.vocal[interval, 1]))


def read_intervals(path: Path, file: str, vocabulary: Vocabulary) -> tuple[Labelling | None, list[Problem]]:
    """Lines `start end word`, seconds, apart by blanks, commas or semicolons, quoted or not, in order of time, and
    above a header or none; as Audacity exports them, with ranges of frequencies or without.

    Time without a label counts as not sung. There is no labelling when a problem is an error.
    """
    findings = Findings(file)
    text = _text(path, findings)
    vocal, other, until, unlabelled_s, lines = list[Interval](), list[Interval](), 0.0, 0.0, 0
    previous_start = -np.inf
    for number, line in _label_lines(text):
        lines += 1
        parsed = _interval(line)
        if parsed is None:
            findings.add("error", "label-line", f"line {number} is {line.strip()[:60]!r}; expected `start end word`")
            continue
        start, end, word = parsed
        if not _possible(start, end, f"line {number}", findings):
            continue
        if start < previous_start:
            findings.add(
                "error", "label-order", f"line {number} starts at {start:g} s, the one before at {previous_start:g} s"
            )
        elif start < until - ROUNDING_S:
            findings.add(
                "error", "label-overlap", f"line {number} starts at {start:g} s, the one before ends at {until:g} s"
            )
        if word not in vocabulary.vocal | vocabulary.other:
            findings.add(
                "error",
                "label-word",
                f"line {number}: unknown word {word!r}; known are {', '.join(sorted(vocabulary.vocal))} and "
                f"{', '.join(sorted(vocabulary.other))}; say what it means with --vocal or --other",
            )
        (vocal if word in vocabulary.vocal else other).append((start, end))
        unlabelled_s += max(0.0, start - until)
        previous_start, until = start, max(until, end)
    if not lines:
        findings.add("error", "label-empty", "holds no labels; delete the recording, or label it")
    if other and unlabelled_s > ROUNDING_S * lines:
        findings.add("warning", "label-gap", f"{unlabelled_s:.1f} s between labels have none and count as not sung")
    return _labelling(vocal, until, bool(other), 0.0, findings)


def read_words(path: Path, file: str) -> tuple[Labelling | None, list[Problem]]:
    """The timings of sung words: a CSV with the columns word_start and word_end, seconds.

    Words may overlap, as voices do; pauses below CLOSED_GAP_S are closed. No word at all means nobody sings.
    """
    findings = Findings(file)
    rows = csv.DictReader(_text(path, findings).splitlines())
    if not {"word_start", "word_end"} <= set(rows.fieldnames or ()):
        findings.add("error", "label-columns", "lacks the columns word_start and word_end")
    words, until = list[Interval](), 0.0
    for number, row in enumerate(rows, start=2):
        try:
            start, end = float(row["word_start"]), float(row["word_end"])
        except (KeyError, TypeError, ValueError):
            findings.add("error", "label-line", f"line {number} holds no word_start and word_end in seconds")
            continue
        if _possible(start, end, f"line {number}", findings):
            words.append((start, end))
            until = max(until, end)
    return _labelling(words, until, False, CLOSED_GAP_S, findings)


def looks_like_intervals(path: Path) -> bool:
    """Whether the first line that is neither blank nor a header is an interval: text files may hold anything."""
    first = next(_label_lines(plain_text(path)), None)
    return first is not None and _interval(first[1]) is not None


def _label_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, but for blank ones, a header such as `start,end,label`, and the range of
    frequencies that Audacity writes below a label, after a backslash."""
    lines = ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())
    for place, (number, line) in enumerate(lines):
        if line.lstrip().startswith("\\"):
            continue
        if place or not line.strip("\"' ").lower().startswith(HEADER_WORDS):
            yield number, line


def _interval(line: str) -> tuple[float, float, str] | None:
    for fields, comma in _fields(line.strip()):
        try:
            start, end = (float(each.replace(",", ".") if comma else each) for each in fields[:2])
            return start, end, fields[2].strip("\"' ").lower()
        except (IndexError, ValueError):
            continue
    return None


def _fields(line: str) -> Iterator[tuple[list[str], bool]]:
    """The ways to split a line; and whether commas can only be those of decimals."""
    for separator in ("\t", ";"):
        if separator in line:
            yield _unquoted(line, separator), True
    if '"' in line:
        yield _unquoted(line, ","), True
    yield re.split(r"\s*[,;\s]\s*", line, maxsplit=2), False


def _unquoted(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error:  # any text at all may be here
        return []


def _possible(start: float, end: float, where: str, findings: Findings) -> bool:
    if not (np.isfinite(start) and np.isfinite(end)) or start < 0:
        findings.add("error", "label-time", f"{where}: {start:g} to {end:g} s is no time; give seconds from 0")
        return False
    if end < start:
        findings.add("error", "label-backwards", f"{where} ends at {end:g} s, before it starts at {start:g} s")
        return False
    return True


def _text(path: Path, findings: Findings) -> str:
    try:
        return plain_text(path)
    except OSError as err:
        findings.add("error", "label-unreadable", f"cannot be read ({err.strerror})")
        return ""


def _labelling(
    vocal: list[Interval], end_s: float, complete: bool, closed_gap_s: float, findings: Findings
) -> tuple[Labelling | None, list[Problem]]:
    problems = list(findings.problems())
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    apart: list[Interval] = []
    for start, end in sorted(vocal):
        if apart and (start <= apart[-1][1] or start - apart[-1][1] < closed_gap_s):
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return Labelling(np.array(apart, np.float64).reshape(-1, 2), end_s, complete), problems
