"""`earwitness data`: recordings with labels, checked and imported for training."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.extra import extra
from earwitness.cli.options import Json

if TYPE_CHECKING:
    from earwitness.training.corpus import Corpus
    from earwitness.training.datasets import DataConfig, DataKind, DataReport, Problem, SplitSummary, UtteranceSummary

PRINTED = 50
"""Findings of one kind that are printed at most."""

app = typer.Typer(name="data", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of the recordings and their labels.")]
KindOption = Annotated[
    Literal["jamendo", "jamendolyrics", "folder", "asvspoof2017"] | None,
    typer.Option("--kind", metavar="LAYOUT", help="jamendo, jamendolyrics, folder or asvspoof2017. Default: detected."),
]
Features = Annotated[str, typer.Option("--features", help="Feature profile.")]
Vocal = Annotated[list[str] | None, typer.Option("--vocal", help="A label word that means singing; repeatable.")]
Other = Annotated[list[str] | None, typer.Option("--other", help="A label word that means no singing; repeatable.")]
Tolerance = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds by which labels or headers may differ from the audio's length."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the splits if neither file lists nor folders define them.")]
ValidShare = Annotated[float, typer.Option(help="Share of recordings for validation, if a seed draws the splits.")]
TestShare = Annotated[float, typer.Option(help="Share of recordings for the test, if a seed draws the splits.")]
Workers = Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Processes. Default: one per processor.")]


@app.callback()
def data() -> None:
    """Check recordings with labels, and import them as a corpus to train on. Needs the extra `train`.

    Four layouts are supported. [bold]jamendo[/bold]: audio/, labels/NAME.lab and filelists/train, valid and test, like
    the Jamendo singing-voice set as distributed. [bold]jamendolyrics[/bold]: audio/ or mp3/, and word timings in
    words/NAME.csv or annotations/words/NAME.csv. [bold]folder[/bold]: audio files with label files of the same names
    beside them (or audio below audio/ and labels below labels/), each line `start end word` in seconds, with or without
    a header, quoted or not; Audacity's exports are read as they are. [bold]asvspoof2017[/bold]: WAV or FLAC and
    protocols such as ASVspoof2017_V2_train.trn.txt or ASVspoof2017_eval_v2_key.trl.txt, of either version and with two
    to seven columns: one label, genuine or spoof, for each file. The last layout is only checked: training of replay
    detectors reads it directly, so there is nothing to import.

    File lists (filelists/train or train.txt ...) define the splits; otherwise folders train/, valid/ and test/ do (val/
    and dev/ count as valid/, eval/ as test/), and files outside of them are left out; otherwise a seed draws them.
    """


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of the recordings and their labels, or of a built corpus.")],
    kind: KindOption = None,
    features: Features = "log-mel-80@1",
    vocal: Vocal = None,
    other: Other = None,
    tolerance: Tolerance = 1.0,
    seed: Seed = 0,
    valid_share: ValidShare = 0.15,
    test_share: TestShare = 0.15,
    workers: Workers = None,
    json_output: Json = False,
) -> None:
    """Report everything that is wrong with recordings before you spend hours on them; status 1 if there are errors.

    Every file is decoded once, to its true end. Errors keep a file from being imported: missing or broken audio or
    labels, audio that ends more than --tolerance before the length in its header (or by an unknown amount), silence,
    NaN, labels of another length; and splits that share a file or hold only one class. Warnings are likely mistakes;
    notes are merely worth knowing. For asvspoof2017, recordings that occur in several splits are counted and reported
    as warnings.

    [bold]Examples[/bold]

      earwitness data check jamendo

      earwitness data check recordings --vocal singer --other band --json

      earwitness data check ASVspoof2017_V2
    """
    with extra("train"):
        from earwitness.features import get_profile
        from earwitness.training.corpus import DatasetError
        from earwitness.training.datasets import check_data, errors_of
        from earwitness.training.datasets.asvspoof import is_spoofing_corpus

        config = _config(kind, vocal, other, tolerance, seed, valid_share, test_share)
        with console.progress("checking") as update:
            report = check_data(
                path,
                get_profile(features),
                config,
                workers or _processors(),
                lambda stage, done, total: update(done, total, stage),
                _segment_frames(features),
            )
    if json_output:
        console.print_json(report.to_dict())
    else:
        _print_report(report)
    if not report.ok:
        errors = errors_of(report.problems)
        way_out = "" if is_spoofing_corpus(path, kind) else ", or import the rest (--leave-out-broken)"
        raise DatasetError(f"{path}: {_counted(errors)}; correct them{way_out}")


@app.command("import")
def import_(
    path: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the corpus.")],
    kind: KindOption = None,
    features: Features = "log-mel-80@1",
    vocal: Vocal = None,
    other: Other = None,
    tolerance: Tolerance = 1.0,
    seed: Seed = 0,
    valid_share: ValidShare = 0.15,
    test_share: TestShare = 0.15,
    source: Annotated[str, typer.Option(help="What the recordings are, and their licence: for the model card.")] = "",
    leave_out_broken: Annotated[
        bool, typer.Option("--leave-out-broken", help="Import what is valid, and list what is left out.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace another corpus in that folder.")] = False,
    workers: Workers = None,
    json_output: Json = False,
) -> None:
    """Import recordings as a corpus for `earwitness train` and `evaluate`, which treat it like the synthetic one.

    Broken files are refused, each by name. An interrupted or refused import resumes; a complete one is left as it is.

    [bold]Examples[/bold]

      earwitness data import jamendo --out corpus-jamendo

      earwitness train svd --corpus corpus-jamendo --out runs/jamendo --published
    """
    with extra("train"):
        from earwitness.features import get_profile
        from earwitness.training.corpus import DatasetError
        from earwitness.training.datasets import BrokenData, errors_of, import_data, sorted_problems

        config = replace(
            _config(kind, vocal, other, tolerance, seed, valid_share, test_share), leave_out_broken=leave_out_broken
        )
        try:
            with console.progress("importing") as update:
                imported = import_data(
                    path,
                    out,
                    get_profile(features),
                    config,
                    workers or _processors(),
                    lambda stage, done, total: update(done, total, stage),
                    source=source,
                    force=force,
                )
        except BrokenData as err:
            for problem in sorted_problems(err.problems):
                console.say(f"{problem.severity}: {problem}")
            # With --leave-out-broken only what concerns the data as a whole stands in the way.
            errors = [each for each in errors_of(err.problems) if not (leave_out_broken and each.file)]
            raise DatasetError(f"{path}: {_counted(errors)}; nothing was imported") from err
    corpus, report = imported.corpus, imported.report
    problems = sorted_problems(report.problems) if report is not None else []
    if json_output:
        console.print_json({"folder": corpus.folder, **corpus.manifest, "problems": list(map(asdict, problems))})
        return
    for problem in problems:
        console.say(f"{'left out' if problem.severity == 'error' else problem.severity}: {problem}")
    _print_imported(corpus)


def _print_imported(corpus: "Corpus") -> None:
    console.print_table(
        f"{corpus.folder}, fingerprint {corpus.manifest['fingerprint'][:12]}",
        ["split", "recordings#", "hours#", "vocal frames#"],
        [
            [split, str(each["clips"]), f"{each['hours']:.2f}", f"{each['vocal_fraction']:.0%}"]
            for split, each in corpus.manifest["splits"].items()
        ],
    )


def _config(
    kind: "DataKind | None",
    vocal: list[str] | None,
    other: list[str] | None,
    tolerance_s: float,
    seed: int,
    valid_share: float,
    test_share: float,
) -> "DataConfig":
    from earwitness.training.datasets import DataConfig, SeededSplit

    return DataConfig(
        kind=kind,
        split=SeededSplit(seed, valid_share, test_share),
        vocal=tuple(vocal or ()),
        other=tuple(other or ()),
        tolerance_s=tolerance_s,
    )


def _counted(errors: "Sequence[Problem]") -> str:
    from earwitness.training.datasets import count

    files = {each.file for each in errors if each.file}
    return f"{count(len(errors), 'error')} in {count(len(files), 'file')}" if files else count(len(errors), "error")


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _segment_frames(features: str) -> int:
    """Frames that `earwitness train svd` draws at once by default."""
    from earwitness.features import get_profile
    from earwitness.training.augmentation import AugmentationConfig
    from earwitness.training.segments import SegmentShape
    from earwitness.training.train_svd import SvdTrainingConfig

    _, frames = get_profile(features).excerpt_shape
    return AugmentationConfig().source_frames(SegmentShape(frames, SvdTrainingConfig.excerpts_per_segment).frames)


def _print_report(report: "DataReport[SplitSummary] | DataReport[UtteranceSummary]") -> None:
    """A table of the splits, and one of the findings, of each kind the first PRINTED."""
    from earwitness.training.datasets import UtteranceSummary, sorted_problems

    rates = ", ".join(f"{rate} Hz ({number})" for rate, number in report.sample_rates.items())
    columns, rows = ["vocal#"], []
    for split, each in report.splits.items():
        if isinstance(each, UtteranceSummary):
            columns = ["genuine#", "spoof#", "speakers#"]
            cells = [str(each.genuine), str(each.spoof), str(each.speakers)]
        else:
            cells = [f"{each.vocal_fraction:.0%}" if each.files else ""]
        rows.append([split, str(each.files), f"{each.hours:.2f}", *cells])
    title = f"{report.path}: {report.kind}{f'; {rates}' if rates else ''}"
    console.print_table(title, ["split", "sound files#", "hours#", *columns], rows)
    if not report.problems:
        console.show("nothing wrong")
        return
    printed, findings = Counter[tuple[str, str]](), []
    for problem in sorted_problems(report.problems):
        printed[problem.severity, problem.code] += 1
        if printed[problem.severity, problem.code] <= PRINTED:
            findings.append([problem.severity, problem.file, problem.message])
    console.print_table(None, ["", "file", "what"], findings)
    for (severity, code), number in printed.items():
        if number > PRINTED:
            console.show(f"and {number - PRINTED} more: {severity}, {code}; --json has all")
