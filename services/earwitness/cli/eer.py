"""`earwitness eer`: anyone's score files against their keys."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.options import Json
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.detection.eer import Eer
    from earwitness.detection.intervals import Interval
    from earwitness.detection.keys import Key
    from earwitness.detection.report import Figures, System
    from earwitness.detection.scores import Matched
    from earwitness.detection.subsets import Subset
    from earwitness.detection.tables import Fact

FIGURES = ("genuine#", "spoof#", "eer_convex_hull#", "95 %#", "eer_nearest_threshold#", "95 %#")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(eer)


def eer(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCORES... KEYS", help="Score files followed by the key; or one file with both.", exists=True
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="FACT", help="Break figures down by this fact; repeatable. Facts: see below."),
    ] = None,
    subset: Annotated[
        str | None,
        typer.Option(help="Subset of the key: all, progress, eval, hidden, ... Default: eval where a key has subsets."),
    ] = None,
    lower_is_genuine: Annotated[
        bool, typer.Option("--lower-is-genuine", help="Low scores mean genuine. Default: high scores do.")
    ] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a DET plot of all systems to this PNG.")] = None,
    meta: Annotated[
        list[Path] | None, typer.Option(help="More facts about the trials, in the format of a key; repeatable.")
    ] = None,
    score_columns: Annotated[
        str | None, typer.Option(help="Columns of the score files, e.g. file,-,score; - skips one. Default: detected.")
    ] = None,
    key_columns: Annotated[
        str | None, typer.Option(help="Columns of the key, e.g. file,key,-,playback. Default: detected.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Equal error rates of anyone's score files: on the ROC's convex hull, and at the nearest threshold.

    Score files have two or more columns, with a file's name and its score among them, separated by tabs, commas,
    semicolons or blanks, with or without a header. Keys say genuine (or bonafide) and spoof: the protocols and keys of
    ASVspoof 2017, 2019, 2021 and 5 (Track 1), which are recognised by their columns, or any columns with a header.
    Endings such as .wav do not matter. Mismatches, duplicates and non-finite scores are all reported together, and
    nothing is computed; scores of trials that are not in the key are left out, with a message.

    If a key has subsets, like those of ASVspoof 2021, only eval counts, for which figures are published; --subset
    selects another one, or all. In 2021 PA, hidden1 is the simulated part of hidden and hidden2 the trimmed one.

    Facts for --by: 2017 has speaker, phrase, environment, playback, recording; 2019 speaker, environment (PA), attack;
    2021 LA speaker, codec, transmission, attack, trim; DF speaker, codec, source, attack, vocoder, task, team, gender,
    language, trim; PA speaker, room, microphone, distance (to the ASV system: D of the talker, d of the replay device),
    attack-room, attack-microphone, attack-device, attack-distance (of attacker and talker), trim; 5 speaker, gender,
    codec, codec-quality, attack-tag, attack. A fact about how a spoof was made (attack, playback, attack-room, ...)
    compares the spoofs of a group with all genuine trials; for the others, each group has genuine trials of its own.

    Intervals (95 %) resample whole speakers if the key names them, otherwise trials. Equal scores are accepted or
    rejected together; if stepping through them, as other scripts do, would give another figure, both are reported.

    [bold]Examples[/bold]

      earwitness eer scores.txt ASVspoof2017_eval_v2_key.trl.txt

      earwitness eer scores.txt keys/LA/CM/trial_metadata.txt --by attack --by codec

      earwitness eer lcnn.txt compact.txt key.txt --plot det.png --by playback --by environment

      earwitness eer scores_and_keys.csv --lower-is-genuine --json
    """
    from earwitness.detection.det import Curve, draw_det
    from earwitness.detection.errors import BrokenScores
    from earwitness.detection.report import evaluate_systems

    facts = list(dict.fromkeys(map(_fact, by or ())))
    paths = files if len(files) == 1 else list(dict.fromkeys(files[:-1]))
    try:
        read = _read(paths, files[-1], meta or (), _names(score_columns), _names(key_columns), subset)
    except BrokenScores as err:
        for problem in err.problems:
            console.say(problem)
        raise BrokenScores(["scores and keys do not match (see above); nothing was computed"]) from err
    trials, scores = read.subset.trials, {name: each.values for name, each in read.scores.items()}
    with console.progress("evaluating") as update:
        systems = evaluate_systems(trials, scores, facts, bootstrap, seed, update, lower_is_genuine=lower_is_genuine)
    if plot is not None:
        import numpy as np

        genuine = np.array([bool(trial.genuine) for trial in trials])
        curves = {name: Curve(-values if lower_is_genuine else values, genuine) for name, values in scores.items()}
        draw_det(plot, curves)
    if json_output:
        console.print_json(_document(files[-1], paths, read, systems, lower_is_genuine, bootstrap, seed))
    else:
        console.show(f"{files[-1]} is read as {read.key}")
        console.show(f"{read.subset}")
        _print(systems, facts, lower_is_genuine, bootstrap)
    for system, matched in zip(systems, read.scores.values(), strict=True):
        _doubt(system.name, matched, system.figures.eer, lower_is_genuine)


