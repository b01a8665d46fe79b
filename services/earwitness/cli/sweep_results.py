"""Sweeps in words, tables, JSON and folders."""

import asyncio
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.cli import console
from earwitness.errors import EarwitnessError

if TYPE_CHECKING:
    from earwitness.client import ExplainerClient, ScorerClient, Sweep, SweepClient, SweepProgress, SweepResult

SHOWN = 10
"""Settings in a table that is not asked for in full."""


class SweepFailed(EarwitnessError):
    """A sweep that ended without all of its results."""

    code = "FAILED_PRECONDITION"
    reason = "SWEEP_FAILED"


async def follow(client: "SweepClient", sweep_id: str, update: console.Update) -> None:
    """Show a sweep's progress until it is over; when this is interrupted, say how to come back.

    Raises: SweepFailed unless it succeeds.
    """
    try:
        async for progress in client.watch(sweep_id):
            update(progress.row_steps_done, progress.row_step_count, progress_words(progress))
    except asyncio.CancelledError:
        console.say(
            f"sweep {sweep_id} goes on: `earwitness sweeps watch {sweep_id}` comes back to it, "
            f"`earwitness sweeps cancel {sweep_id}` stops it"
        )
        raise
    ended = await client.progress(sweep_id)
    if ended.state != "succeeded":
        raise SweepFailed(
            f"sweep {sweep_id} was {ended.state} with {ended.results_done} of {ended.result_count} results done: "
            f"{ended.error or 'no reason given'}"
        )


def progress_words(progress: "SweepProgress") -> str:
    """A few words beside the bar."""
    from earwitness.client.sweeping import eta

    if progress.waiting_for:
        return f"waits: {progress.waiting_for}"
    if progress.state == "queued":
        return "waits for the sweeps before it"
    left = eta(progress.time_left_s)
    speed = f"{progress.row_steps_per_second:.0f} row-steps/s"
    words = f"{progress.results_done} of {progress.result_count} settings, {speed}"
    return f"{words}, about {left} left" if left else words


async def write_sweep_folders(
    client: "SweepClient",
    explainer: "ExplainerClient",
    scorer: "ScorerClient",
    found: "Sweep",
    out: Path,
    example_count: int,
    *,
    force: bool,
) -> None:
    """Write `out`, or a folder in it for each objective where there are several."""
    from earwitness.client.output import write_sweep
    from earwitness.client.sweeping import report_sweep

    for index, each in enumerate(found.objectives):
        report = await report_sweep(client, explainer, scorer, found, index, example_count=example_count)
        target = each.objective.unit if each.objective.unit is not None else f"direction-{index}"
        name = f"{each.objective.layer}-{target}-{each.objective.sense}"
        folder = out if len(found.objectives) == 1 else out / name
        await asyncio.to_thread(write_sweep, folder, report, force=force)


def progress_document(progress: "SweepProgress") -> dict[str, Any]:
    """Progress as JSON."""
    return asdict(progress)


def sweep_document(found: "Sweep") -> dict[str, Any]:
    """A sweep as JSON: everything but arrays of tensors."""
    return {
        "sweep": found.sweep_id,
        "model": found.model,
        "weights_sha256": found.weights_sha256,
        "state": found.state,
        "objectives": [asdict(each) for each in found.objectives],
        "seeds": list(found.seeds),
        "row_step_count": found.row_step_count,
        "search_duration_s": found.search_duration_s,
        "create_time": found.create_time.isoformat(),
        "end_time": found.end_time and found.end_time.isoformat(),
        "results": [
            {
                "index": each.index,
                "objective_index": each.objective_index,
                "settings": asdict(each.settings),
                "done": each.done,
                "activations": each.activations.tolist(),
                "best_steps": each.best_steps.tolist(),
            }
            for each in found.results
        ],
        "rankings": [asdict(each) for each in found.rankings],
    }


def print_sweep(found: "Sweep", out: Path | None = None, *, every: bool = False) -> None:
    """A table for each objective, the best settings first."""
    for index, each in enumerate(found.objectives):
        rows = _rows(found, index)
        columns = ["lr#", "λ#", "steps#", "optimiser", "activation, median#"]
        ranking = found.ranking_of(index)
        if ranking is not None and ranking.batches:
            columns = ["rank#", *columns, "FID#", "95 % interval#", "noise floor#", "best with#", "leaves range"]
        console.print_table(f"{found.model}: {each.objective}", columns, rows if every else rows[:SHOWN])
        if len(rows) > SHOWN and not every:
            console.show(f"and {len(rows) - SHOWN} more settings: `earwitness sweeps show {found.sweep_id} --all`")
        if ranking is not None and ranking.error:
            console.say(f"not ranked: {ranking.error}; `earwitness sweeps rank {found.sweep_id}` tries again")
    seconds = found.search_duration_s
    console.show(f"sweep {found.sweep_id}: {found.row_step_count} row-steps in {seconds:.1f} s")
    if out is not None:
        console.show(f"written to {out}")


def _rows(found: "Sweep", objective_index: int) -> list[list[str]]:
    from earwitness.client.output.words import number

    ranking = found.ranking_of(objective_index)
    done = {each.index: each for each in found.results_of(objective_index) if each.done}
    if ranking is None or not ranking.batches:
        return [_cells(each) for each in done.values()]
    return [
        [
            str(ranked.rank),
            *_cells(done[int(ranked.id)]),
            number(ranked.score.distance),
            f"{number(ranked.score.interval_low)} to {number(ranked.score.interval_high)}",
            number(ranked.score.noise_floor),
            f"{100 * ranked.probability_best:.0f} %",
            "yes" if ranked.leaves_range else "",
        ]
        for ranked in ranking.batches
    ]


def _cells(result: "SweepResult") -> list[str]:
    from earwitness.client.output.words import number

    settings = result.settings
    values = (settings.learning_rate, settings.prior_weight, settings.steps, settings.optimiser)
    cells = [f"{each:g}" if isinstance(each, float) else str(each) for each in values]
    return [*cells, number(statistics.median(result.activations.tolist()))]
