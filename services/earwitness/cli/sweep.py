"""`earwitness sweep`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection
from earwitness.cli.options import Data, Explainer, Force, Json, Layer, Scorer
from earwitness.cli.sweep_results import follow, print_sweep, sweep_document, write_sweep_folders
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import Grid, Sweep, SweepObjective
    from earwitness.client.values import Optimiser

GRID = "Grid: every combination of these (give any to make a grid of your own)"
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write when the sweep is over.")]
ExampleCount = Annotated[
    int, typer.Option("--examples", min=1, help="Explanations with sound and picture of each example in --out.")
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
    maximise: Annotated[
        bool, typer.Option("--maximise/--minimise", help="Sounds that make the unit fire most, or least.")
    ] = True,
    grid: Annotated[
        Literal["paper"] | None, typer.Option(help="The paper's 27 settings; the default.", rich_help_panel=GRID)
    ] = None,
    learning_rates: Annotated[
        list[float] | None, typer.Option("--lr", help="Learning rate; default: 0.01.", rich_help_panel=GRID)
    ] = None,
    prior_weights: Annotated[
        list[float] | None, typer.Option("--prior", help="Prior weight λ; default: 0.001.", rich_help_panel=GRID)
    ] = None,
    steps: Annotated[
        list[int] | None, typer.Option("--steps", min=1, help="Steps; default: 100.", rich_help_panel=GRID)
    ] = None,
    optimiser: Annotated[
        Literal["adam", "sgd", "both"] | None,
        typer.Option(help="How the latent moves; default: adam.", rich_help_panel=GRID),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", "-n", min=1, help="Rows of each setting.")] = 50,
    first_seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed; the others count on.")] = 0,
    references: Annotated[
        list[str] | None,
        typer.Option("--reference", "-r", help="Rank the settings against it: one, or one for each --unit in turn."),
    ] = None,
    whole_layer: Annotated[
        bool, typer.Option("--whole-layer", help="Compare the whole layer, not the unit alone as the paper does.")
    ] = False,
    out: Out = None,
    example_count: ExampleCount = 8,
    force: Force = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is over, or leave it running.")] = True,
    request_id: Annotated[
        str | None, typer.Option(help="UUID4 of this request: sent again, it finds the sweep it started.")
    ] = None,
    explainer: Explainer = None,
    scorer: Scorer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Search with many settings over the same seeds, and let the distance to real audio choose among them.

    The sweep runs in the explainer and survives it: Ctrl-C leaves it running, and [bold]earwitness sweeps[/bold] lists,
    watches, cancels and saves it. With --reference the settings are ranked by their Fréchet distance. The folder holds
    sweep.csv, sweep.json and a page with the best, the median and the worst setting; one folder for each unit where
    there are several.

    [bold]Examples[/bold]

      earwitness sweep svd-r1 --maximise --grid paper --reference svd-r1-fc9-top50 --out out/sweep

      earwitness sweep svd-r1 --minimise --lr 0.001 --lr 0.01 --steps 100 --steps 1000 --seeds 20

      earwitness sweep svd-r1 --layer fc8 --unit 3 --unit 7 --no-wait --json
    """
    from earwitness.client import SweepPlan
    from earwitness.client.output import SWEEP_MARKS, check_free

    if out is not None:
        check_free(out, force=force, marks=SWEEP_MARKS if len(units or []) < 2 else ())
    values = _grid(grid, learning_rates, prior_weights, steps, optimiser)
    connection: Connection = context.obj

    async def run(update: console.Update) -> "Sweep | None":
        async with connection.explainer(explainer, data) as models, connection.sweeps(explainer, data) as client:
            chosen = layer or (await models.get_model(model)).output_layer.name
            objectives = _objectives(chosen, units or [0], maximise, references or [], whole_layer)
            plan = SweepPlan(model, objectives, values, seeds, first_seed)
            started = await client.create(plan, request_id=request_id)
            if not wait:
                if json_output:
                    console.print_json({"sweep": started.sweep_id, "state": started.state})
                else:
                    console.show(f"sweep {started.sweep_id} is {started.state}: `earwitness sweeps watch` follows it")
                return None
            await follow(client, started.sweep_id, update)
            found = await client.get(started.sweep_id)
            if out is not None:
                update(0, 0, "writing")
                async with connection.scorer(scorer, data) as scoring:
                    await write_sweep_folders(client, models, scoring, found, out, example_count, force=force)
            return found

    with console.progress("sweeping") as update:
        found = asyncio.run(run(update))
    if found is None:
        return
    if json_output:
        console.print_json({**sweep_document(found), "out": out and out.absolute()})
    else:
        print_sweep(found, out)


def _grid(
    name: str | None,
    learning_rates: Sequence[float] | None,
    prior_weights: Sequence[float] | None,
    steps: Sequence[int] | None,
    optimiser: Literal["adam", "sgd", "both"] | None,
) -> "Grid":
    from earwitness.client import PAPER_GRID, Grid

    own = learning_rates or prior_weights or steps or optimiser
    if name and own:
        raise InvalidArgument("grid", "give either --grid paper or values of your own (--lr, --prior, --steps)")
    if not own:
        return PAPER_GRID
    optimisers: list[Optimiser] = ["adam", "sgd"] if optimiser == "both" else [optimiser or "adam"]
    return Grid(learning_rates or [0.01], prior_weights or [0.001], steps or [100], optimisers)


def _objectives(
    layer: str, units: Sequence[int], maximise: bool, references: Sequence[str], whole_layer: bool
) -> "list[SweepObjective]":
    from earwitness.client import Objective, SweepObjective

    if len(references) not in (0, 1, len(units)):
        raise InvalidArgument("reference", f"got {len(references)} for {len(units)} units; give one, or one for each")
    of_unit = list(references) * (len(units) if len(references) == 1 else 1) or [""] * len(units)
    return [
        SweepObjective(Objective(layer, unit, "maximise" if maximise else "minimise"), reference or None, whole_layer)
        for unit, reference in zip(units, of_unit, strict=True)
    ]
