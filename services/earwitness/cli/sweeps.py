"""`earwitness sweeps`: commands for sweeps that exist."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection
from earwitness.cli.options import Data, Explainer, Force, Json, Scorer, Strict, Triton
from earwitness.cli.sweep import CriterionOption, ExampleCount, Keep, Out, RequestId, Wait
from earwitness.cli.sweep_excerpts import RealAudio, Recordings, RecordingsRepository, RecordingsTriton
from earwitness.cli.sweep_places import SweepPlaces, is_folder
from earwitness.cli.sweep_results import (
    check_folder,
    follow,
    print_started,
    print_sweep,
    print_sweeps,
    progress_document,
    sweep_document,
    write_sweep_folders,
)
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import Sweep, SweepProgress

app = typer.Typer(
    name="sweeps", no_args_is_help=True, help="List, watch, cancel, resume, rank, save and delete sweeps."
)
SweepId = Annotated[str, typer.Argument(help="A sweep; `earwitness sweeps list` names them.")]
SweepOrFolder = Annotated[
    str, typer.Argument(help="A sweep; `earwitness sweeps list` names them. Or a folder that one was saved to (--out).")
]


@app.command("list")
def list_sweeps(
    context: typer.Context, explainer: Explainer = None, data: Data = None, json_output: Json = False
) -> None:
    """Every sweep, the newest first."""
    connection: Connection = context.obj

    async def ask() -> "tuple[SweepProgress, ...]":
        async with connection.sweeps(explainer, data) as client:
            return await client.list()

    found = asyncio.run(ask())
    if json_output:
        console.print_json([progress_document(each) for each in found])
        return
    print_sweeps(found)


@app.command()
def show(
    context: typer.Context,
    sweep: SweepOrFolder,
    every: Annotated[bool, typer.Option("--all", help="Every setting, not only the first ones.")] = False,
    out: Out = None,
    example_count: ExampleCount = 8,
    recordings: Recordings = None,
    strict: Strict = False,
    force: Force = False,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: RecordingsTriton = None,
    model_repository: RecordingsRepository = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """What a sweep has found so far; with --out, its folder as `earwitness sweep --out` writes it.

    The folder holds the sweep itself (sweep.npz): it outlives the explainer's database, can be moved to other machines,
    and can replace the sweep's id here, in [bold]earwitness sweeps rank[/bold] and in [bold]earwitness evaluate
    explanations[/bold].
    """
    places = SweepPlaces(context.obj, explainer, scorer, triton, model_repository, data)
    real = RealAudio.of(recordings, out, triton, model_repository, data, strict=strict)

    async def ask(update: console.Update) -> "Sweep":
        if out is None:
            return await places.read(sweep)
        async with AsyncExitStack() as opened:
            source = await places.source(sweep, opened)
            check_folder(out, len(source.sweep.objectives), force=force)
            if real is not None:
                await real.check(source.sweep.model, source.sweep.weights_sha256)
            await write_sweep_folders(source, out, example_count, real=real, update=update, force=force)
            return source.sweep

    with console.progress("reading") as update:
        found = asyncio.run(ask(update))
    if json_output:
        console.print_json({**sweep_document(found), "out": out and out.absolute(), **RealAudio.document(real)})
    else:
        print_sweep(found, out, every=every)


@app.command()
def watch(
    context: typer.Context,
    sweep: SweepId,
    explainer: Explainer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Follow a sweep to its end; Ctrl-C leaves it running."""
    connection: Connection = context.obj

    async def ask(update: console.Update) -> "Sweep":
        async with connection.sweeps(explainer, data) as client:
            await follow(client, sweep, update)
            return await client.get(sweep)

    with console.progress("sweeping") as update:
        found = asyncio.run(ask(update))
    if json_output:
        console.print_json(sweep_document(found))
    else:
        print_sweep(found)


