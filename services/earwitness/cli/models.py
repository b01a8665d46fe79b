"""`earwitness models`."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection
from earwitness.cli.options import Data, Explainer, Json

if TYPE_CHECKING:
    from earwitness.client import Model


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(models)


def models(context: typer.Context, explainer: Explainer = None, data: Data = None, json_output: Json = False) -> None:
    """List the models that can be explained, with their layers and what their output units stand for.

    Those that are there and cannot be explained, their files damaged for example, are named on stderr.
    """
    connection: Connection = context.obj

    async def ask() -> "tuple[list[Model], dict[str, str]]":
        async with connection.explainer(explainer, data) as client:
            return await client.list_models(), await client.unusable_models()

    found, unusable = asyncio.run(ask())
    for name, cause in unusable.items():
        console.say(f"{name} cannot be explained: {cause}")
    if json_output:
        console.print_json([asdict(model) for model in found])
        return
    if not found:
        console.say("no models are served: `earwitness export` writes one into the model repository")
    for model in found:
        _print(model)


def _print(model: "Model") -> None:
    console.print_table(
        f"{model.name}: {model.feature_profile}, {model.band_count} bands × {model.frame_count} frames at "
        f"{model.sample_rate_hz} Hz, latent {model.latent_size}, weights {model.weights_sha256[:12]}",
        ["layer", "kind", "units#"],
        [[layer.name, layer.kind, str(layer.unit_count)] for layer in model.layers],
    )
    for label in model.labels:
        console.show(
            f"{model.output_layer.name}[{label.unit}]: maximise for {label.maximise}, minimise for {label.minimise}"
        )
    console.show(f"trained on {model.training_data}\n")
