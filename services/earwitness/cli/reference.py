"""`earwitness reference`: build, list, show, export, import and delete references."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection, inference_backend
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import Data, Json, Layer, Scorer, Strict, Triton
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import (
        BuiltReference,
        KeptLayer,
        Reference,
        ReferenceVersion,
        Selection,
        VersionStatistics,
    )
    from earwitness.client.reference_file import Description, ImportedReference
    from earwitness.inference.metadata import BundleMetadata

NAMED_LAYERS = 12
"""Layers that are listed by name at most."""

app = typer.Typer(name="reference", help="Statistics of the activations of real audio.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the reference: a-z, 0-9 and -, starting with a letter.")]


@app.command()
def build(
    context: typer.Context,
    name: Name,
    audio: Annotated[list[Path] | None, typer.Argument(help="Audio files, or folders of them.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Name of the model.")] = "svd-r1",
    layer: Layer = None,
    unit: Annotated[
        int | None, typer.Option("--unit", "-u", min=0, help="Unit for --top or --bottom. Default: 0.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=2, help="Keep the excerpts where the unit is highest.")] = None,
    bottom: Annotated[int | None, typer.Option(min=2, help="Keep the excerpts where the unit is lowest.")] = None,
    keep_layers: Annotated[
        str | None,
        typer.Option(
            help="Layers that rows hold beside --layer: all, none or names, such as conv1,pool3. Default: as the "
            "reference has it; all for a new one with --top or --bottom, where they have 4096 units at most.",
        ),
    ] = None,
    hop: Annotated[
        int | None, typer.Option(min=1, help="Frames between two excerpts. Default: half an excerpt.")
    ] = None,
    activations: Annotated[
        Path | None, typer.Option(help="Instead of audio: a .npy of activations (rows, units) computed elsewhere.")
    ] = None,
    description: Annotated[str, typer.Option(help="Description of the audio.")] = "",
    strict: Strict = False,
    scorer: Scorer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Instead of Triton: run the model in this process, from this folder.")
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Build a reference from real audio, through the served classifier, and freeze it.

    Each recording is cut into excerpts, which the model classifies on the Triton of the stack that runs here, on
    --triton, or in this process from --model-repository. Recordings shorter than an excerpt are left out, except for a
    detector of replayed speech, which hears them repeated. Building again with more audio extends the reference and
    makes a new version; the same excerpt of the same file is never counted twice.

    With --top or --bottom, the selected excerpts keep the activations of all layers, so one reference provides nearness
    to them and distances over any layer. With --activations there is only the one layer.

    Files are decoded to their true end, whatever length their headers claim. A truncated file is reported and used as
    far as it goes; an unreadable one is reported and left out, unless none is left or --strict is given.

    [bold]Examples[/bold]

      earwitness reference build songs-fc8 music/ --layer fc8

      earwitness reference build songs-top50 music/ --unit 0 --top 50 --description "my own songs"

      earwitness reference build songs-top100 music/ --unit 0 --top 100 --keep-layers pool3,conv4

      earwitness reference build elsewhere-fc7 --layer fc7 --activations fc7.npy
    """
    from earwitness.client.activations import load_activations
    from earwitness.client.references import (
        BuildProgress,
        build_reference,
        build_reference_from_activations,
        bundle_of,
        find_recordings,
        identity_of,
    )

    selection = _selection(unit, top, bottom)
    if bool(audio) == (activations is not None):
        raise InvalidArgument("audio", "give either audio files or --activations")
    if activations is not None and keep_layers not in (None, "none"):
        raise InvalidArgument(
            "keep_layers", f"got {keep_layers}; --activations hold one layer: give audio to keep others"
        )
    flaws = Flaws()
    recordings = find_recordings(audio, flaws, strict=strict) if audio else []
    batch = None if activations is None else load_activations(activations)
    connection: Connection = context.obj

    async def work(update: console.Update) -> "BuiltReference":
        backend = inference_backend(triton, model_repository, data)
        try:
            async with connection.scorer(scorer, data) as client:
                bundle = await bundle_of(backend, model)
                chosen = layer or bundle.output_layer.name
                if batch is not None:
                    return await build_reference_from_activations(
                        client,
                        name,
                        batch,
                        identity=identity_of(bundle, chosen),
                        selection=selection,
                        description=description,
                    )

                def tell(event: BuildProgress) -> None:
                    update(event.done_count, event.recording_count, f"{event.row_count} excerpts")

                return await build_reference(
                    client,
                    backend,
                    name,
                    model=model,
                    layer=chosen,
                    selection=selection,
                    recordings=recordings,
                    keep_layers=_layer_names(keep_layers, bundle),
                    hop_frames=hop,
                    description=description,
                    on_progress=tell,
                    on_flaw=flaws,
                )
        finally:
            await backend.close()

    with console.progress("reading", "recordings") as update:
        built = asyncio.run(work(update))
    if json_output:
        console.print_json({**asdict(built), "flaws": flaws.document()})
        return
    if built.too_short:
        console.say(f"left out, shorter than one excerpt: {', '.join(map(str, built.too_short))}")
    console.show(
        f"{built.version.name}: {_summary(built.version, built.reference)}; "
        f"{built.added_shard_count} recordings added, {built.duplicate_shard_count} were there"
    )


