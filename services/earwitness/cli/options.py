"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated

import typer

SERVICES = "Where the services are"

Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout; messages stay on stderr.")]
Explainer = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="EARWITNESS_EXPLAINER",
        help="The explainer. Default: the stack that runs here.",
        rich_help_panel=SERVICES,
    ),
]
Scorer = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="EARWITNESS_SCORER",
        help="The scorer. Default: the stack that runs here.",
        rich_help_panel=SERVICES,
    ),
]
Triton = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="EARWITNESS_TRITON",
        help="Triton's gRPC address. Default: the stack that runs here.",
        rich_help_panel=SERVICES,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        envvar="EARWITNESS_DATA",
        help="Folder of the stack's data. Default: earwitness in the user's data folder.",
        rich_help_panel=SERVICES,
    ),
]
ModelRepository = Annotated[
    Path | None,
    typer.Option(
        envvar="EARWITNESS_MODEL_REPOSITORY",
        help="Folder with the served models. Default: ./model_repository, else the one in the package.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output folder if it is not empty.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail if a recording is unreadable or truncated, instead of reporting it.")
]
Layer = Annotated[str | None, typer.Option("--layer", "-l", help="Layer. Default: the output layer.")]
Unit = Annotated[int | None, typer.Option("--unit", "-u", min=0, help="Unit of the layer. Default: 0.")]
WholeLayer = Annotated[
    bool,
    typer.Option("--whole-layer", help="Compare all units of the layer with the reference, not only the objective's."),
]
DIRECTION = """Weighted sum of units: a JSON file {"unit": weight, ...}, or random:SEED for one over the whole layer"""
Direction = Annotated[
    str | None, typer.Option("--direction", metavar="FILE|random:SEED", help=f"{DIRECTION}; instead of --unit.")
]
Directions = Annotated[
    list[str] | None, typer.Option("--direction", metavar="FILE|random:SEED", help=f"{DIRECTION}; several as --unit.")
]
TENSORS = "The tensors of a classifier in a file, or in a Triton"
InputAxes = Annotated[
    str | None,
    typer.Option(
        "--input-axes",
        metavar="AXES",
        help="How it takes a spectrogram, where its sizes do not tell: bands,frames, frames,bands,1 (a channel), "
        "bands*frames (flattened) and the like.",
        rich_help_panel=TENSORS,
    ),
]
InputOffset = Annotated[
    float,
    typer.Option("--input-offset", help="It takes (x − offset) / scale of the features.", rich_help_panel=TENSORS),
]
InputScale = Annotated[float, typer.Option("--input-scale", help="See --input-offset.", rich_help_panel=TENSORS)]
OutputTensor = Annotated[
    str | None,
    typer.Option(
        "--output-tensor",
        metavar="NAME",
        help="The output that is its answer. Default: its only one.",
        rich_help_panel=TENSORS,
    ),
]
