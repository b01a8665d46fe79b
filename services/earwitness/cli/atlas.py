"""`earwitness atlas`: what every unit of some layers listens for, on pages."""

import asyncio
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection, inference_place
from earwitness.cli.extra import packages_of
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import SERVICES, Data, Explainer, Json, Strict, Triton
from earwitness.cli.ways import Way
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.atlas import Atlas
    from earwitness.atlas.executing import Workers
    from earwitness.client import Model
    from earwitness.client.values import Sense

ALL = "all"
_UNITS = re.compile(r"([0-9]+)(?:\.\.([0-9]+))?")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(atlas)


def atlas(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model; `earwitness models` lists them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the atlas; one that is there is gone on with.")],
    recordings: Annotated[
        list[Path], typer.Option("--recordings", help="Audio files or folders: the real audio. Several in turn.")
    ],
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="Layer, or all. Several in turn. Default: the output layer."),
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option("--unit", "-u", metavar="N|N..M", help="Units of each layer, e.g. 5 or 0..63. Default: all."),
    ] = None,
    sense: Annotated[
        Literal["both", "maximise", "minimise"], typer.Option(help="Which extremes of a unit are explained.")
    ] = "both",
    count: Annotated[int, typer.Option("-n", "--count", help="Explanations of each unit and sense.")] = 4,
    excerpts: Annotated[int, typer.Option("-k", "--excerpts", help="Real excerpts beside them.")] = 4,
    way: Annotated[
        Way | None,
        typer.Option(
            metavar="WAY",
            help="How explanations are found: draws, walk, normalised, adam or sgd. Default: what the model recommends "
            "for a unit, and draws for all others. One pool of draws serves all units; other ways search each unit.",
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="Latents in the pool of draws.")] = 4000,
    oversample: Annotated[
        int, typer.Option(help="Candidates for each explanation, of which those nearest to real excerpts are kept.")
    ] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first draw, and of the first row of a search.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads of this process. Default: one for each core.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            envvar="EARWITNESS_CLUSTER",
            help="Instead of threads: the workers of this Dask scheduler, e.g. tcp://10.0.0.1:8786. They need "
            "earwitness, the recordings under the same paths, and Triton's address as given here (extra: dask).",
        ),
    ] = None,
    strict: Strict = False,
    explainer: Explainer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None,
        typer.Option(
            help="Instead of Triton: run the models in this process (or in the workers), from this folder.",
            rich_help_panel=SERVICES,
        ),
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Explain every unit of some layers, beside the real excerpts that drive it; write pages to search and listen.

    One pass of the recordings through the classifier gives the activations of all units; one pool of draws from the
    generator, classified once, gives the explanations of all units in both senses. Of those that activate a unit most
    (least) the ones nearest to its real excerpts are kept, and scored against them. Units are grouped by what they
    respond to; dead ones and duplicates are named.

    The folder opens without a server: index.html is a grid of all units, units/ has a page for each, media/ the sounds
    and pictures, atlas.json all figures. .work/ in it keeps what is done: the same command goes on after any end, and
    with more units, layers or recordings does what is new alone. Delete it when you will not go on.

    [bold]Examples[/bold]

      earwitness atlas svd-r1 --layer conv5 --recordings music/ --out out/atlas

      earwitness atlas svd-r1 --layer conv5 --layer fc8 --unit 0..63 --sense maximise --recordings music/ -o out/atlas

      earwitness atlas svd-r1 --layer all --recordings music/ --draws 8000 --out out/atlas

      earwitness atlas svd-r1 --recordings music/ --cluster tcp://10.0.0.1:8786 --triton 10.0.0.2:8001 -o out/atlas
    """
    from earwitness.atlas import Place, Request, make_atlas
    from earwitness.atlas.searching import searcher
    from earwitness.client.references import find_recordings
    from earwitness.vocabulary.search import require_seeds

    senses: tuple[Sense, ...] = ("maximise", "minimise") if sense == "both" else (sense,)
    request = Request(count, excerpts, senses, way, draws, oversample, seed)
    require_seeds(seed, draws)
    ranges = [_range_of(each) for each in units or []]
    flaws = Flaws()
    found = find_recordings(recordings, flaws, strict=strict)
    place = Place(model, *inference_place(triton, model_repository, data))
    connection: Connection = context.obj

    async def describe() -> "Model":
        async with connection.explainer(explainer, data) as client:
            return await client.get_model(model)

    described = asyncio.run(describe())
    names = [layer.name for layer in described.layers] if ALL in (layers or []) else layers
    with _workers(workers, cluster) as doing, console.progress("atlas", "parts") as update:
        made = make_atlas(
            place,
            described,
            names or [described.output_layer.name],
            ranges,
            [each.absolute() for each in found],
            out,
            doing,
            request,
            search=searcher(lambda: connection.explainer(explainer, data)),
            on_progress=update,
            on_flaw=flaws,
        )
    if json_output:
        console.print_json(_document(made, out, flaws))
        return
    _print(made)
    console.show_page(out)


def _range_of(words: str) -> range:
    """Units as people type them. Raises: InvalidArgument."""
    matched = _UNITS.fullmatch(words.strip())
    if matched is None:
        raise InvalidArgument("unit", f"got {words!r}; give a unit, 5, or several, 0..63")
    first = int(matched[1])
    last = int(matched[2]) if matched[2] else first
    if last < first:
        raise InvalidArgument("unit", f"got {words!r}; a range goes up: {last}..{first}")
    return range(first, last + 1)


def _workers(count: int | None, address: str | None) -> "AbstractContextManager[Workers]":
    """Raises: InvalidArgument for both; MissingPackage; as `cluster`."""
    from earwitness.atlas.executing import cluster, threads

    if address is None:
        return threads(count)
    if count is not None:
        raise InvalidArgument("workers", "are threads of this process; a cluster has its own: leave it out")
    with packages_of("dask"):
        import distributed  # noqa: F401
    return cluster(address)


def _document(made: "Atlas", out: Path, flaws: Flaws) -> dict[str, Any]:
    return {
        "model": made.model,
        "page": (out / "index.html").absolute(),
        "recordings": len(made.recordings),
        "excerpts": made.excerpt_count,
        "units": [
            {
                "layer": each.key.layer,
                "unit": each.key.unit,
                "cluster": each.cluster,
                "selectivity": each.selectivity,
                "dead": each.dead,
                "duplicate_of": None if each.duplicate_of is None else str(each.duplicate_of),
                "scores": {side.sense: None if side.score is None else side.score.distance for side in each.sides},
            }
            for each in made.units
        ],
        "flaws": flaws.document(),
    }


def _print(made: "Atlas") -> None:
    dead = sum(each.dead for each in made.units)
    duplicates = sum(each.duplicate_of is not None for each in made.units)
    sizes: dict[int, int] = {}
    for each in made.units:
        sizes[each.cluster] = sizes.get(each.cluster, 0) + 1
    clusters = sum(size > 1 for cluster, size in sizes.items() if cluster)
    console.show(
        f"{made.model}: {len(made.units)} units over {made.excerpt_count} excerpts of {len(made.recordings)} "
        f"recordings; {clusters} clusters of more than one, {dead} dead, {duplicates} duplicates"
    )
