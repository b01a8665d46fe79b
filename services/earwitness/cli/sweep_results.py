"""Sweeps in words, tables, JSON and folders."""

import asyncio
import re
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.cli import console
from earwitness.cli.wording import translated
from earwitness.errors import EarwitnessError
from earwitness.text import duration

if TYPE_CHECKING:
    from earwitness.cli.sweep_excerpts import RealAudio
    from earwitness.client import Objective, RankedBatch, Sweep, SweepClient, SweepProgress, SweepResult
    from earwitness.client.output import RealExcerpt
    from earwitness.client.sweep_sources import SweepSource

SETTING_COLUMNS = ("lr#", "λ#", "steps#", "way", "activation, median#")
SHOWN = 10
"""Settings in a table unless all are requested."""
NAMED = 3
"""Objectives that a list names for each sweep."""


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
            f"{ended.error or 'no reason given'}; `earwitness sweeps resume {sweep_id}` resumes it"
        )


@contextmanager
def kept(sweep_id: str) -> Iterator[None]:
    """If the block, which runs after the sweep has ended, fails, say that the sweep is not lost."""
    try:
        yield
    except BaseException:
        again = f"`earwitness sweeps show {sweep_id} --out FOLDER` writes it"
        console.say(f"sweep {sweep_id} is done and kept: {again}")
        raise


def progress_words(progress: "SweepProgress") -> str:
    """A few words beside the bar."""
    if progress.waiting_for:
        return f"waits: {progress.waiting_for}"
    if progress.state == "queued":
        return "waits for the sweeps before it"
    speed = f"{progress.row_steps_per_second:.0f} row-steps/s"
    words = f"{progress.results_done} of {progress.result_count} settings, {speed}"
    return words if progress.time_left_s is None else f"{words}, about {duration(progress.time_left_s)} left"


async def write_sweep_folders(
    source: "SweepSource",
    out: Path,
    example_count: int,
    *,
    real: "RealAudio | None",
    update: console.Update,
    force: bool,
) -> None:
    """Write `out`, or a folder in it for each objective where there are several; `real` audio beside the examples."""
    from earwitness.client.output import write_sweep, write_sweeps
    from earwitness.client.sweeping import report_sweep

    found, saved = source.sweep, await source.saved()
    objectives = [each.objective for each in found.objectives]
    excerpts: tuple[tuple[RealExcerpt, ...], ...] = ((),) * len(objectives)
    if real is not None:
        excerpts = await real.excerpts(found.model, objectives, example_count, update)
    reports = {}
    for index, name in enumerate(folder_names(objectives)):
        update(index, len(objectives), "examples made")
        reports[name] = await report_sweep(source, index, example_count=example_count, excerpts=excerpts[index])
    if len(reports) == 1:
        (report,) = reports.values()
        await asyncio.to_thread(write_sweep, out, report, saved, force=force)
    else:
        await asyncio.to_thread(write_sweeps, out, reports, saved, force=force)


def check_folder(out: Path, objective_count: int, *, force: bool) -> None:
    """Make sure that `write_sweep_folders` may write there. Raises: InvalidArgument."""
    from earwitness.client.output import SWEEP_MARKS, SWEEPS_MARKS, check_free

    check_free(out, force=force, marks=SWEEP_MARKS if objective_count == 1 else SWEEPS_MARKS)


def folder_names(objectives: "Sequence[Objective]") -> list[str]:
    """A name for each: `fc9-0-maximise`, `fc8-direction1-minimise`; directions are counted from 0 in their order.

    Layers are named by whoever exported the model: what must not be in a folder's name becomes `_`, and where that, or
    a file system without capitals, makes two the same, each has its number before it.
    """
    directions: list[object] = []
    names = []
    for each in objectives:
        if each.direction is not None and each.direction not in directions:
            directions.append(each.direction)
        target = each.unit if each.direction is None else f"direction{directions.index(each.direction)}"
        names.append(re.sub(r"^\.|[^A-Za-z0-9_.-]", "_", f"{each.layer}-{target}-{each.sense}"))
    if len({name.lower() for name in names}) < len(names):
        return [f"{index}-{name}" for index, name in enumerate(names)]
    return names


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
        "resumed_from": found.resumed_from,
        "keep_count": found.keep_count,
        "criterion": found.criterion and asdict(found.criterion),
        "results": [
            {
                "index": each.index,
                "objective_index": each.objective_index,
                "settings": asdict(each.settings),
                "done": each.done,
                "activations": each.activations.tolist(),
                "best_steps": each.best_steps.tolist(),
                "diverged_steps": each.diverged_steps.tolist(),
            }
            for each in found.results
        ],
        "rankings": [asdict(each) for each in found.rankings],
    }


