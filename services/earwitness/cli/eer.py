"""`earwitness eer`: anyone's score files against their keys."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.options import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from earwitness.detection.eer import Eer
    from earwitness.detection.intervals import Interval
    from earwitness.detection.keys import Fact, Trial
    from earwitness.detection.report import Figures, System

FIGURES = ("genuine#", "spoof#", "eer_convex_hull#", "95 %#", "eer_nearest_threshold#", "95 %#")


class By(StrEnum):
    """What a key may know of a trial; typer wants an enumeration in place of `keys.Fact` for repeatable options."""

    ENVIRONMENT = "environment"
    PLAYBACK = "playback"
    RECORDING = "recording"
    SPEAKER = "speaker"
    PHRASE = "phrase"
    ATTACK = "attack"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(eer)


def eer(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCORES... KEYS", help="Score files, then the key; or one file that holds both.", exists=True
        ),
    ],
    by: Annotated[
        list[By] | None,
        typer.Option(help="Figures of each of these apart; repeatable."),
    ] = None,
    lower_is_genuine: Annotated[
        bool, typer.Option("--lower-is-genuine", help="Low scores mean genuine. Default: high ones do.")
    ] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a DET plot of all systems to this PNG.")] = None,
    meta: Annotated[
        list[Path] | None, typer.Option(help="More facts about the trials, in the form of a key; repeatable.")
    ] = None,
    score_columns: Annotated[
        str | None, typer.Option(help="Columns of the score files, e.g. file,-,score; - skips one. Default: found out.")
    ] = None,
    key_columns: Annotated[
        str | None, typer.Option(help="Columns of the key, e.g. file,key,speaker,-,playback. Default: found out.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Equal error rates of anyone's score files: on the ROC's convex hull, and at the nearest threshold.

    Score files have two or more columns, a file's name and its score among them; tabs, commas, semicolons or blanks
    between them; a header or none. Keys say genuine (or bonafide) and spoof: protocols of ASVspoof 2017 (two to seven
    columns), the keys of ASVspoof 2019 and 2021, or any columns with a header. Endings like .wav do not matter.
    Whatever does not match, is there twice or not finite is told all at once, and nothing is computed.

    Intervals (95 %) resample whole speakers where the key knows them, else trials. A group of --by environment,
    playback, recording or attack sets its spoofs against all genuine trials; one of speaker or phrase has its own.

    [bold]Examples[/bold]

      earwitness eer scores.txt ASVspoof2017_eval_v2_key.trl.txt

      earwitness eer lcnn.txt compact.txt key.txt --plot det.png --by playback --by environment

      earwitness eer scores_and_keys.csv --lower-is-genuine --json
    """
    from earwitness.detection.det import Curve, draw_det
    from earwitness.detection.errors import BrokenScores
    from earwitness.detection.report import evaluate_systems

    facts: list[Fact] = [each.value for each in dict.fromkeys(by or ())]
    paths = files if len(files) == 1 else list(dict.fromkeys(files[:-1]))
    try:
        trials, scores = _read(paths, files[-1], meta or (), _names(score_columns), _names(key_columns))
    except BrokenScores as err:
        for problem in err.problems:
            console.say(problem)
        raise BrokenScores(["scores and keys do not go together (see above); nothing was computed"]) from err
    with console.progress("evaluating") as update:
        systems = evaluate_systems(trials, scores, facts, bootstrap, seed, update, lower_is_genuine=lower_is_genuine)
    if plot is not None:
        import numpy as np

        genuine = np.array([bool(trial.genuine) for trial in trials])
        curves = {name: Curve(-values if lower_is_genuine else values, genuine) for name, values in scores.items()}
        draw_det(plot, curves)
    if json_output:
        console.print_json(_document(files[-1], paths, systems, lower_is_genuine, bootstrap, seed))
    else:
        _print(systems, facts, lower_is_genuine, bootstrap)
    for system, values in zip(systems, scores.values(), strict=True):
        _doubt(system.name, values, system.figures.eer, lower_is_genuine)


