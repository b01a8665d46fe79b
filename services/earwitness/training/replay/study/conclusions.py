"""What the table says, computed: how the EER changes from dev to eval, and what more data does to that."""

from collections.abc import Sequence

import numpy as np

from earwitness.training.replay.rates import Estimate
from earwitness.training.replay.study.config import Cell
from earwitness.training.replay.study.results import Gap, Study
from earwitness.training.replay.wording import points


def conclusions(study: Study) -> list[str]:
    """A few sentences on what the rows can answer; a change is one whose 95 % interval leaves out zero."""
    gaps = {row.cell: gap for row in study.rows if (gap := row.gap)}
    said = []
    for more in (False, True):
        of_one_kind = {cell: gap for cell, gap in gaps.items() if cell.more_data == more}
        if of_one_kind:
            said.append(_from_dev_to_eval(of_one_kind))
    pairs = [(cell, Cell(cell.network, True)) for cell in gaps if not cell.more_data]
    both = {plain.network: (gaps[plain], gaps[more]) for plain, more in pairs if more in gaps}
    if both:
        gap_changes = {network: more.change - plain.change for network, (plain, more) in both.items()}
        eval_changes = {network: more.evaluation - plain.evaluation for network, (plain, more) in both.items()}
        said.append(f"More data changes that gap by {_listed(gap_changes)}: {_verdicts(gap_changes, GAP_VERBS)}.")
        said.append(f"More data changes the EER on eval by {_listed(eval_changes)}: {_verdicts(eval_changes, VERBS)}.")
    return said


VERBS = {1: "it rises for", -1: "it falls for", 0: "no change can be told from chance for"}
GAP_VERBS = {1: "it widens for", -1: "it narrows for", 0: VERBS[0]}


def _from_dev_to_eval(gaps: dict[Cell, Gap]) -> str:
    """On rows of one amount of data."""
    changes = {cell.network: gap.change for cell, gap in gaps.items()}
    text = f"With {next(iter(gaps)).data} the EER changes from dev to eval by {_listed(changes)}"
    factors = [gap.evaluation.value / gap.dev.value for gap in gaps.values() if gap.dev.value and gap.evaluation.value]
    if factors:
        text += f", to {np.exp(np.mean(np.log(factors))):.2f} times as much on (geometric) average"
    return f"{text}: {_verdicts(changes, VERBS)}."


def _listed(changes: dict[str, Estimate]) -> str:
    return ", ".join(f"{points(change)} ({network})" for network, change in changes.items())


def _verdicts(changes: dict[str, Estimate], verbs: dict[int, str]) -> str:
    """Which networks it holds for, by what their intervals say."""
    found = []
    for sign, verb in verbs.items():
        networks = [network for network, change in changes.items() if change.sign == sign]
        if networks:
            found.append(f"{verb} {_names(networks)} ({len(networks)} of {len(changes)})")
    return "; ".join(found)


def _names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