def print_sweeps(found: "Sequence[SweepProgress]") -> None:
    """A line for each: what is swept, against what, since when, how far it is."""
    rows = [
        [
            each.sweep_id,
            each.model,
            *_aims(each),
            each.state,
            f"{each.results_done} of {each.result_count}",
            f"{each.create_time.astimezone():%Y-%m-%d %H:%M}",
            translated(each.error, {}) if each.error else "" if each.over else progress_words(each),
        ]
        for each in found
    ]
    console.print_table(None, ["sweep", "model", "objective", "reference", "state", "results#", "begun", ""], rows)


def _aims(progress: "SweepProgress") -> tuple[str, str]:
    """Objectives and references, each once, of many the first ones alone."""
    objectives = [str(each.objective) for each in progress.objectives[:NAMED]]
    more = progress.objective_count - len(objectives)
    references = dict.fromkeys(each.reference for each in progress.objectives if each.reference)
    return ", ".join([*objectives, *([f"{more} more"] if more > 0 else [])]), ", ".join(references)


def print_started(started: "SweepProgress", *, json_output: bool) -> None:
    """What a command says of a sweep that it leaves running."""
    if json_output:
        console.print_json({"sweep": started.sweep_id, "state": started.state})
    else:
        console.show(f"sweep {started.sweep_id} is {started.state}: `earwitness sweeps watch` follows it")


def print_sweep(found: "Sweep", out: Path | None = None, *, every: bool = False) -> None:
    """A table for each objective, the best settings first."""
    from earwitness.client.output.words import criterion_words

    for index, each in enumerate(found.objectives):
        ranking = found.ranking_of(index)
        done = {result.index: result for result in found.results_of(index) if result.done}
        title = f"{found.model}: {each.objective}"
        if ranking is not None and (by := criterion_words(ranking.criterion)):
            title += f", by {by}"
        if ranking is not None and ranking.batches:
            more = print_ranking(title, [(done[int(one.id)], one) for one in ranking.batches], every=every)
        else:
            rows = [_cells(result) for result in done.values()]
            console.print_table(title, SETTING_COLUMNS, rows if every else rows[:SHOWN])
            more = 0 if every else max(0, len(rows) - SHOWN)
        if more:
            console.show(f"and {more} more settings: `earwitness sweeps show {found.sweep_id} --all`")
        if ranking is not None and ranking.error:
            console.say(
                f"not ranked: {translated(ranking.error, {})}; `earwitness sweeps rank {found.sweep_id}` tries again"
            )
    seconds = found.search_duration_s
    console.show(f"sweep {found.sweep_id}: {found.row_step_count} row-steps in {seconds:.1f} s")
    if out is not None:
        console.show_page(out)


def print_ranking(title: str, ranked: "Sequence[tuple[SweepResult, RankedBatch]]", *, every: bool = False) -> int:
    """A table of settings, the best first; how many more there are than it shows."""
    from earwitness.client.output.words import constant_words, number

    rows = [
        [
            str(place.rank),
            *_cells(result),
            number(place.score.distance),
            f"{number(place.score.interval_low)} to {number(place.score.interval_high)}",
            number(place.score.noise_floor),
            f"{100 * place.probability_best:.0f} %",
            f"{100 * place.score.outside_range_ratio:.0f} %{' *' if place.leaves_range else ''}",
        ]
        for result, place in ranked
    ]
    columns = ["rank#", *SETTING_COLUMNS, "FID#", "95 % interval#", "noise floor#", "best with#", "outside range"]
    shown = len(rows) if every else SHOWN
    console.print_table(title, columns, rows[:shown])
    if ranked and (constant := constant_words(ranked[0][1].score)):
        console.say(f"{title}: {constant}")
    if ranked and ranked[0][1].kept_rows:
        kept, searched = len(ranked[0][1].kept_rows), len(ranked[0][0].activations)
        console.show(f"ranked were the {kept} of {searched} rows of each that are nearest to real excerpts")
    if any(place.leaves_range for _, place in ranked[:shown]):
        console.show("* leaves the range of the real data: more than half of its explanations lie outside")
    return max(0, len(rows) - shown)


def _cells(result: "SweepResult") -> list[str]:
    from earwitness.client.output.words import number, way_words

    settings = result.settings
    values = (settings.learning_rate, settings.prior_weight, settings.steps)
    cells = ["" if each is None else f"{each:.4g}" if isinstance(each, float) else str(each) for each in values]
    cells.append(way_words(settings))
    return [*cells, number(statistics.median(result.activations.tolist()))]
