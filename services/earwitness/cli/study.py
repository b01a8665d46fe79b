"""`earwitness study`: whole experiments by one command."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

if TYPE_CHECKING:
    from earwitness.training.replay.study import Study

app = typer.Typer(name="study", no_args_is_help=True)


class Network(StrEnum):
    """Typer wants an enumeration in place of a Literal for repeatable options."""

    BULBUL = "bulbul"
    PINDROP = "pindrop"
    COMPACT = "compact"
    SPARROW = "sparrow"
    STC_LCNN = "stc_lcnn"


@app.callback()
def study() -> None:
    """Train and evaluate many detectors by one command. Needs the extra `train`."""


@app.command()
def replay(
    corpus: Annotated[
        Path, typer.Option("--corpus", "-c", help="ASVspoof 2017 as distributed, or `earwitness corpus replay`.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; an existing one is resumed.")],
    network: Annotated[
        list[Network] | None,
        typer.Option(
            "--network",
            "-n",
            metavar="NETWORK",
            help="bulbul, pindrop, compact, sparrow or stc_lcnn; repeatable. Default: all five.",
        ),
    ] = None,
    data: Annotated[
        Literal["both", "less", "more"],
        typer.Option(help="less: one window of each utterance; more: windows of 1 s over all of it."),
    ] = "both",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each network; figures are means over them.")] = 1,
    other: Annotated[
        Path | None, typer.Option(help="Another corpus, not used for training, for figures across corpora.")
    ] = None,
    shortcuts: Annotated[
        bool, typer.Option("--shortcuts", help="Also EERs on altered eval, as by `evaluate shortcuts`.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train what is missing, or report what is finished.")
    ] = True,
    epochs: Annotated[int | None, typer.Option(min=1, help="Maximum number of epochs. Default: 100.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a lower loss on dev before a run stops. Default: 10.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Batch size, in windows. Default: 32.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", min=1e-9, max=1.0, help="Learning rate. Default: 0.0001.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(min=0.0, max=0.9, help="Dropout. Default: 0.5.")] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Resamples of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples; runs have seeds 0, 1 and so on.")] = 0,
    workers: Annotated[int, typer.Option("--workers", "-j", min=0, help="Processes that prepare data.")] = 1,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. Default: torch's choice.")] = None,
    json_output: Json = False,
) -> None:
    """The paper's table: train the five networks, and report how well they generalise from train to dev and eval.

    For each network, with one window of every utterance and with more data: parameters, epochs, minutes, and the equal
    error rate on train, dev, eval and --other, with intervals; a computed sentence on the gap between dev and eval; the
    rate on eval by kind of loudspeaker; and the effect of --shortcuts. --out holds study.md, study.csv and study.json,
    rewritten after every run, and the runs with their scores.

    It takes hours on a CPU and can be killed at any time: the same command resumes, and finished runs and scores are
    kept. Further seeds, networks and --shortcuts can be added later. The same command works on ASVspoof 2017.

    [bold]Examples[/bold]

      earwitness corpus replay replayed && earwitness study replay --corpus replayed --out study

      earwitness study replay -c ASVspoof2017_V2 -n compact -n bulbul --seeds 3 --shortcuts -o study

      earwitness study replay -c replayed -o study --other recorded --no-train
    """
    with extra("train"):
        from earwitness.training.datasets import open_spoofing_corpus
        from earwitness.training.replay.study import StudyConfig, document, run_study, write_study

        config = StudyConfig(
            out,
            networks=tuple(each.value for each in network or Network),
            more_data={"both": (False, True), "less": (False,), "more": (True,)}[data],
            seeds=seeds,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            learning_rate=learning_rate,
            dropout=dropout,
            workers=workers,
            threads=threads,
            device=device,
        )
        opened = open_spoofing_corpus(corpus)
        beside = open_spoofing_corpus(other) if other else None
        found: Study | None = None
        with console.progress("study") as update:
            for found in run_study(
                config,
                opened,
                beside,
                train=train,
                shortcuts=shortcuts,
                resamples=bootstrap,
                seed=seed,
                progress=lambda done, total, text: update(done, total, text),
            ):
                write_study(found, out)
        assert found is not None
        if json_output:
            console.print_json(document(found))
        else:
            _print(found, out)


def _print(found: "Study", out: Path) -> None:
    from earwitness.training.replay.study.conclusions import conclusions
    from earwitness.training.replay.study.writing import (
        KINDS,
        SHORTCUTS,
        kinds_table,
        main_table,
        remarks,
        shortcuts_table,
    )

    tables = {
        "equal error rates (convex hull)": main_table(found),
        KINDS: kinds_table(found),
        SHORTCUTS: shortcuts_table(found),
    }
    for title, (columns, rows) in tables.items():
        if rows:
            console.print_table(title, columns, rows)
    for sentence in conclusions(found):
        console.show(sentence)
    for remark in remarks(found):
        console.say(f"note: {remark}")
    console.show(f"study: {out / 'study.md'}")
