"""`earwitness register`: a classifier that a Triton serves already becomes a model that can be explained."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import DEFAULT_TRITON, address_of, repository_folder
from earwitness.cli.described import features_of, labels_of, named
from earwitness.cli.extra import packages_of
from earwitness.cli.options import (
    TENSORS,
    Data,
    InputAxes,
    InputOffset,
    InputScale,
    Json,
    ModelRepository,
    OutputTensor,
    Triton,
)

if TYPE_CHECKING:
    from earwitness.registration import Registered, Registration


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("register")(register_model)


def register_model(
    name: Annotated[str, typer.Argument(help="Name of the new model, e.g. birds.")],
    classifier: Annotated[
        str, typer.Option("--classifier", "-c", help="The classifier, as the Triton calls it; of any backend.")
    ],
    generator: Annotated[
        str,
        typer.Option(
            "--generator", "-g", help="A model whose generator to use, e.g. svd-r1; or a generator that the Triton has."
        ),
    ],
    features: Annotated[
        str | None,
        typer.Option(help="Feature profile: a name, log-mel-80@1, or a JSON file. Default: the generator's."),
    ] = None,
    classifier_version: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Its version. Default: the newest; it stays that one.",
            rich_help_panel=TENSORS,
        ),
    ] = None,
    input_axes: InputAxes = None,
    input_offset: InputOffset = 0.0,
    input_scale: InputScale = 1.0,
    output_tensor: OutputTensor = None,
    output: Annotated[
        Literal["logit", "probability"] | None,
        typer.Option(help="What its answer is. Default: by its values, from 0 to 1 or not.", rich_help_panel=TENSORS),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            metavar="NAME=OUTPUT",
            help="Layer, and the output that it is. Default: every output of floating-point numbers.",
            rich_help_panel=TENSORS,
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="UNIT=HIGH[/LOW]", help="Words for an output unit: 0=vocal/other.")
    ] = None,
    training_data: Annotated[str, typer.Option(help="What it was trained on, in words.")] = "not recorded",
    model_repository: ModelRepository = None,
    load: Annotated[
        bool, typer.Option("--load", help="Have the Triton load the new models (one that runs in explicit mode).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of that name.")] = False,
    triton: Triton = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Register a classifier that a Triton serves already, by any backend, as a model that can be explained.

    Nothing of it is read but what it answers: python, TensorRT, TensorFlow, remote ones. So there is no gradient, and
    it is explained by draws from the prior and by a walk (`explain --optimiser draws`, `walk`). The Triton is asked for
    its inputs and outputs, and it is tried on what the generator makes, before anything is written.

    Written into the model repository of that Triton: NAME_generator, a copy of the generator; NAME_classifier, a Triton
    ensemble that gives the classifier our names; and where axes have to be moved, numbers cast or frames averaged,
    small ONNX models before and behind it (these need the extra `register`). The classifier itself is left as it is.
    The Triton needs the ONNX Runtime backend. Once it has loaded them, `earwitness up --triton HOST:PORT` explains.

    [bold]Examples[/bold]

      earwitness register birds --classifier bird_forest --generator svd-r1 --triton gpu-box:8001
      --model-repository /srv/models --label "0=no call/call" --label "1=call/no call"

      earwitness register keras-birds -c birds_tf -g svd-r1 --input-scale 0.2303 --output-tensor dense_1
    """
    from earwitness.registration import Registration

    repository = repository_folder(model_repository)
    asked = Registration(
        name=name,
        classifier=classifier,
        generator=generator,
        version=classifier_version,
        features=None if features is None else features_of(features),
        input_axes=input_axes,
        input_offset=input_offset,
        input_scale=input_scale,
        output_tensor=output_tensor,
        output=output,
        layers=named("layer", layer, "NAME=OUTPUT") if layer else None,
        labels=labels_of(label or ()),
        training_data=training_data,
        replace=force,
    )
    address = triton or address_of(data, lambda stack: stack.triton or DEFAULT_TRITON, DEFAULT_TRITON)
    with packages_of("register"), console.progress("registering"):
        registered, unloaded = asyncio.run(_register(asked, repository, address, load=load))
    if json_output:
        console.print_json({"model_repository": repository, "unloaded": unloaded, **asdict(registered)})
    else:
        _print(registered, repository, address, unloaded if load else None)
    if unloaded:
        raise typer.Exit(1)


async def _register(
    asked: "Registration", repository: Path, address: str, *, load: bool
) -> "tuple[Registered, dict[str, str]]":
    """The bundle, and why models of it could not be loaded, by name."""
    from earwitness.registration import asking, register

    async with asking(address) as triton:
        registered = await register(asked, repository, triton)
        unloaded = {}
        for name in registered.loaded_first if load else ():
            if why := await triton.load(name):
                unloaded[name] = why
        return registered, unloaded


def _print(registered: "Registered", repository: Path, address: str, unloaded: dict[str, str] | None) -> None:
    metadata = registered.metadata
    layers = ", ".join(f"{layer.name} ({layer.unit_count})" for layer in metadata.layers)
    console.show(f"{metadata.name}: {', '.join(registered.models)}, in {repository}")
    console.show(f"its answer: a {metadata.output_kind} for each unit of {metadata.output_layer.name}")
    console.show(f"takes {registered.axes}; layers: {layers}; identity {metadata.weights_sha256[:16]}")
    for note in registered.notes:
        console.say(f"mind: {note}")
    for name, why in (unloaded or {}).items():
        console.say(f"{name} is written but not loaded: {why}")
    if unloaded is None:
        console.show(f"have the Triton at {address} load them (start it again, or --load in its explicit mode), then:")
    console.show(f"earwitness up --triton {address}")
    console.show(f"earwitness explain {metadata.name} --optimiser walk --out out/{metadata.name}")
