"""`earwitness evaluate`: figures of trained networks, and of explanations."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console, evaluate_criteria, evaluate_generator, evaluate_replay, evaluate_ways, evidence
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

if TYPE_CHECKING:
    from earwitness.detection.intervals import Interval
    from earwitness.training.evaluate import ClassifierReport

app = typer.Typer(name="evaluate", no_args_is_help=True)

Classifier = Annotated[Path, typer.Option("--classifier", help="Checkpoint of the detector.")]
Corpus = Annotated[Path, typer.Option("--corpus", "-c", help="Folder of `earwitness corpus build` or `data import`.")]
AnyCorpus = Annotated[
    Path,
    typer.Option("--corpus", "-c", help="The corpus that the generator was trained on, see `train gan`."),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder of recordings' spectrograms that commands may share. Default: in the run's."),
]
Excerpts = Annotated[
    int,
    typer.Option(min=1, help="Excerpts on each side of a distance; over twice the units of the last hidden layer."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of excerpts and samples.")]
CLASSIFIER_FIGURES = ("frames", "auroc", "auroc_raw", "error", "precision", "recall", "specificity", "f1")
PRINTED_FILES = 25
"""Files of a part that are printed at most, worst first."""


@app.callback()
def evaluate() -> None:
    """Evaluate networks on held-out data (needs the extra `train`), and explanations by independent judges."""


@app.command()
def classifier(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `earwitness train svd`.")],
    corpus: Corpus,
    songs: Annotated[
        Path | None,
        typer.Option(help="Real recordings with labels, apart from the corpus; any layout of `earwitness data`."),
    ] = None,
    table: Annotated[Path | None, typer.Option(help="Write the figures of every file to this CSV.")] = None,
    json_output: Json = False,
) -> None:
    """Figures of a singing-voice detector, frame by frame, on the test split and on real songs; and of every file.

    Predictions are median-filtered over 0.8 s; the threshold is the one that is most accurate on validation. Intervals
    (95 %) come from resampling whole files.

    [bold]Examples[/bold]

      earwitness evaluate classifier runs/svd-r1/best.pt --corpus corpus --songs songs

      earwitness evaluate classifier runs/jamendo/best.pt --corpus corpus-jamendo --table files.csv
    """
    with extra("train"):
        from earwitness.training.evaluate import evaluate_classifier

        with console.progress("evaluating") as update:
            report = evaluate_classifier(checkpoint, corpus, songs, lambda *event: update(*event))
    if table is not None:
        report.write_files(table)
    if json_output:
        console.print_json(report.to_dict())
    else:
        _print_figures(report)
        _print_files(report, table)
    _warn(report.warnings)


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        console.say(f"note: {warning}")


def _print_figures(report: "ClassifierReport") -> None:
    """The parts, with intervals where there are files to resample."""
    parts = {"validation": report.validation, "test": report.test}
    parts |= {f"test, {engine}": figures for engine, figures in report.engines.items()}
    parts |= {f"test, {kind}": figures for kind, figures in report.kinds.items()}
    if report.all_songs is not None:
        parts["songs"] = report.all_songs
    rows = []
    for part, figures in parts.items():
        cells = [part]
        for name in CLASSIFIER_FIGURES:
            value = _figure(getattr(figures, name))
            interval: Interval | None = getattr(report.intervals.get(part), name, None)
            if interval is not None and not math.isnan(interval.low):
                value += f" [{interval.low:.3f}, {interval.high:.3f}]"
            cells.append(value)
        rows.append(cells)
    console.print_table(f"threshold {report.threshold:.3f}", ["", *(f"{name}#" for name in CLASSIFIER_FIGURES)], rows)


def _print_files(report: "ClassifierReport", table: Path | None) -> None:
    """Songs and test files, the worst of each."""
    for part in ("songs", "test"):
        files = sorted(
            (each for each in report.files if each.part == part), key=lambda each: each.figures.error, reverse=True
        )
        if not files:
            continue
        rows = [
            [each.name, *(_figure(getattr(each.figures, name)) for name in CLASSIFIER_FIGURES)]
            for each in files[:PRINTED_FILES]
        ]
        title = f"{part}, worst first"
        if len(files) > PRINTED_FILES:
            title += f", {PRINTED_FILES} of {len(files)}; {table or '--table FILE'} has all"
        console.print_table(title, ["file", *(f"{name}#" for name in CLASSIFIER_FIGURES)], rows)


@app.command()
def checkpoints(
    run: Annotated[Path, typer.Argument(help="Folder of `earwitness train gan`.")],
    classifier: Classifier,
    corpus: AnyCorpus,
    excerpts: Excerpts = 2000,
    seed: Seed = 0,
    cache: Cache = None,
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
                cache=cache,
                progress=lambda *event: update(*event),
            )
    _print_report("chosen", {"checkpoint": str(best)}, json_output)


evaluate_replay.register(app)
evidence.register(app)
evaluate_criteria.register(app)
evaluate_ways.register(app)


def _print_report(title: str, report: Mapping[str, Any], json_output: bool) -> None:
    if json_output:
        console.print_json(report)
    else:
        rows = [[name.replace("_", " "), _figure(value)] for name, value in report.items() if name != "warnings"]
        console.print_table(title, ["", "value#"], rows)


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return "–" if value is None else str(value)


evaluate_generator.register(app, _print_report, _warn)
