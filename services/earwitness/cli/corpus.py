"""`earwitness corpus`: the seeded synthetic corpus of singing over accompaniment."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

app = typer.Typer(name="corpus", no_args_is_help=True)


@app.callback()
def corpus() -> None:
    """Make the corpus that the shipped detector is trained on. Needs the extra `train`."""


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bytes.")] = 0,
    clips: Annotated[
        int | None, typer.Option(min=3, help="Clips in all, six seconds each. Default: 10 050, about an hour.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace another corpus that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Build the corpus: singing synthesised over accompaniment, labelled frame by frame, split by speaker and backing.

    An interrupted build goes on where it was; one that is complete is left as it is.

    [bold]Examples[/bold]

      earwitness corpus build corpus -j 4

      earwitness corpus build small-corpus --clips 60
    """
    with extra("train"):
        from earwitness.training.corpus import CorpusConfig, build_corpus

        config = replace(CorpusConfig() if clips is None else CorpusConfig().scaled(clips), seed=seed)
        with console.progress("corpus") as update:
            built = build_corpus(
                config, out, workers, progress=lambda stage, done, total: update(done, total, stage), force=force
            )
    if json_output:
        console.print_json({"folder": built.folder, **built.manifest})
        return
    console.print_table(
        f"{built.folder}, fingerprint {built.manifest['fingerprint'][:12]}",
        ["split", "clips#", "hours#", "vocal frames#", "speakers#"],
        [
            [split, str(each["clips"]), f"{each['hours']:.2f}", f"{each['vocal_fraction']:.0%}", str(each["speakers"])]
            for split, each in built.manifest["splits"].items()
        ],
    )