@app.command("list")
def list_references(
    context: typer.Context,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Only those of this model.")] = None,
    scorer: Scorer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """List the references."""
    connection: Connection = context.obj

    async def work() -> "list[Reference]":
        async with connection.scorer(scorer, data) as client:
            return await client.list_references(model=model)

    found = asyncio.run(work())
    if json_output:
        console.print_json([asdict(reference) for reference in found])
        return
    _print_references(found)


@app.command()
def show(
    context: typer.Context, name: Name, scorer: Scorer = None, data: Data = None, json_output: Json = False
) -> None:
    """Show one reference with its versions."""
    connection: Connection = context.obj

    async def work() -> "Reference":
        async with connection.scorer(scorer, data) as client:
            return await client.get_reference(name)

    reference = asyncio.run(work())
    if json_output:
        console.print_json(asdict(reference))
        return
    _print_reference(reference)


def _print_references(found: "Sequence[Reference]") -> None:
    rows = [
        [r.name, r.identity.model, r.identity.layer, str(r.selection), _kept_words(r.kept_layers, short=True),
         str(r.row_count), str(len(r.versions))]
        for r in found
    ]  # fmt: skip
    heads = ["reference", "model", "layer", "selection", "keeps", "excerpts#", "versions#"]
    console.print_table(None, heads, rows)


def _print_reference(reference: "Reference") -> None:
    identity = reference.identity
    console.show(f"{reference.name}: {reference.description or 'no description'}")
    console.show(
        f"{identity.layer} ({identity.unit_count} units) of {identity.model}, weights {identity.weights_sha256[:12]}, "
        f"{identity.feature_profile}; {reference.selection}; {reference.row_count} excerpts in "
        f"{reference.shard_count} shards"
    )
    if reference.kept_layers:
        console.show(f"rows hold {_kept_words(reference.kept_layers)}: {reference.width} units")
    rows = [
        [v.name, str(v.row_count), str(v.selected_count), _number(v.unit_minimum), _number(v.unit_maximum),
         v.create_time.isoformat(timespec="seconds")]
        for v in reference.versions
    ]  # fmt: skip
    console.print_table(None, ["version", "excerpts#", "selected#", "lowest#", "highest#", "made"], rows)


@app.command("export")
def export_reference(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file to write, FILE.npz.")],
    version: Annotated[int | None, typer.Option(min=1, help="Version. Default: the newest.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    scorer: Scorer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Write one version of a reference to a file, from which `import` recreates it on any scorer.

    The file holds the statistics that scores need (for selected or few excerpts, their activations) and their identity:
    model, weights, layer, selection, counts. It contains no audio, and numpy can read it.

    [bold]Examples[/bold]

      earwitness reference export vocal-top50 vocal-top50.npz

      earwitness reference export vocal-top50 first.npz --version 1 --scorer scorer.example:50052
    """
    from earwitness.client.reference_file import check_file_free, write_reference

    check_file_free(file, force=force)
    connection: Connection = context.obj

    async def work() -> "VersionStatistics":
        async with connection.scorer(scorer, data) as client:
            return await client.read_statistics(name if version is None else f"{name}/versions/{version}")

    with console.progress("exporting"):
        about = write_reference(asyncio.run(work()), file, force=force)
    if json_output:
        console.print_json({"file": file, **asdict(about)})
    else:
        console.show(f"{file}: {_summary(about.version, about)}")


@app.command("import")
def import_reference(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote.")],
    description: Annotated[str | None, typer.Option(help="Description of the audio. Default: the file's.")] = None,
    scorer: Scorer = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Create a reference from a file written by `export`, and freeze it: it scores like the exported version.

    Importing the same file again changes nothing. A different reference of that name is left as it is.

    [bold]Examples[/bold]

      earwitness reference import vocal-top50 vocal-top50.npz

      earwitness reference import theirs theirs.npz --description "the songs of our other site"
    """
    from earwitness.client import reference_file

    stored = reference_file.read_reference(file)
    connection: Connection = context.obj

    async def work() -> "ImportedReference":
        async with connection.scorer(scorer, data) as client:
            return await reference_file.import_reference(client, name, stored, description=description)

    with console.progress("importing"):
        made = asyncio.run(work())
    if json_output:
        console.print_json(asdict(made))
        return
    summary = _summary(made.version, made.reference)
    console.show(f"{made.version.name}: {summary}; {'added' if made.added else 'was there'}")


@app.command()
def delete(
    context: typer.Context, name: Name, scorer: Scorer = None, data: Data = None, json_output: Json = False
) -> None:
    """Delete a reference with all its versions."""
    connection: Connection = context.obj

    async def work() -> None:
        async with connection.scorer(scorer, data) as client:
            await client.delete_reference(name)

    asyncio.run(work())
    if json_output:
        console.print_json({"deleted": name})
    else:
        console.show(f"deleted {name}")


def _selection(unit: int | None, top: int | None, bottom: int | None) -> "Selection":
    from earwitness.client import Selection

    if top is not None and bottom is not None:
        raise InvalidArgument("top", "give --top or --bottom, not both")
    if top is not None:
        return Selection("top", unit or 0, top)
    if bottom is not None:
        return Selection("bottom", unit or 0, bottom)
    if unit is not None:
        raise InvalidArgument("unit", "needs --top or --bottom; a reference of all excerpts holds every unit")
    return Selection("all")


def _layer_names(option: str | None, bundle: "BundleMetadata") -> list[str] | None:
    """What --keep-layers names."""
    if option in (None, ""):
        return None
    if option == "none":
        return []
    if option == "all":
        return [each.name for each in bundle.layers]
    return [name.strip() for name in option.split(",")]


def _summary(version: "ReferenceVersion", of: "Reference | Description") -> str:
    counts = f"{version.selected_count} of {version.row_count} excerpts"
    kept = f", which hold {_kept_words(of.kept_layers)}" if of.kept_layers else ""
    return f"{counts} ({of.selection}) of {of.identity.layer} of {of.identity.model}{kept}"


def _kept_words(layers: "Sequence[KeptLayer]", *, short: bool = False) -> str:
    """The layers' names; of many, or in `short`, how many."""
    if short or len(layers) > NAMED_LAYERS:
        return f"{len(layers)} layers" if layers else ""
    return ", ".join(each.name for each in layers)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
