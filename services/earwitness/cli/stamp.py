"""`earwitness stamp`: bundles that an earlier version exported, brought up to date."""

from dataclasses import asdict

import typer

from earwitness.cli import console
from earwitness.cli.connection import repository_folder
from earwitness.cli.options import Json, ModelRepository


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(stamp)


def stamp(model_repository: ModelRepository = None, json_output: Json = False) -> None:
    """Write into models that an earlier version exported what `earwitness export` writes today.

    That is a digest of each file model.onnx, by which a damaged or exchanged file is noticed before it is served, and a
    bound on the requests that wait for a model in Triton. The models themselves and their weights' checksum stay as
    they are. A model whose files contradict each other, or the digests it has, is refused: export it again. Ends with
    status 1 then. Services that run notice nothing until they are started again.

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
