"""`earwitness recommend`: which way to search suits a unit, and storing it in the model."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection, Endpoints, data_folder, inference_backend, repository_folder
from earwitness.cli.options import Data, Explainer, Json, Layer, Scorer, Triton, Unit
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import Model, Progress, Recommendation, Reference
    from earwitness.client.recommending import Tried


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(recommend)


def recommend(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model; `earwitness models` lists them.")],
    references: Annotated[
        list[str],
        typer.Option(
            "--reference",
            "-r",
            help="Reference of the top or bottom excerpts of a unit, which is then explained. Repeatable.",
        ),
    ],
    layer: Layer = None,
    unit: Unit = None,
    count: Annotated[int, typer.Option("-n", "--count", min=2, help="Explanations by each way.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first row; the others use seed + 1, seed + 2, ...")] = 0,
    write: Annotated[bool, typer.Option("--write", help="Store the best way in the model as its default.")] = False,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None,
        typer.Option(
            help="Where --write writes. Default: the folder of the stack that runs here, else ./model_repository.",
        ),
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Try several ways to search, compare their results with real audio, and name the one that suits a unit best.

    For each reference of the top (or bottom) excerpts of a unit, every way explains that unit: the published one; steps
    of fixed length and a walk, both stopping at real activations; draws from the prior; and the last three with more
    rows, of which the nearest to real excerpts are kept. The table shows the Fréchet distance over the unit and over
    each layer that the reference keeps, the share of rows outside the real range, and the cost of a row. The best way
    stays within the real range and has the lowest mean rank over the layers.

    With --write the settings become the model's recommendation, which `explain` uses by default: they are stored in the
    config.pbtxt of its three models, whose weights and digests do not change.

    [bold]Examples[/bold]

      earwitness recommend svd-r1 --reference svd-r1-fc9-top50 --reference svd-r1-fc9-bottom50 --write

      earwitness recommend svd-r1 --layer fc8 --unit 12 --reference fc8-12-top50 -n 20
    """
    from earwitness.client.recommending import best_of, objective_of, recommendation_of, stored, try_ways

    connection: Connection = context.obj
    folder = _folder(model_repository, data) if write else None

    async def work(update: console.Update) -> "list[tuple[Reference, list[Tried], Recommendation]]":
        async with AsyncExitStack() as opened:
            client = await opened.enter_async_context(connection.explainer(explainer, data))
            scoring = await opened.enter_async_context(connection.scorer(scorer, data))
            described = await client.get_model(model)
            if folder is not None:
                _require_same(folder, described)
            aims = []
            for name in references:
                reference = await scoring.get_reference(name)
                aims.append((reference, objective_of(described, reference, layer, unit)))
            backend = inference_backend(triton, None, data)
            opened.push_async_callback(backend.close)
            found = []
            for reference, objective in aims:
                tell = partial(_tell, update, str(objective))
                tried = await try_ways(
                    client,
                    scoring,
                    backend,
                    described,
                    objective,
                    reference,
                    row_count=count,
                    seed=seed,
                    on_progress=tell,
                )
                found.append((reference, tried, await recommendation_of(best_of(tried), objective, reference, scoring)))
            return found

    with console.progress("trying") as update:
        found = asyncio.run(work(update))
    if folder is not None:
        from earwitness.inference.recommending import store

        store(folder, model, [stored(best) for _, _, best in found])
    if json_output:
        document = [_document(reference, tried, best) for reference, tried, best in found]
        console.print_json({"recommendations": document, "written": folder})
        return
    for reference, tried, best in found:
        _print(model, reference, tried, best)
    if folder is not None:
        console.show(
            f"written to {folder}: services that run know of it once they are started again, and a Triton of its own "
            f"once it has loaded the models of {model} again"
        )
    else:
        console.show("nothing was written: --write makes it the default of `earwitness explain`")


def _tell(update: console.Update, objective: str, way: str, progress: "Progress") -> None:
    update(progress.step, progress.step_count, f"{objective}: {way}")


def _folder(given: Path | None, data: Path | None) -> Path:
    """Where the model lies that is explained here."""
    running = Endpoints.read(data_folder(data))
    if given is None and running is not None:
        return Path(running.model_repository)
    return repository_folder(given)


def _require_same(folder: Path, model: "Model") -> None:
    """Raises: InvalidArgument where other weights lie in the folder than are served; RepositoryError."""
    from earwitness.inference.recommending import find_bundle

    held = find_bundle(folder, model.name).weights_sha256
    if held != model.weights_sha256:
        raise InvalidArgument(
            "model_repository",
            f"{folder} holds {model.name} with weights {held[:12]}, served are {model.weights_sha256[:12]}; give the "
            "folder of the model that is served",
        )


def _print(model: str, reference: "Reference", tried: "list[Tried]", best: "Recommendation") -> None:
    from earwitness.client.output.words import number, settings_line
    from earwitness.client.recommending import best_of

    chosen = best_of(tried)
    layers = list(chosen.layer_distances)
    rows = [
        [
            f"{each.way.name}{' *' if each is chosen else ''}",
            number(each.by_unit.score.distance),
            f"{100 * each.by_unit.score.outside_range_ratio:.0f} %",
            *(number(each.layer_distances[layer]) for layer in layers),
            number(each.mean_place),
            number(each.cost),
            f"{each.seconds:.2g}",
        ]
        for each in tried
    ]
    columns = ["way", "FID#", "outside range#", *(f"{layer}#" for layer in layers)]
    console.print_table(
        f"{model}: {best.objective} against {reference.name}, {best.row_count} rows each",
        [*columns, "mean place#", "evaluations a row#", "s a row#"],
        rows,
    )
    kept = f", the nearest of {best.oversampling} rows each" if best.oversampling > 1 else ""
    console.show(f"* recommended: {settings_line(best.settings, optimiser=True)}{kept}")


def _document(reference: "Reference", tried: "list[Tried]", best: "Recommendation") -> dict[str, Any]:
    return {
        "reference": reference.name,
        "recommendation": asdict(best),
        "ways": [
            {
                "name": each.way.name,
                "settings": asdict(each.way.settings),
                "oversampling": each.way.oversampling,
                "score": asdict(each.by_unit.score),
                "leaves_range": each.by_unit.leaves_range,
                "layer_distances": dict(each.layer_distances),
                "mean_place": each.mean_place,
                "evaluations_per_row": each.cost,
                "seconds_per_row": each.seconds,
                "missed_count": each.result.summary.missed_count,
            }
            for each in tried
        ],
    }
