"""`earwitness explain`."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection
from earwitness.cli.options import Data, Direction, Explainer, Force, Json, Layer, Scorer, Unit, WholeLayer
from earwitness.cli.results import print_runs, run_document, steps_done
from earwitness.cli.sweep_excerpts import RealAudio, Recordings, RecordingsRepository, RecordingsTriton
from earwitness.cli.ways import (
    SETTINGS,
    WAYS,
    Diversity,
    Draws,
    NearnessLayers,
    Oversample,
    StartDraws,
    Target_,
    Way,
    layers_of,
    settings_of,
)
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client.output import Run
    from earwitness.client.values import Sense

BESIDE = 8
"""Starting points of searches, and real excerpts, on the page at most."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model; `earwitness models` lists them.")],
    layer: Layer = None,
    unit: Unit = None,
    direction: Direction = None,
    maximise: Annotated[
        bool, typer.Option("--maximise/--minimise", help="Sounds that make the unit fire most, or least.")
    ] = True,
    both: Annotated[
        bool, typer.Option("--both", help="Both: two searches, and a page that sets them side by side.")
    ] = False,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Explanations: rows of the search.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first row; the others use seed + 1, seed + 2, ...")] = 0,
    optimiser: Annotated[Way | None, typer.Option(metavar="WAY", help=WAYS, rich_help_panel=SETTINGS)] = None,
    target: Target_ = None,
    start_draws: StartDraws = None,
    draws: Draws = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps, e.g. 100; with a target, the maximum.", rich_help_panel=SETTINGS),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--lr", help="Learning rate, e.g. 0.01; for a walk, b of its proposals.", rich_help_panel=SETTINGS
        ),
    ] = None,
    prior_weight: Annotated[
        float | None, typer.Option("--prior", help="Weight λ of the prior ‖z‖², e.g. 0.001.", rich_help_panel=SETTINGS)
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Instead of the prior: shrink z by this fraction at every step.", rich_help_panel=SETTINGS),
    ] = None,
    oversample: Oversample = None,
    nearness_layers: NearnessLayers = None,
    diversity: Diversity = 0.0,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            help="Real audio to score against, and whose activations are the rows' targets unless settings are given: "
            "NAME, or NAME/versions/N. With --both one for each sense, or one of all excerpts.",
        ),
    ] = None,
    whole_layer: WholeLayer = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; without it, only figures are printed.")
    ] = None,
    recordings: Recordings = None,
    force: Force = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.001, help="Seconds; after that, the best so far is returned.")
    ] = None,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: RecordingsTriton = None,
    model_repository: RecordingsRepository = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Find sounds that make a unit fire most, or least; score them against real audio; write a page that plays them.

    The folder holds explanations.npz, a WAV and a PNG for each explanation (in dark/, pictures for dark pages), the
    starting points of the first searches in start/, trajectory.csv, request.json, index.html and, with --reference,
    score.json; with --recordings, real/ holds the real audio that activates the unit most. All sounds are written at
    one loudness. The folder appears complete or not at all; with --both it holds such a folder for each sense.

    Without settings, the model's recommendation is used. If it has none, and a reference says what activations real
    audio has, each row climbs (or descends) to one of those activations, in steps of fixed length from the best of 8
    draws.

    [bold]Examples[/bold]

      earwitness explain svd-r1 --maximise -n 8 --out out/vocal

      earwitness explain svd-r1 --minimise -n 50 --oversample 3 --reference svd-r1-fc9-bottom50 --out out/non-vocal

      earwitness explain svd-r1 --both -n 50 -r svd-r1-fc9-top50 -r svd-r1-fc9-bottom50 --out out/both

      earwitness explain svd-r1 --optimiser walk --target 4:7 --out out/walk

      earwitness explain svd-r1 --draws 4000 -n 50 --oversample 2 --reference svd-r1-fc9-top50 --out out/draws

      earwitness explain svd-r1 --layer fc8 --unit 12 --lr 0.005 --prior 0.01 --seed 100 --out out/fc8-12

      earwitness explain svd-r1 --layer fc8 --direction random:0 --out out/direction
    """
    from earwitness.client import ALL_ARTEFACTS, Nearness, Objective, Search
    from earwitness.client.directions import direction_of
    from earwitness.client.explaining import explain_and_score
    from earwitness.client.fitting import fitting
    from earwitness.client.output import PAIR_MARKS, RUN_MARKS, check_free, write_pair, write_run

    if unit is not None and direction is not None:
        raise InvalidArgument("direction", "give either --unit or --direction")
    senses: Sequence[Sense] = ("maximise", "minimise") if both else ("maximise" if maximise else "minimise",)
    if references and len(references) > len(senses):
        raise InvalidArgument("reference", f"got {len(references)}; give one, or with --both one for each sense")
    settings = settings_of(optimiser, learning_rate, prior_weight, steps, weight_decay, target, start_draws, draws)
    if out is not None:
        check_free(out, force=force, marks=PAIR_MARKS if both else RUN_MARKS)
    real = RealAudio.of(recordings, out, triton, model_repository, data)
    connection: Connection = context.obj

    async def search(update: console.Update) -> "list[Run]":
        async with AsyncExitStack() as opened:
            client = await opened.enter_async_context(connection.explainer(explainer, data))
            scoring = await opened.enter_async_context(connection.scorer(scorer, data)) if references else None
            described = await client.get_model(model)
            chosen = described.layer(layer) if layer else described.output_layer
            weights = direction_of(direction, chosen) if direction else None
            objectives = [
                Objective(chosen.name, unit or 0 if weights is None else None, sense, weights) for sense in senses
            ]
            if real is not None:
                await real.check(model, described.weights_sha256)
            named: list[str | None] = [None] * len(senses)
            if scoring is not None and references:
                named = [*await fitting(scoring, described, references, objectives)]
            found = []
            for objective, reference in zip(objectives, named, strict=True):
                run = await explain_and_score(
                    client,
                    Search.of(model, objective, row_count=count, seed=seed, settings=settings),
                    model=described,
                    scorer=scoring,
                    reference=reference,
                    oversampling=oversample,
                    nearness=Nearness(layers_of(nearness_layers), diversity=diversity),
                    whole_layer=whole_layer,
                    artefacts=ALL_ARTEFACTS if out is not None else (),
                    on_progress=lambda event: update(*steps_done(event)),
                    timeout_s=timeout_s,
                    start_count=0 if out is None else BESIDE,
                )
                found.append(run)
            if real is not None:
                beside = await real.excerpts(model, objectives, BESIDE, update)
                found = [replace(run, excerpts=excerpts) for run, excerpts in zip(found, beside, strict=True)]
            return found

    with console.progress("searching", "steps") as update:
        runs = asyncio.run(search(update))
    if out is not None:
        if both:
            write_pair(out, runs, force=force)
        else:
            write_run(runs[0], out, force=force)
    if unscored := next((run.unscored for run in runs if run.unscored is not None), None):
        if out is not None:
            where = " ".join(
                str(out / run.objective.sense if both else out) for run in runs if run.unscored is not None
            )
            console.say(f"the explanations are in {out}, without a score: `earwitness score {where}` scores them later")
        raise unscored
    if json_output:
        page = out and (out / "index.html").absolute()
        documents = [run_document(run) for run in runs]
        console.print_json({"runs": documents, "page": page} if both else {**documents[0], "page": page})
        return
    print_runs(runs)
    if out is not None:
        console.show_page(out)
