"""Runs and scores in words, tables and JSON."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from earwitness.cli import console

if TYPE_CHECKING:
    from earwitness.client import Progress, Score
    from earwitness.client.output import Run, Scoring

NEARER = "another --target, more --steps or more --start-draws may get there"
SCORE_COLUMNS = ("FID#", "95 % interval#", "noise floor#", "95 % below#")


def steps_done(progress: "Progress") -> tuple[int, int, str]:
    """What a progress bar shows for a search."""
    best = [value for value in progress.best_activations if value == value]
    return progress.step, progress.step_count, f"median activation {statistics.median(best):.3g}" if best else ""


def run_document(run: "Run") -> dict[str, Any]:
    """A run as JSON: everything but arrays, sounds and pictures."""
    from earwitness.client.output.folder import request_document, score_document

    document = request_document(run)
    for row, explanation in zip(document["rows"], run.result.explanations, strict=True):
        row |= {
            "activation": explanation.activation,
            "best_step": explanation.best_step,
            "diverged_step": explanation.diverged_step,
            "target": explanation.target,
            "reached_target": explanation.reached_target,
            "nearness": explanation.nearness,
        }
    return {**document, "score": score_document(run.scoring) if run.scoring else None}


def print_runs(runs: Sequence["Run"]) -> None:
    """One line for each run, how it was found, what its score means, and what to do about a bad one."""
    from earwitness.client.output.advice import advice
    from earwitness.client.output.words import missed_words, number, verdict, way_line

    scored = all(run.scoring for run in runs)
    columns = ["objective", "shows", "n#", "activation, median#", "lowest#", "highest#"]
    rows = []
    for run in runs:
        activations = [each.activation for each in run.result.explanations]
        figures = (statistics.median(activations), min(activations), max(activations))
        row = [str(run.objective), run.meaning or "", str(len(activations)), *map(number, figures)]
        if scored and run.scoring:
            row += [*_score_cells(run.scoring.scored.score), run.scoring.scored.version.name]
        rows.append(row)
    console.print_table(runs[0].model.name, [*columns, *(*SCORE_COLUMNS, "reference")] if scored else columns, rows)
    for run in runs:
        console.show(f"{run.objective}: {way_line(run.result)}")
        if missed := missed_words(run.result):
            console.show(f"{run.objective}: {missed}, they hold the nearest iterate; {NEARER}")
        if run.scoring:
            console.show(f"{run.objective}: {verdict(run.scoring.scored.score)}")
        if next_step := advice(run):
            console.show(f"{run.objective}: {next_step.words}: `{next_step.command}`")
        diverged = sum(each.diverged_step is not None for each in run.result.explanations)
        if diverged:
            count = f"{diverged} of {len(run.result.explanations)} rows diverged"
            console.say(f"{run.objective}: {count}, they hold their best before that; a lower --lr keeps them finite")
        if run.result.summary.stopped_by == "deadline":
            console.say(f"{run.objective}: the deadline was reached: the best so far, with the sounds made by then")


def print_score(scoring: "Scoring") -> None:
    """A score and what it means."""
    from earwitness.client.output.words import number, verdict

    score = scoring.scored.score
    counts = (score.row_count, score.reference_row_count, score.dimension_count)
    terms = (score.mean_term, score.covariance_term)
    console.print_table(
        f"against {scoring.scored.version.name}",
        ["n#", "reference n#", "units#", *SCORE_COLUMNS, "mean term#", "covariance term#", "outside range#"],
        [[*map(str, counts), *_score_cells(score), *map(number, terms), f"{100 * score.outside_range_ratio:.0f} %"]],
    )
    console.show(verdict(score))


def _score_cells(score: "Score") -> list[str]:
    from earwitness.client.output.words import number

    interval = f"{number(score.interval_low)} to {number(score.interval_high)}"
    return [number(score.distance), interval, number(score.noise_floor), number(score.noise_floor_high)]
