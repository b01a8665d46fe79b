"""`earwitness models`."""

import asyncio
from contextlib import suppress
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

    Models that cannot be explained, for example because their files are damaged, are listed on stderr.
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


def _extent(model: "Model") -> str:
    """The size of what the model hears; one band is a waveform, its frames are samples."""
    frames = model.frame_count
    return f"{frames} samples" if model.band_count == 1 else f"{model.band_count} bands × {frames} frames"


def _print(model: "Model") -> None:
    console.show(f"{model.name} {hears(model)}")
    console.print_table(
        f"{model.feature_profile}, {_extent(model)} at {model.sample_rate_hz} Hz, "
        f"latent {model.latent_size}, weights {model.weights_sha256[:12]}",
        ["layer", "kind", "units#"],
        [[layer.name, layer.kind, str(layer.unit_count)] for layer in model.layers],
    )
    console.show(f"a unit of {model.output_layer.name} is a {model.output_words}")
    for label in model.labels:
        console.show(
            f"{model.output_layer.name}[{label.unit}]: maximise for {label.maximise}, minimise for {label.minimise}"
        )
    if model.recommendations:
        _print_recommendations(model)
    console.show(f"trained on {model.training_data}\n")


def _print_recommendations(model: "Model") -> None:
    """The settings that `explain` uses by default, and how well they scored."""
    from earwitness.client.output.words import number, settings_line

    rows = [
        [
            f"{each.objective}{f' ({meaning})' if (meaning := model.meaning(each.objective)) else ''}",
            settings_line(each.settings, optimiser=True),
            str(each.oversampling),
            number(each.distance),
            str(each.row_count),
            each.reference,
        ]
        for each in model.recommendations
    ]
    columns = ["recommended for", "settings", "rows for one kept#", "FID#", "n#", "against"]
    console.print_table(None, columns, rows)


def hears(model: "Model") -> str:
    """What it does in a few words, e.g. `tells vocal from non-vocal in 1.6 s of sound at 22050 Hz`."""
    from earwitness.features import FeatureError, profile_from_dict

    sound = f"sound at {model.sample_rate_hz} Hz"
    with suppress(FeatureError):  # a kind of features that only a newer version knows
        samples = profile_from_dict(model.features).sample_count(model.frame_count)
        sound = f"{samples / model.sample_rate_hz:.2g} s of {sound}"
    if not model.labels:
        return f"answers with {model.output_layer.unit_count} unnamed output units to {sound}"
    pairs: list[tuple[str, str]] = []
    for label in model.labels:
        if (label.minimise, label.maximise) not in pairs:  # two outputs for the same two words
            pairs.append((label.maximise, label.minimise))
    return f"tells {', and '.join(f'{high} from {low}' for high, low in pairs)} in {sound}"
