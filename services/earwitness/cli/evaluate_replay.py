"""`earwitness evaluate replay` and `evaluate shortcuts`: how well a replay detector works, and what it relies on."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.eer import FIGURES, figure_cells
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

if TYPE_CHECKING:
    from earwitness.training.replay.evaluation import ReplayReport
    from earwitness.training.replay.shortcuts import ShortcutReport


class Split(StrEnum):
    """Typer wants an enumeration in place of a Literal for repeatable options."""

    TRAIN = "train"
    DEV = "dev"
    EVAL = "eval"


Checkpoint = Annotated[Path, typer.Argument(help="best.pt of `earwitness train replay`.")]
Corpus = Annotated[
    Path, typer.Option("--corpus", "-c", help="ASVspoof 2017 as distributed, or `earwitness corpus replay`.")
]
Resamples = Annotated[int, typer.Option("--bootstrap", min=0, help="Resamples of the intervals; 0 for none.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the resamples.")]
Workers = Annotated[int, typer.Option("--workers", "-j", min=0, help="Processes that compute spectrograms.")]
PRINTED_GROUPS = 8
"""Groups of a fact that are printed at most, worst first."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(replay)
    app.command()(shortcuts)


def replay(
    checkpoint: Checkpoint,
    corpus: Corpus,
    split: Annotated[list[Split] | None, typer.Option(help="Split to score; repeatable. Default: all three.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write: score files, groups.csv, det.png, report.json.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of spectrograms to share, e.g. the run's. Default: none are kept.")
    ] = None,
    bootstrap: Resamples = 1000,
    seed: Seed = 0,
    workers: Workers = 1,
    json_output: Json = False,
) -> None:
    """Equal error rates of a replay detector: by split, room, loudspeaker, recorder and speaker. Needs the extra
    `train`.

    An utterance's score is the log-odds of genuine: for its beginning, or the mean over windows if the detector was
    trained on more data. --out writes a score file for each split in the challenge's format (FILE SCORE on each line),
    which `earwitness eer` and other tools read.

    Intervals (95 %) resample whole speakers. For a room, loudspeaker or recorder, its replays are compared with all
    genuine trials of the split; a speaker has genuine trials of its own. The rates of the training split show how much
    was memorised; those of eval, with its new rooms and devices, how good the detector is.

    [bold]Examples[/bold]

      earwitness evaluate replay runs/replay-compact/best.pt --corpus replayed --out figures

      earwitness evaluate replay runs/bulbul/best.pt --corpus ASVspoof2017_V2 --split eval --json
    """
    with extra("train"):
        from earwitness.detection.eer import UndefinedEer
        from earwitness.training.datasets import open_spoofing_corpus
        from earwitness.training.replay.detector import ReplayDetector
        from earwitness.training.replay.evaluation import evaluate_replay

        detector = ReplayDetector.load(checkpoint)
        opened = open_spoofing_corpus(corpus)
        with console.progress("evaluating") as update:
            report = evaluate_replay(
                detector,
                opened,
                [each.value for each in dict.fromkeys(split or Split)],
                cache=cache,
                resamples=bootstrap,
                seed=seed,
                workers=workers,
                progress=lambda done, total, text: update(done, total, text),
            )
    if out is not None:
        report.write(out)
    if all(each.figures.eer is None for each in report.splits.values()):
        written = f"; the scores are in {out}" if out else ""
        said = "; ".join(f"{name}: {each.doubt}" for name, each in report.splits.items())
        raise UndefinedEer(f"no split has an EER: {said}{written}")
    if json_output:
        console.print_json(report.to_dict())
    else:
        _print_report(report, out)
    for warning in report.warnings:
        console.say(f"note: {warning}")


def _print_report(report: "ReplayReport", out: Path | None) -> None:
    rows = [[name, *figure_cells(each.figures)] for name, each in report.splits.items()]
    network = report.detector
    console.print_table(f"{network.path}, {network.parameters:,} parameters", ["split", *FIGURES], rows)
    last = list(report.splits)[-1]
    for fact, groups in report.splits[last].groups.items():
        worst = sorted(groups.items(), key=lambda each: -each[1].eer.convex_hull if each[1].eer else 1.0)
        title = f"{last}, by {fact}"
        if len(worst) > PRINTED_GROUPS:
            title += f", the worst {PRINTED_GROUPS} of {len(worst)}; --out writes all"
        console.print_table(
            title, [fact, *FIGURES], [[name, *figure_cells(each)] for name, each in worst[:PRINTED_GROUPS]]
        )
    for name, each in report.splits.items():
        if each.doubt:
            console.say(f"{name}: {each.doubt}")
    if out is not None:
        console.show(f"scores, groups and DET plot: {out}")


def shortcuts(
    checkpoint: Checkpoint,
    corpus: Corpus,
    split: Annotated[Split, typer.Option(help="Split to score.")] = Split.EVAL,
    bootstrap: Resamples = 1000,
    seed: Seed = 0,
    workers: Workers = 1,
    json_output: Json = False,
) -> None:
    """What a replay detector leans on: its EER when a thing is taken away that replay need not touch. Needs the extra
    `train`.

    Every utterance is scored as it is; with its leading silence cut; without everything below 300 Hz; without
    everything above 6 kHz; at 8 kHz and back; 6 dB louder and 6 dB softer. Later work found that detectors of ASVspoof
    2017 live on such traces of the recording. The difference is to the unaltered figure, its interval over the same
    resamples: if it excludes zero, the detector relies on what was removed, or is misled by what it never saw in
    training.

    [bold]Example[/bold]

      earwitness evaluate shortcuts runs/replay-compact/best.pt --corpus replayed
    """
    with extra("train"):
        from earwitness.training.datasets import open_spoofing_corpus
        from earwitness.training.replay.detector import ReplayDetector
        from earwitness.training.replay.evaluation import duplicates
        from earwitness.training.replay.shortcuts import evaluate_shortcuts

        detector = ReplayDetector.load(checkpoint)
        opened = open_spoofing_corpus(corpus)
        with console.progress("evaluating") as update:
            report = evaluate_shortcuts(
                detector,
                opened,
                split.value,
                resamples=bootstrap,
                seed=seed,
                workers=workers,
                progress=lambda done, total, text: update(done, total, text),
            )
    for warning in duplicates(opened):
        console.say(f"note: {warning}")
    if json_output:
        console.print_json(report.to_dict())
    else:
        _print_shortcuts(report, f"{checkpoint}: {split}, {report.genuine} genuine and {report.spoof} replayed")


def _print_shortcuts(report: "ShortcutReport", title: str) -> None:
    from earwitness.training.replay.wording import points, rate

    rows = [["untouched", rate(report.untouched), ""]]
    rows += [[each.words, rate(each.eer), points(each.difference)] for each in report.shortcuts]
    console.print_table(title, ["utterances", "eer_convex_hull#", "difference#"], rows)
    for each in report.shortcuts:
        if each.doubt:
            console.say(f"{each.words}: {each.doubt}")