@dataclass(frozen=True)
class _Read:
    """A key, its trials that count, and the scores of every system in the same order."""

    key: "Key"
    subset: "Subset"
    scores: "Mapping[str, Matched]"


def _read(
    paths: Sequence[Path],
    key_path: Path,
    meta: Sequence[Path],
    score_columns: Sequence[str],
    key_columns: Sequence[str],
    wanted: str | None,
) -> _Read:
    """Raises: BrokenScores with everything that is wrong with keys and scores; InvalidArgument."""
    from earwitness.detection.errors import BrokenScores, listed
    from earwitness.detection.keys import add_facts, read_key, read_trials, trial_id
    from earwitness.detection.scores import check_trials, matched, read_scores
    from earwitness.detection.subsets import chosen, coverage

    both = read_scores(key_path, columns=score_columns or key_columns) if list(paths) == [key_path] else None
    key = read_key(key_path, key_columns or score_columns, {both.column}) if both else read_key(key_path, key_columns)
    problems = list[str]()
    for path in meta:
        more, unread_here = read_trials(path)
        trials, differ = add_facts(key.trials, more)
        key = replace(key, trials=trials)
        for what, names in (("lines that cannot be read", unread_here), ("contradictions", differ)):
            problems += [f"{path}: {what} ({len(names)}): {listed(names)}"] if names else []
    try:
        check_trials(key_path, key.trials, key.problems)
    except BrokenScores as err:
        problems += err.problems
    subset = chosen(key.trials, wanted)
    known, stems = {trial.id for trial in key.trials}, [path.stem for path in paths]
    scores = {}
    for path in paths:
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        file = both or read_scores(path, known, score_columns)
        try:
            scores[name] = matched(subset.trials, file, known)
        except BrokenScores as err:
            problems += err.problems
            scored = set(map(trial_id, file.files))
            if subset.counts and any(trial.id not in scored for trial in subset.trials):
                problems.append(f"{path}: {coverage(subset, key.trials, scored)}")
    if problems:
        raise BrokenScores(problems)
    return _Read(key, subset, scores)


def _fact(name: str) -> "Fact":
    from earwitness.detection.tables import FACTS

    found = next((fact for fact in FACTS if fact == name.lower().replace("-", "_")), None)
    if found is None:
        raise InvalidArgument("by", f"got {name!r}; a key may hold {', '.join(FACTS).replace('_', '-')}")
    return found


def _names(columns: str | None) -> list[str]:
    return [name.strip() for name in columns.split(",")] if columns else []


def _document(
    key: Path,
    paths: Sequence[Path],
    read: _Read,
    systems: "Sequence[System]",
    lower_is_genuine: bool,
    bootstrap: int,
    seed: int,
) -> Mapping[str, Any]:
    left_out = [len(each.without_key) for each in read.scores.values()]
    return {
        "keys": key,
        "dataset": read.key.dataset,
        "columns": read.key.columns,
        "subset": read.subset.name or None,
        "subsets": read.subset.counts,
        "trials": len(read.subset.trials),
        "genuine_scores": "lower" if lower_is_genuine else "higher",
        "resamples": bootstrap,
        "seed": seed,
        "systems": [
            {"scores": path, **system.to_dict(), "without_key": count}
            for path, system, count in zip(paths, systems, left_out, strict=True)
        ],
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
        title = fact.replace("_", "-")
        console.print_table(f"by {title}", [title, *(["scores"] if len(systems) > 1 else []), *FIGURES], cells)
        for name, _, each in groups:
            if each.undefined:
                console.say(f"{title} {name}: {each.undefined}")
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


def _doubt(name: str, matched: "Matched", eer: "Eer | None", lower_is_genuine: bool) -> None:
    """Warns if scores are all or often equal, the wrong way round, or of trials that the key lacks."""
    from earwitness.detection.errors import listed
    from earwitness.detection.report import ties_only

    if matched.without_key:
        lacking = f"{len(matched.without_key)} scores of trials that the key does not have are left out"
        console.say(f"{name}: {lacking}: {listed(matched.without_key)}")
    if ties_only(matched.values):
        console.say(f"{name}: {ties_only(matched.values)}")
    elif eer is not None and eer.nearest_threshold > 0.5:
        way = "without --lower-is-genuine" if lower_is_genuine else "with --lower-is-genuine"
        console.say(f"{name}: worse than chance; are its scores the other way round? Try it {way}")
    if eer is not None and eer.ties is not None and eer.ties_matter:
        ties, count = eer.ties, eer.genuine + eer.spoof
        console.say(
            f"{name}: ties matter: {ties.count} of {count} trials have a score that one of the other class has too, "
            f"and no threshold parts them. {eer.nearest_threshold:.2%} takes equal scores together; step by step it is "
            f"{ties.genuine_first:.2%} with genuine trials rejected first (the scripts of ASVspoof 2019 to 5), "
            f"{ties.spoofs_first:.2%} with spoofs first"
        )