@app.command()
def resume(
    context: typer.Context,
    sweep: SweepId,
    wait: Wait = True,
    request_id: RequestId = None,
    explainer: Explainer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Resume a sweep that failed or was cancelled, as a new sweep that starts with everything it has done.

    The new sweep finds what the old one would have found; the old one stays until it is deleted.
    """
    connection: Connection = context.obj

    async def ask(update: console.Update) -> "Sweep | None":
        async with connection.sweeps(explainer, data) as client:
            started = await client.resume(sweep, request_id=request_id)
            if not wait:
                print_started(started, json_output=json_output)
                return None
            console.say(f"sweep {sweep} goes on as {started.sweep_id}")
            await follow(client, started.sweep_id, update)
            return await client.get(started.sweep_id)

    with console.progress("sweeping") as update:
        found = asyncio.run(ask(update))
    if found is None:
        return
    if json_output:
        console.print_json(sweep_document(found))
    else:
        print_sweep(found)


@app.command()
def cancel(
    context: typer.Context, sweep: SweepId, explainer: Explainer = None, data: Data = None, json_output: Json = False
) -> None:
    """Stop a sweep; finished settings are kept, and `earwitness sweeps resume` resumes it."""
    connection: Connection = context.obj

    async def ask() -> "SweepProgress":
        async with connection.sweeps(explainer, data) as client:
            await client.cancel(sweep)
            async for _ in client.watch(sweep):
                pass
            return await client.progress(sweep)

    with console.progress("cancelling"):
        ended = asyncio.run(ask())
    if json_output:
        console.print_json(progress_document(ended))
    else:
        kept = f"{ended.results_done} of {ended.result_count} results are kept"
        console.show(f"sweep {ended.sweep_id} is {ended.state}: {kept}")


@app.command()
def rank(
    context: typer.Context,
    sweep: SweepOrFolder,
    references: Annotated[
        list[str] | None,
        typer.Option("--reference", "-r", help="Instead of the sweep's own: one for each objective in turn."),
    ] = None,
    keep: Keep = 0,
    criterion: CriterionOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="For a folder: another folder to write, with the new ranking.")
    ] = None,
    example_count: ExampleCount = 8,
    force: Force = False,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Instead of Triton: make sounds for --out in this process, from this folder.")
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Rank the settings of a sweep that has ended, again or for the first time, by its own or another criterion.

    The explainer stores the new ranking of its sweep. A folder is not changed: --out writes another.
    """
    from earwitness.client.criteria import criterion_of
    from earwitness.client.values import Criterion

    places = SweepPlaces(context.obj, explainer, scorer, triton, model_repository, data)
    ranked_by = None if criterion is None else criterion_of(criterion)
    if is_folder(sweep) and (keep or ranked_by not in (None, Criterion())):
        raise InvalidArgument(
            "keep" if keep else "criterion",
            "is for sweeps that the explainer holds: a folder has no activations of other layers to measure by",
        )
    if out is not None and not is_folder(sweep):
        raise InvalidArgument(
            "out", "is for folders; the explainer keeps the ranking, `earwitness sweeps show` writes it"
        )

    async def ask(update: console.Update) -> "Sweep":
        async with AsyncExitStack() as opened:
            if not is_folder(sweep):
                client = await opened.enter_async_context(places.connection.sweeps(explainer, data))
                await client.rank(sweep, references or [], criterion=ranked_by, keep_count=keep)
                return await client.get(sweep)
            scoring = await opened.enter_async_context(places.connection.scorer(scorer, data))
            source = await places.ranked(sweep, opened, scoring, references or [], by_unit=ranked_by is not None)
            if out is not None:
                check_folder(out, len(source.sweep.objectives), force=force)
                await write_sweep_folders(source, out, example_count, real=None, update=update, force=force)
            return source.sweep

    with console.progress("ranking") as update:
        found = asyncio.run(ask(update))
    if json_output:
        console.print_json({**sweep_document(found), "out": out and out.absolute()})
    else:
        print_sweep(found, out)


@app.command()
def delete(
    context: typer.Context, sweep: SweepId, explainer: Explainer = None, data: Data = None, json_output: Json = False
) -> None:
    """Delete a sweep that has ended, with all its results."""
    connection: Connection = context.obj

    async def ask() -> None:
        async with connection.sweeps(explainer, data) as client:
            await client.delete(sweep)

    asyncio.run(ask())
    if json_output:
        console.print_json({"deleted": sweep})
    else:
        console.show(f"{sweep} is deleted")
