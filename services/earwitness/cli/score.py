"""`earwitness score`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection
from earwitness.cli.options import Data, Json, Scorer
from earwitness.cli.results import print_score

if TYPE_CHECKING:
    from earwitness.client.output import Scoring


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    context: typer.Context,
    activations: Annotated[
        Path, typer.Argument(help="An output folder, its explanations.npz, or a .npy of activations (rows, units).")
    ],
    reference: Annotated[str, typer.Option("--reference", "-r", help="Reference: NAME, or NAME/versions/N.")],
    unit: Annotated[
        int | None, typer.Option("--unit", "-u", min=0, help="Compare only this unit. Default: the whole layer.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the interval and the noise floor.")] = 0,
    scorer: Scorer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Fréchet distance (FID) of a batch of activations to a reference, its interval and its noise floor.

    An output folder records its model, weights and layer, and a mismatch is an error. A .npy file does not, and is
    assumed to match the reference. If the reference selects by another unit than was searched or is compared, or by its
    other end, the score comes with a warning. Precision is kept: float64 and integers are compared as they are.

    [bold]Examples[/bold]

      earwitness score out/vocal --reference svd-r1-fc9-top50

      earwitness score activations.npy --reference svd-r1-fc8 --unit 12 --json
    """
    from earwitness.client.activations import load_activations
    from earwitness.client.fitting import comparison_misfit, selection_misfit
    from earwitness.client.output import Scoring
    from earwitness.client.output.folder import score_document
    from earwitness.vocabulary.names import short

    batch = load_activations(activations)
    connection: Connection = context.obj

    async def ask() -> "Scoring":
        async with connection.scorer(scorer, data) as client:
            found = await client.get_reference(short(reference).partition("/")[0])
            identity = found.identity
            model, weights_sha256, layer = batch.origin or (identity.model, identity.weights_sha256, identity.layer)
            scored = await client.score(
                batch.activations,
                reference=reference,
                model=model,
                weights_sha256=weights_sha256,
                layer=layer,
                unit=unit,
                seed=seed,
            )
            return Scoring(found, unit, scored)

    with console.progress("scoring"):
        scoring = asyncio.run(ask())
    doubts = [selection_misfit(scoring.reference, each) for each in batch.objectives]
    doubts = list(filter(None, doubts)) or list(filter(None, [comparison_misfit(scoring.reference, unit)]))
    for doubt in doubts:
        console.say(f"doubtful: {doubt}")
    if json_output:
        console.print_json({**score_document(scoring), "doubts": doubts})
    else:
        print_score(scoring)
