"""What to do next about explanations that a score speaks against, as a command to paste."""

import shlex
from dataclasses import dataclass

from earwitness.client.output.run import Run
from earwitness.client.output.words import missed_words
from earwitness.client.values import Reference, Score

FAR = 10.0
"""Times that real audio of a size scores below in 95 % of cases: a distance beyond it is a bad one."""
LEAVES_RANGE = 0.5
"""Share of the rows beyond every real excerpt above which a batch leaves the real range, as the scorer has it."""
START_DRAWS, OVERSAMPLING = 8, 3


@dataclass(frozen=True)
class Advice:
    """A sentence, and the command that follows from it."""

    words: str
    command: str


def advice(run: Run) -> Advice | None:
    """What to try next for a run whose score is bad; None where it is not, or nothing is known that would help."""
    if run.scoring is None or run.objective.unit is None or not is_bad(run.scoring.scored.score):
        return None
    settings = {each.settings for each in run.result.explanations}
    reference = run.scoring.reference
    if all(each.target is None and each.optimiser != "draws" for each in settings):
        said = "These rows took a fixed number of steps, however far that drove the unit."
        if reference.selection.kind == "all":
            highest = "highest" if run.objective.sense == "maximise" else "lowest"
            return Advice(f"{said} A reference of the excerpts where it is {highest} holds targets", _build(run))
        return Advice(
            f"{said} Let each stop at the activation of a real excerpt, going there in steps of one length",
            _again(run, str(START_DRAWS)),
        )
    if missed_words(run.result):
        return Advice(
            "Some rows did not get as far as real excerpts do; more draws to begin with, and more steps, may",
            _again(run, "64", "--steps", "1000"),
        )
    return Advice("Other ways may suit this unit better; several are tried and compared by", _recommend(run))


def is_bad(score: Score) -> bool:
    """Whether a batch leaves the real range, or lies many times farther off than real audio does."""
    if score.outside_range_ratio > LEAVES_RANGE:
        return True
    return 0 < score.noise_floor_high * FAR < score.distance


def _again(run: Run, start_draws: str, *more: str) -> str:
    words = ["explain", run.model.name, *_aim(run), f"--{run.objective.sense}"]
    words += ["-n", str(len(run.result.explanations)), "--reference", _reference(run).name]
    words += ["--optimiser", "normalised", "--target", "q0:1", "--start-draws", start_draws, *more]
    if len(_reference(run).kept_layers) > 1:
        words += ["--oversample", str(OVERSAMPLING)]
    return _command(*words)


def _recommend(run: Run) -> str:
    return _command("recommend", run.model.name, *_aim(run), "--reference", _reference(run).name)


def _build(run: Run) -> str:
    end = "top" if run.objective.sense == "maximise" else "bottom"
    words = ["reference", "build", f"{_reference(run).name}-{end}", "RECORDINGS", "--model", run.model.name]
    return _command(*words, *_aim(run), f"--{end}", "50")


def _aim(run: Run) -> list[str]:
    layer = [] if run.objective.layer == run.model.output_layer.name else ["--layer", run.objective.layer]
    return [*layer, "--unit", str(run.objective.unit)]


def _reference(run: Run) -> Reference:
    assert run.scoring is not None
    return run.scoring.reference


def _command(*words: str) -> str:
    return shlex.join(["earwitness", *words])
