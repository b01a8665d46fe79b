"""`earwitness train`: the detectors of singing and of replayed speech, and a generator."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from earwitness.cli import console
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

app = typer.Typer(name="train", no_args_is_help=True)

Corpus = Annotated[Path, typer.Option("--corpus", "-c", help="Folder of `earwitness corpus build` or `data import`.")]
RunFolder = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the run; a matching run is resumed, a different one is refused.")
]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds and data give equal weights on one machine's CPU.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if there is one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads. Default: torch's choice.")]


@app.callback()
def train() -> None:
    """Train a detector, and a generator of its sounds. Needs the extra `train`.

    A run saves its state regularly: after a kill, the same command resumes it. On a CPU (with the same number of
    threads) it reaches the same weights as without interruption; sums on a GPU have no fixed order, so there runs
    differ slightly.
    """


@app.command()
def svd(
    corpus: Corpus,
    out: RunFolder,
    variant: Annotated[
        Literal["r1", "r2"], typer.Option(help="r1: one sigmoid output; r2: two softmax outputs.")
    ] = "r1",
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs. Default: 40.")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Updates in an epoch. Default: 300.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Batch size, in segments. Default: 16.")] = None,
    excerpts: Annotated[
        int | None, typer.Option(min=1, help="Overlapping excerpts in each segment. Default: 6.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", min=1e-9, max=1.0, help="Initial learning rate. Default: 0.001.")
    ] = None,
    augment: Annotated[bool, typer.Option("--augment/--no-augment", help="Augment the excerpts at random.")] = True,
    published: Annotated[
        bool,
        typer.Option("--published", help="Start from the published schedule: 40 000 updates of 32, days on a CPU."),
    ] = False,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(help="bfloat16: layers compute in it; faster on CPUs with avx512_bf16 or amx_bf16, and on GPUs."),
    ] = "float32",
    device: Device = "auto",
    threads: Threads = None,
    json_output: Json = False,
) -> None:
    """Train SVDNet, the singing-voice detector; the best epoch's network is best.pt.

    [bold]Example[/bold]

      earwitness train svd --variant r1 --corpus corpus --out runs/svd-r1
    """
    with extra("train"):
        from earwitness.training.augmentation import AugmentationConfig
        from earwitness.training.corpus import open_corpus
        from earwitness.training.train_svd import SvdTrainingConfig, train_svd

        open_corpus(corpus)
        plain = SvdTrainingConfig.published(corpus, out) if published else SvdTrainingConfig(corpus, out)
        config = replace(
            plain,
            augmentation=plain.augmentation if augment else AugmentationConfig.none(),
            variant=variant,
            seed=seed,
            precision=precision,
            threads=threads,
            device=device,
            **_given(
                epochs=epochs,
                updates_per_epoch=updates,
                batch_size=batch_size,
                excerpts_per_segment=excerpts,
                learning_rate=learning_rate,
            ),
        )
        console.say(f"log: {out / 'train.log'}")
        with console.progress(f"svd-{variant}") as update:
            checkpoint = train_svd(config, progress=lambda done, total, text: update(done, total, text))
    _report(checkpoint, json_output)


@app.command()
def replay(
    corpus: Annotated[
        Path, typer.Option("--corpus", "-c", help="ASVspoof 2017 as distributed, or `earwitness corpus replay`.")
    ],
    out: RunFolder,
    network: Annotated[
        Literal["stc_lcnn", "pindrop", "bulbul", "sparrow", "compact"],
        typer.Option(metavar="NETWORK", help="Of the paper: stc_lcnn, pindrop, bulbul, sparrow or compact."),
    ] = "compact",
    activation: Annotated[
        Literal["mfm", "elu"] | None, typer.Option(help="Nonlinearity. Default: the paper's.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Front end, e.g. log-mel-80-16k@1; its excerpts are the windows. Default: the paper's."),
    ] = None,
    more_data: Annotated[
        bool,
        typer.Option("--more-data", help="Use windows of 1 s over whole utterances, not one from the beginning."),
    ] = False,
    dropout: Annotated[float | None, typer.Option(min=0.0, max=0.9, help="Dropout. Default: 0.5.")] = None,
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Maximum number of epochs. Default: 100.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a lower loss on dev before it stops. Default: 10.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Batch size, in windows. Default: 32.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", min=1e-9, max=1.0, help="Learning rate. Default: 0.0001.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of spectrograms that runs may share. Default: one in --out.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    json_output: Json = False,
) -> None:
    """Train a detector of replayed speech; the network of the lowest loss on dev is best.pt.

    [bold]Examples[/bold]

      earwitness corpus replay replayed && earwitness train replay --corpus replayed --out runs/replay-compact

      earwitness train replay --network bulbul --more-data --corpus ASVspoof2017_V2 --out runs/bulbul
    """
    with extra("train"):
        from earwitness.training.datasets import open_spoofing_corpus
        from earwitness.training.replay.evaluation import duplicates
        from earwitness.training.train_replay import ReplayTrainingConfig, train_replay

        config = replace(
            ReplayTrainingConfig(out, network=network, more_data=more_data, seed=seed, threads=threads, device=device),
            **_given(
                activation=activation,
                features=features,
                dropout=dropout,
                epochs=epochs,
                patience=patience,
                batch_size=batch_size,
                learning_rate=learning_rate,
                cache=cache,
            ),
        )
        opened = open_spoofing_corpus(corpus)
        for warning in duplicates(opened):
            console.say(f"note: {warning}")
        console.say(f"log: {out / 'train.log'}")
        with console.progress(f"replay-{network}") as update:
            checkpoint = train_replay(config, opened, progress=lambda done, total, text: update(done, total, text))
    _report(checkpoint, json_output)


@app.command()
def gan(
    corpus: Annotated[
        Path,
        typer.Option(
            "--corpus",
            "-c",
            help="Folder of `earwitness corpus build`, `corpus replay` or `data import`, or ASVspoof 2017.",
        ),
    ],
    out: RunFolder,
    features: Annotated[
        str | None,
        typer.Option(
            help="For a corpus of recordings, the front end of the detector to be explained, e.g. log-power-512@1; one "
            "of spectrograms has its own."
        ),
    ] = None,
    arch: Annotated[
        Literal["paper", "refined"],
        typer.Option(help="Layout: as published, or that and a head which refines its picture."),
    ] = "paper",
    detector: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint of a trained detector, whose layers the critic then judges too. Take one from another "
            "seed than the detector to be explained."
        ),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint of a generator to start from.")] = None,
    seed: Seed = 0,
    updates: Annotated[int | None, typer.Option(min=1, help="Updates. Default: 10 000.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Batch size, in excerpts. Default: 32.")] = None,
    loss: Annotated[
        Literal["wasserstein", "logistic", "relativistic"] | None,
        typer.Option(
            metavar="LOSS",
            help="wasserstein, logistic or relativistic, each with a gradient penalty. Default: logistic.",
        ),
    ] = None,
    penalty: Annotated[float | None, typer.Option(help="Weight of the gradient penalty. Default: 0.2.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", min=1e-9, max=1.0, help="Learning rate. Default: 0.0004.")
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=16, help="Channels of the first layer of the generator, a multiple of 16. Default: 128."),
    ] = None,
    critic_channels: Annotated[
        int | None, typer.Option(min=1, help="Channels of the critic's first layer. Default: 16.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of spectrograms that runs may share. Default: one in --out.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    json_output: Json = False,
) -> None:
    """Train the generator; `earwitness evaluate checkpoints` then chooses the best of its checkpoints.

    [bold]Examples[/bold]

      earwitness train gan --corpus corpus --out runs/gan

      earwitness train gan --corpus replayed --features log-power-512@1 --critic-channels 8 --out runs/replay-gan
    """
    with extra("train"):
        from earwitness.training.train_gan import GanTrainingConfig, open_training_corpus, train_gan

        config = replace(
            GanTrainingConfig(
                corpus, out, features, arch=arch, init=init, detector=detector, seed=seed, threads=threads,
                device=device, cache=cache,
            ),
            **_given(
                updates=updates, batch_size=batch_size, loss=loss, penalty=penalty, learning_rate=learning_rate,
                generator_channels=channels, critic_channels=critic_channels,
            ),
        )  # fmt: skip
        with console.progress("generator") as update:
            opened = open_training_corpus(config, lambda done, total, text: update(done, total, text))
            console.say(f"log: {out / 'train.log'}")
            checkpoint = train_gan(config, lambda done, total, text: update(done, total, text), opened)
    _report(checkpoint, json_output)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others keep the defaults of the configuration."""
    return {name: value for name, value in options.items() if value is not None}


def _report(checkpoint: Path, json_output: bool) -> None:
    if json_output:
        console.print_json({"checkpoint": checkpoint})
    else:
        console.show(f"checkpoint: {checkpoint}")
