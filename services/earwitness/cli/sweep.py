"""`earwitness sweep`."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection
from earwitness.cli.options import Data, Directions, Explainer, Force, Json, Layer, Scorer, Strict, WholeLayer
from earwitness.cli.sweep_excerpts import RealAudio, Recordings, RecordingsRepository, RecordingsTriton
from earwitness.cli.sweep_plan import objectives_of, require_tunable, senses_of, settings_of
from earwitness.cli.sweep_results import (
    check_folder,
    follow,
    kept,
    print_started,
    print_sweep,
    sweep_document,
    write_sweep_folders,
)
from earwitness.cli.sweep_tuning import Tuning, require_optuna, show_tuned
from earwitness.cli.sweep_ways import SweptWay, Ways
from earwitness.cli.ways import TARGET_FORMS
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import Sweep
    from earwitness.client.tuning import Tuned
    from earwitness.client.tuning_values import TuningPlan

GRID = "Grid: every combination of these (give any to make a grid of your own)"
OPEN = "Open ranges, such as --lr 1e-4..1e-1 (needs --reference)"
RANGE = "NUMBER|LOW..HIGH"
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write when the sweep is over.")]
Keep = Annotated[
    int,
    typer.Option(
        "--keep",
        min=0,
        help="Rank so many rows of each setting, those nearest to real excerpts. Default (0): all.",
        show_default=False,
    ),
]
CriterionOption = Annotated[
    str | None,
    typer.Option(
        "--criterion",
        help="Rank by the distance over the unit, as published (unit), over layers that the reference keeps "
        "(layer:pool3 or layers:pool3,conv4), or by nearness to its excerpts (nearness, or nearness:pool3,conv4). "
        "Default: over all convolutional layers where the reference keeps them, else over the unit.",
    ),
]
ExampleCount = Annotated[
    int, typer.Option("--examples", min=1, help="Explanations with sound and picture of each example in --out.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is over, or leave it running.")]
RequestId = Annotated[
    str | None, typer.Option(help="UUID4 of this request: sent again, it finds the sweep it started.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sweep)


def sweep(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model; `earwitness models` lists them.")],
    layer: Layer = None,
    units: Annotated[
        list[int] | None,
        typer.Option("--unit", "-u", min=0, help="Unit of the layer; several are swept together."),
    ] = None,
    directions: Directions = None,
    maximise: Annotated[
        bool | None, typer.Option("--maximise/--minimise", help="Sounds that make the unit fire most, or least.")
    ] = None,
    both: Annotated[bool, typer.Option("--both", help="Both senses, each an objective of its own.")] = False,
    grid: Annotated[
        Literal["paper"] | None, typer.Option(help="The paper's 27 settings; the default.", rich_help_panel=GRID)
    ] = None,
    learning_rates: Annotated[
        list[str] | None,
        typer.Option("--lr", metavar=RANGE, help="Learning rate; default: 0.01.", rich_help_panel=GRID),
    ] = None,
    prior_weights: Annotated[
        list[str] | None,
        typer.Option("--prior", metavar=RANGE, help="Prior weight λ; default: 0.001.", rich_help_panel=GRID),
    ] = None,
    steps: Annotated[
        list[str] | None, typer.Option("--steps", metavar=RANGE, help="Steps; default: 100.", rich_help_panel=GRID)
    ] = None,
    optimisers: Annotated[
        list[SweptWay] | None,
        typer.Option(
            "--optimiser",
            metavar="WAY",
            help="How latents are found: adam, sgd, normalised, walk, draws, or both for adam and sgd; default: adam.",
            rich_help_panel=GRID,
        ),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help=f"Activation at which a row stops: {TARGET_FORMS}.",
            rich_help_panel=GRID,
        ),
    ] = None,
    start_draw_counts: Annotated[
        list[int] | None,
        typer.Option("--start-draws", min=1, help="Begin with the best of so many draws.", rich_help_panel=GRID),
    ] = None,
    draw_counts: Annotated[
        list[int] | None,
        typer.Option("--draws", min=1, help="Latents that --optimiser draws draws.", rich_help_panel=GRID),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Settings to try in all, earlier ones of --out among them.", rich_help_panel=OPEN)
    ] = 30,
    batch_size: Annotated[
        int, typer.Option("--batch", min=1, help="Settings that are tried at once, as one sweep.", rich_help_panel=OPEN)
    ] = 10,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Seed of what is tried.", rich_help_panel=OPEN)] = 0,
    seeds: Annotated[int, typer.Option("--seeds", "-n", min=1, help="Rows of each setting.")] = 50,
    first_seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed; the others count on.")] = 0,
    references: Annotated[
        list[str] | None,
        typer.Option("--reference", "-r", help="Rank the settings against it: one that fits all, or one each in turn."),
    ] = None,
    whole_layer: WholeLayer = False,
    keep: Keep = 0,
    criterion: CriterionOption = None,
    out: Out = None,
    example_count: ExampleCount = 8,
    recordings: Recordings = None,
    strict: Strict = False,
    force: Force = False,
    wait: Wait = True,
    request_id: RequestId = None,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: RecordingsTriton = None,
    model_repository: RecordingsRepository = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Search with many settings over the same seeds, and let the distance to real audio choose among them.

    The sweep runs in the explainer and survives it: Ctrl-C leaves it running, and [bold]earwitness sweeps[/bold] lists,
    watches, cancels and saves it. With --reference the settings are ranked by their Fréchet distance. The folder holds
    sweep.csv, sweep.json and a page with the best, the median and the worst setting, and with --recordings the real
    audio that activates the unit most. Units, then directions, each with --both maximised and then minimised, are the
    objectives of one sweep; where there are several, each has a folder, and a page over them shows all at a glance. A
    reference of the top of a unit fits maximising that unit, one of its bottom minimising it, one of all excerpts both.

    Where a setting is a range, LOW..HIGH, Optuna chooses what to try by the distances so far (logarithmically, batch by
    batch; each batch is a sweep, and shorter prefixes of its runs are ranked too). The study is kept in --out: the same
    command continues it after an interruption, or with more --trials.

    [bold]Examples[/bold]

      earwitness sweep svd-r1 --maximise --grid paper --reference svd-r1-fc9-top50 --recordings music/ --out out/sweep

      earwitness sweep svd-r1 --minimise --lr 0.001 --lr 0.01 --steps 100 --steps 1000 --seeds 20

      earwitness sweep svd-r1 --lr 1e-4..1e-1 --prior 1e-4..1 --steps 50..1000 -r svd-r1-fc9-top50 --out out/open

      earwitness sweep svd-r1 --optimiser adam --optimiser normalised --target q0:1 --keep 20 -r svd-r1-fc9-top50

      earwitness sweep svd-r1 --both -r svd-r1-fc9-top50 -r svd-r1-fc9-bottom50 --out out/both

      earwitness sweep svd-r1 --layer fc8 --unit 3 --unit 7 --direction random:1 --no-wait --json
    """
    from earwitness.client import SweepPlan
    from earwitness.client.criteria import criterion_for, criterion_of
    from earwitness.client.errors import RpcFailure
    from earwitness.client.sweep_sources import LiveSweep
    from earwitness.client.tuning_values import TuningPlan

    senses = senses_of(maximise, both)
    ways = Ways.of(optimisers, targets, start_draw_counts, draw_counts)
    values = settings_of(grid, learning_rates or [], prior_weights or [], steps or [], ways)
    ranked_by = None if criterion is None else criterion_of(criterion)
    if (keep or ranked_by) and not references:
        raise InvalidArgument("keep" if keep else "criterion", "needs a reference to rank against (--reference)")
    objective_count = max(1, len(units or []) + len(directions or [])) * len(senses)
    if isinstance(values, dict):
        require_tunable(objective_count, references or [], seeds, stays=wait and not request_id)
        require_optuna()
    elif not wait and (out is not None or recordings):
        raise InvalidArgument(
            "out", "is written when the sweep is over; after --no-wait, `sweeps show ID --out` does it"
        )
    elif out is not None:
        check_folder(out, objective_count, force=force)
    real = RealAudio.of(recordings, out, triton, model_repository, data, strict=strict)
    connection: Connection = context.obj

    async def run(update: console.Update) -> "Sweep | tuple[TuningPlan, Tuned] | None":
        async with AsyncExitStack() as opened:
            models = await opened.enter_async_context(connection.explainer(explainer, data))
            client = await opened.enter_async_context(connection.sweeps(explainer, data))
            described = await models.get_model(model)
            chosen = described.layer(layer) if layer else described.output_layer
            if real is not None:
                await real.check(model, described.weights_sha256)
            objectives = objectives_of(chosen, units or [], directions or [], senses, references or [], whole_layer)
            if isinstance(values, dict):
                tuning = Tuning(trials, batch_size, out, force, example_count, real)
                ranges = TuningPlan(
                    model, described.weights_sha256, objectives[0], **values, optimiser="sgd"
                    if ways.optimisers == ["sgd"] else "adam", seed_count=seeds, first_seed=first_seed,
                    sampler_seed=sampler_seed,
                )  # fmt: skip
                scoring = await opened.enter_async_context(connection.scorer(scorer, data))
                return await tuning.run(models, client, scoring, ranges, update)
            plan = SweepPlan(model, objectives, values, seeds, first_seed, keep, ranked_by)
            if references and ranked_by is None and not whole_layer:
                with suppress(RpcFailure):  # the explainer says what is wrong with a reference, or with the scorer
                    scoring = await opened.enter_async_context(connection.scorer(scorer, data))
                    against = [await scoring.get_reference(name.partition("/")[0]) for name in set(references)]
                    plan = replace(
                        plan, criterion=criterion_for(described, against, plan.setting_count * (keep or seeds))
                    )
            started = await client.create(plan, request_id=request_id)
            if not wait:
                print_started(started, json_output=json_output)
                return None
            await follow(client, started.sweep_id, update)
            found = await client.get(started.sweep_id)
            if out is not None:
                with kept(started.sweep_id):
                    scoring = await opened.enter_async_context(connection.scorer(scorer, data))
                    source = LiveSweep(client, scoring, found, described)
                    await write_sweep_folders(source, out, example_count, real=real, update=update, force=force)
            return found

    with console.progress("sweeping") as update:
        found = asyncio.run(run(update))
    if found is None:
        return
    if isinstance(found, tuple):
        show_tuned(*found, out, json_output, real)
    elif json_output:
        console.print_json({**sweep_document(found), "out": out and out.absolute(), **RealAudio.document(real)})
    else:
        print_sweep(found, out)
