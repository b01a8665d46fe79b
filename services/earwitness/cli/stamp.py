"""`earwitness stamp`: update bundles that an earlier version exported."""

from dataclasses import asdict

import typer

from earwitness.cli import console
from earwitness.cli.connection import repository_folder
from earwitness.cli.options import Json, ModelRepository


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(stamp)


def stamp(model_repository: ModelRepository = None, json_output: Json = False) -> None:
    """Add to models of an earlier version what `earwitness export` writes today.

    That is a digest of each model.onnx, by which a damaged or exchanged file is detected before it is served, and a
    limit on the requests that wait for a model in Triton. The models and the checksum of their weights do not change. A
    model whose files contradict each other, or their digests, is refused (exit status 1): export it again. Running
    services see the change after a restart.

    [bold]Examples[/bold]

      earwitness stamp

      earwitness stamp --model-repository my_models
    """
    from earwitness.inference.stamping import stamp

    stamped = stamp(repository_folder(model_repository))
    if json_output:
        console.print_json([asdict(each) for each in stamped])
    else:
        for each in stamped:
            if not each.refused:
                console.show(f"{each.name}: {'its configurations are written anew' if each.changed else 'up to date'}")
    refused = [f"{each.name} is left as it was: {each.refused}" for each in stamped if each.refused]
    for words in refused:
        console.say(words)
    if refused:
        raise typer.Exit(1)
