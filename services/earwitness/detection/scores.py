"""Score files: one score for each trial, in whatever columns; matched with their keys, or written for others."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.detection.errors import BrokenScores, listed
from earwitness.detection.keys import Trial, trial_id
from earwitness.detection.layouts import refuse_verification
from earwitness.detection.tables import (
    GENUINE_WORDS,
    KEY_WORDS,
    MOSTLY,
    Table,
    file_column,
    is_comment,
    is_number,
    key_column,
    number_share,
    read_table,
)
from earwitness.errors import InvalidArgument
from earwitness.files import whole_file


@dataclass(frozen=True)
class ScoreFile:
    """Scores in the order of the file; `column` is where they stand, `problems` tells of lines that have none.

    `labels` say which trials the file itself calls genuine, by id, as far as it does.
    """

    path: Path
    files: tuple[str, ...]
    values: NDArray[np.float64]
    column: int
    problems: tuple[str, ...] = ()
    labels: Mapping[str, bool] = field(default_factory=dict)


def read_scores(path: Path, known: Collection[str] = frozenset(), columns: Sequence[str] = ()) -> ScoreFile:
    """Scores of a file with two or more columns, in any order as far as the content, or a header, tells it.

    `known` are ids of trials (`keys.trial_id`): the column that holds most of them names the files. `columns` names
    the columns where they cannot be told.

    Raises: InvalidArgument when the file has no lines, or no column, or several, that could be the scores, or holds
    scores of speaker verification; OSError.
    """
    table = read_table(path, columns)
    refuse_verification(table)
    file = table.named.get("file")
    if file is None and known:
        file = table.best(lambda cells: sum(trial_id(cell) in known for cell in cells))
    key = key_column(table, {file})
    score = table.named.get("score")
    if score is None:
        score = _score_column(table, {file, key})
    if file is None:
        file = file_column(table, key, {score})
    files, values, problems = list[str](), list[float](), list[str]()
    for line, name, cell in zip(table.lines, table.cells(file), table.cells(score), strict=True):
        if not name or not is_number(cell):
            problems.append(f"line {line} ({name or 'no file'}: {cell or 'no score'})")
        else:
            files.append(name)
            values.append(float(cell))
    said = zip(table.cells(file), table.cells(key), strict=True) if key is not None else ()
    labels = {trial_id(name): cell.lower() in GENUINE_WORDS for name, cell in said if cell.lower() in KEY_WORDS}
    if len(set(labels.values())) < 2:  # a word that is the same for all stands for nothing
        labels = {}
    return ScoreFile(path, tuple(files), np.array(values, np.float64), score, tuple(problems), labels)


@dataclass(frozen=True)
class Matched:
    """The scores of trials `[n]` in their order, and the files that have a score and are no trial at all."""

    values: NDArray[np.float64]
    without_key: tuple[str, ...]


def match_scores(trials: Sequence[Trial], scores: ScoreFile) -> NDArray[np.float64]:
    """The score of each trial `[n]`, in their order; of no other file is there one.

    Raises: BrokenScores telling everything that does not match, is there twice, is no number or not finite.
    """
    found = matched(trials, scores)
    if found.without_key:
        raise BrokenScores([_without_key(scores, found.without_key)])
    return found.values


def matched(trials: Sequence[Trial], scores: ScoreFile, elsewhere: Collection[str] = ()) -> Matched:
    """The score of each trial, where the file may hold others: those of `elsewhere`, ids, and those of no key.

    Raises: BrokenScores telling everything that does not match, contradicts the key, is there twice, is no number or
    not finite; then files without a key are told as well.
    """
    problems = list[str]()

    def tell(what: str, names: Iterable[str]) -> None:
        told = list(names)
        if told:
            problems.append(f"{scores.path}: {what} ({len(told)}): {listed(told)}")

    by_id: Mapping[str, float] = dict(zip(map(trial_id, scores.files), scores.values.tolist(), strict=True))
    keyed = {trial.id for trial in trials}
    tell("lines without a score", scores.problems)
    tell("files with more than one score", _repeated(map(trial_id, scores.files)))
    tell(
        "scores that are not finite",
        (
            f"{name} ({value})"
            for name, value in zip(scores.files, scores.values.tolist(), strict=True)
            if not np.isfinite(value)
        ),
    )
    contrary = (trial.file for trial in trials if scores.labels.get(trial.id, trial.genuine) != trial.genuine)
    without_key = tuple(name for name in by_id if name not in keyed and name not in elsewhere)
    missing = [trial.file for trial in trials if trial.id not in by_id]
    tell("labels that contradict the key", contrary)
    if without_key and (problems or missing):
        problems.append(_without_key(scores, without_key))
    tell("trials without a score", missing)
    if problems:
        raise BrokenScores(problems)
    return Matched(np.array([by_id[trial.id] for trial in trials], np.float64), without_key)


def _without_key(scores: ScoreFile, names: Sequence[str]) -> str:
    return f"{scores.path}: files without a key ({len(names)}): {listed(names)}"


def check_trials(path: Path, trials: Sequence[Trial], problems: Sequence[str] = ()) -> None:
    """Looks whether trials can be evaluated: each once, and with its key; `problems` are those of reading them.

    Raises: BrokenScores telling everything that is wrong; InvalidArgument when there are no keys at all.
    """
    unknown = [trial.file for trial in trials if trial.genuine is None]
    if trials and len(unknown) == len(trials):
        raise InvalidArgument(
            str(path),
            "has no column of genuine (or bonafide) and spoof; name it (--key-columns), or give the key last",
        )
    repeated = _repeated(trial.id for trial in trials)
    findings = (
        ("lines that cannot be read", problems),
        ("trials that stand there more than once", repeated),
        ("trials without a key, genuine or spoof", unknown),
    )
    told = [f"{path}: {what} ({len(names)}): {listed(names)}" for what, names in findings if names]
    if told:
        raise BrokenScores(told)


def write_scores(path: Path, scores: Mapping[str, float]) -> None:
    """Writes scores as the challenges take them, `FILE SCORE` a line, higher for genuine; all or nothing.

    Where a name holds a blank, or another character that means something in `tables`, tabs part the columns; where one
    looks like a comment, cells are quoted.

    Raises: BrokenScores when a score is not finite.
    """
    wrong = [name for name, score in scores.items() if not np.isfinite(score)]
    if wrong:
        raise BrokenScores([f"{path}: {len(wrong)} scores are not finite: {listed(wrong)}"])
    mark = "\t" if any(re.search(r'[\s,;"]', file) for file in scores) else " "
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        quoted = any(is_comment(f"{name} 0") for name in scores)
        quoting: Literal[0, 1] = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        table = csv.writer(file, delimiter=mark, lineterminator="\n", quoting=quoting)
        table.writerows([name, repr(float(score))] for name, score in scores.items())


def _score_column(table: Table, taken: Collection[int | None]) -> int:
    numbers = [
        column for column in range(table.width) if column not in taken and number_share(table.sample(column)) >= MOSTLY
    ]
    if len(numbers) == 1:
        return numbers[0]
    found = f"columns {', '.join(str(column + 1) for column in numbers)} do" if numbers else "none does"
    raise InvalidArgument(
        str(table.path),
        f"one column must hold the scores, {found}; name the columns, e.g. --score-columns file,-,score",
    )


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
