"""Under a bad verdict stands what to do next, as a command that can be pasted; under a good one nothing."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.main import get_command

from earwitness.cli.app import app
from earwitness.client.output import Run, write_run
from earwitness.client.output.advice import advice
from earwitness.client.output.words import kept_words, missed_words, way_line
from earwitness.client.values import KeptLayer, Objective, Score, Selection, Settings, Target
from tests.unit.client.runs import run, score
from tests.unit.client.test_output import check_page

BAD = score(500.0, row_count=3)
GOOD = score(3.9, row_count=3, outside_range_ratio=0.0)
OUTSIDE = score(3.9, row_count=3, outside_range_ratio=0.6)
AIMED = Settings("normalised", 0.2, 0.0, 100, 0.0, Target(0, 1, quantile=True), 8)


def judged(
    said: Score, *, aimed: bool = False, missed: int = 0, kind: str = "top", several: bool = False, layer: str = "fc9"
) -> Run:
    """A run with that score, its rows by fixed steps or to targets, of which some were missed."""
    made = run(3)
    assert made.scoring is not None
    kept = (KeptLayer("fc8", 3), KeptLayer("fc9", 2)) if several else ()
    selection = Selection() if kind == "all" else Selection("top", 0, 50)
    reference = replace(made.scoring.reference, selection=selection, kept_layers=kept)
    scoring = replace(made.scoring, reference=reference, scored=replace(made.scoring.scored, score=said))
    rows = tuple(
        replace(each, settings=AIMED, target=2.0, reached_target=index >= missed) if aimed else each
        for index, each in enumerate(made.result.explanations)
    )
    summary = replace(made.result.summary, missed_count=missed, searched_count=9, evaluation_count=1234)
    result = replace(made.result, explanations=rows, summary=summary)
    return replace(made, objective=Objective(layer, 0), result=result, scoring=scoring)


def test_a_good_batch_needs_no_advice() -> None:
    assert advice(judged(GOOD)) is None
    assert advice(replace(judged(BAD), scoring=None)) is None
    assert advice(replace(judged(BAD), objective=Objective("fc9", None, direction={0: 1.0}))) is None


@pytest.mark.parametrize(
    ("made", "command"),
    [
        (
            judged(BAD),
            "earwitness explain 'svd-<r1>' --unit 0 --maximise -n 3 --reference top50 --optimiser normalised "
            "--target q0:1 --start-draws 8",
        ),
        (
            judged(OUTSIDE, several=True),
            "earwitness explain 'svd-<r1>' --unit 0 --maximise -n 3 --reference top50 --optimiser normalised "
            "--target q0:1 --start-draws 8 --oversample 3",
        ),
        (
            judged(BAD, kind="all"),
            "earwitness reference build top50-top RECORDINGS --model 'svd-<r1>' --unit 0 --top 50",
        ),
        (
            judged(BAD, aimed=True, missed=2, layer="fc8"),
            "earwitness explain 'svd-<r1>' --layer fc8 --unit 0 --maximise -n 3 --reference top50 --optimiser "
            "normalised --target q0:1 --start-draws 64 --steps 1000",
        ),
        (judged(BAD, aimed=True), "earwitness recommend 'svd-<r1>' --unit 0 --reference top50"),
    ],
)
def test_the_next_command_follows_from_what_was_done(made: Run, command: str) -> None:
    found = advice(made)
    assert found is not None
    assert found.command == command


@pytest.mark.parametrize("made", [judged(BAD), judged(BAD, kind="all"), judged(BAD, aimed=True)])
def test_the_command_line_takes_it(made: Run) -> None:
    found = advice(made)
    assert found is not None
    group, words = get_command(app), shlex.split(found.command)[1:]
    while hasattr(group, "commands"):
        group, words = group.commands[words[0]], words[1:]
    group.make_context("it", words)  # ends with a usage error for words that it does not take


def test_pages_say_what_was_kept_missed_and_what_to_do(tmp_path: Path) -> None:
    made = judged(BAD, aimed=True, missed=2)
    write_run(made, tmp_path / "out")
    words = check_page(tmp_path / "out/index.html").words
    for said in (
        "kept 3 of 9, the nearest to real excerpts", "2 of 3 rows did not reach their target", "target 2.00 missed",
        "target 2.00 reached", "way normalised steps", "target quantiles 0 to 1 of the reference",
        "begins with the best of 8 draws", "step length 0.2", "1 234 evaluations", "--start-draws 64 --steps 1000",
    ):  # fmt: skip
        assert said in words, said


def test_a_line_says_how_rows_were_found() -> None:
    made = judged(GOOD, aimed=True)
    assert way_line(made.result) == (
        "normalised, step 0.2, 100 steps, to quantiles 0 to 1 of the reference, best of 8 draws; kept 3 of 9; "
        "1\u202f234 evaluations, 411 for each explanation"
    )
    assert missed_words(made.result) == ""
    every = replace(made.result, summary=replace(made.result.summary, searched_count=3))
    assert kept_words(every) == ""
    drawn = replace(made.result.explanations[0], settings=Settings("draws", draws=400))
    draws = replace(made.result, explanations=(drawn,))
    assert way_line(draws).startswith("400 draws; kept 1 of 9")