def _read(
    paths: Sequence[Path], key: Path, meta: Sequence[Path], score_columns: Sequence[str], key_columns: Sequence[str]
) -> "tuple[list[Trial], dict[str, NDArray[np.float64]]]":
    """Trials with their keys, and the scores of every system in their order.

    Raises: BrokenScores telling everything that is wrong with keys and scores.
    """
    from earwitness.detection.errors import BrokenScores, listed
    from earwitness.detection.keys import add_facts, read_trials
    from earwitness.detection.scores import check_trials, match_scores, read_scores

    both = read_scores(key, columns=score_columns or key_columns) if list(paths) == [key] else None
    trials, unread = (
        read_trials(key, key_columns or score_columns, {both.column}) if both else read_trials(key, key_columns)
    )
    problems = list[str]()
    for path in meta:
        more, unread_here = read_trials(path)
        trials, differ = add_facts(trials, more)
        for what, names in (("lines that cannot be read", unread_here), ("contradictions", differ)):
            problems += [f"{path}: {what} ({len(names)}): {listed(names)}"] if names else []
    try:
        check_trials(key, trials, unread)
    except BrokenScores as err:
        problems += err.problems
    known, stems = {trial.id for trial in trials}, [path.stem for path in paths]
    scores = {}
    for path in paths:
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        try:
            scores[name] = match_scores(trials, both or read_scores(path, known, score_columns))
        except BrokenScores as err:
            problems += err.problems
    if problems:
        raise BrokenScores(problems)
    return trials, scores


def _names(columns: str | None) -> list[str]:
    return [name.strip() for name in columns.split(",")] if columns else []


def _document(
    key: Path, paths: Sequence[Path], systems: "Sequence[System]", lower_is_genuine: bool, bootstrap: int, seed: int
) -> Mapping[str, Any]:
    return {
        "keys": key,
        "genuine_scores": "lower" if lower_is_genuine else "higher",
        "resamples": bootstrap,
        "seed": seed,
        "systems": [{"scores": path, **system.to_dict()} for path, system in zip(paths, systems, strict=True)],
    }


def _print(systems: "Sequence[System]", facts: "Sequence[Fact]", lower_is_genuine: bool, bootstrap: int) -> None:
    """A table of all systems, then one for each fact, the worst group first."""
    rows = []
    for system in systems:
        threshold = system.figures.eer.threshold if system.figures.eer else math.nan
        rows.append([system.name, *figure_cells(system.figures), f"{threshold:.6g}"])
    console.print_table(None, ["scores", *FIGURES, "nearest threshold#"], rows)
    for fact in facts:
        groups = [(name, system.name, figures) for system in systems for name, figures in system.groups[fact].items()]
        groups.sort(key=lambda each: -each[2].eer.convex_hull if each[2].eer else math.inf)
        cells = [[name, *([system] if len(systems) > 1 else []), *figure_cells(each)] for name, system, each in groups]
        console.print_table(f"by {fact}", [fact, *(["scores"] if len(systems) > 1 else []), *FIGURES], cells)
        for name, _, each in groups:
            if each.undefined:
                console.say(f"{fact} {name}: {each.undefined}")
    console.show(f"{'lower' if lower_is_genuine else 'higher'} scores mean genuine")
    first = systems[0].figures
    if bootstrap:
        console.show(f"intervals: {bootstrap} resamples of {first.units} {first.unit}")


def figure_cells(figures: "Figures") -> list[str]:
    """The cells of a row under FIGURES."""
    eer, intervals = figures.eer, figures.intervals
    counts = [str(figures.genuine), str(figures.spoof)]
    if eer is None:
        return [*counts, "undefined", "", "undefined", ""]
    hull, nearest = (intervals.convex_hull, intervals.nearest_threshold) if intervals else (None, None)
    return [*counts, f"{eer.convex_hull:.2%}", _ends(hull), f"{eer.nearest_threshold:.2%}", _ends(nearest)]


def _ends(interval: "Interval | None") -> str:
    if interval is None or math.isnan(interval.low):
        return ""
    return f"{interval.low:.2%} to {interval.high:.2%}"


def _doubt(name: str, scores: "NDArray[np.float64]", eer: "Eer | None", lower_is_genuine: bool) -> None:
    """Says so where scores are all the same, or the wrong way round."""
    from earwitness.detection.report import ties_only

    if ties_only(scores):
        console.say(f"{name}: {ties_only(scores)}")
    elif eer is not None and eer.nearest_threshold > 0.5:
        way = "without --lower-is-genuine" if lower_is_genuine else "with --lower-is-genuine"
        console.say(f"{name}: worse than chance; are its scores the other way round? Try it {way}")
