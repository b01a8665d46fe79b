"""How a batch of latents moves, each row by its own settings: `Ascent` is the ask/tell face of the rules."""

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.optimisers import Adam, Arrays, Normalised, RowIndex, Rule, Sgd, column
from earwitness.explainer.walk import Walk
from earwitness.explainer.ways import Resolved
from earwitness.inference.backend import FloatArray
from earwitness.vocabulary.search import Optimiser


class ByRow:
    """Different rules for different rows: `members[g]` are the rows of `rules[g]`, numbered from 0 inside it."""

    def __init__(self, rules: Sequence[Rule], members: Sequence[RowIndex]) -> None:
        self._rules = rules
        size = sum(len(rows) for rows in members)
        self._rule_of = np.empty(size, np.intp)
        self._place = np.empty(size, np.intp)
        for number, rows in enumerate(members):
            self._rule_of[rows] = number
            self._place[rows] = np.arange(len(rows))

    @property
    def state(self) -> Arrays:
        """See `Rule`."""
        return {
            f"{number}{name}": array for number, rule in enumerate(self._rules) for name, array in rule.state.items()
        }

    def settle(self, rows: RowIndex, latents: FloatArray, activation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Rule`."""
        settled, heights = np.empty_like(latents), np.empty_like(activation)
        for rule, mine in self._shares(rows):
            settled[mine], heights[mine] = rule.settle(self._place[rows[mine]], latents[mine], activation[mine])
        return settled, heights

    def move(self, rows: RowIndex, latents: FloatArray, gradient: FloatArray) -> FloatArray:
        """See `Rule`."""
        moved = np.empty_like(latents)
        for rule, mine in self._shares(rows):
            moved[mine] = rule.move(self._place[rows[mine]], latents[mine], gradient[mine])
        return moved

    def _shares(self, rows: RowIndex) -> Iterator[tuple[Rule, NDArray[np.bool_]]]:
        """The rules that have some of `rows`, and which."""
        for number, rule in enumerate(self._rules):
            mine = self._rule_of[rows] == number
            if mine.any():
                yield rule, mine


class Ascent:
    """Ask/tell over B latents: `ask` for those of some rows, `settle` what they activate, `tell` their gradients, and
    they have moved one step."""

    def __init__(self, latents: FloatArray, rule: Rule, weight_decay: Sequence[float]) -> None:
        self._latents = np.array(latents, np.float32)
        self._rule = rule
        self._kept = (1 - column(weight_decay)).astype(np.float32)

    @property
    def state(self) -> Arrays:
        """Everything that a search needs to continue from here: live views, so writing into them restores it."""
        return {"latents": self._latents, **self._rule.state}

    def ask(self, rows: RowIndex) -> FloatArray:
        """The latents of `rows` [n], a fresh float32 [n, Z]."""
        return self._latents[rows]

    def settle(self, rows: RowIndex, latents: FloatArray, activation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Rule`."""
        return self._rule.settle(rows, latents, activation)

    def tell(self, rows: RowIndex, gradient: FloatArray) -> None:
        """Move the latents of `rows`, given their gradients, float32 [n, Z]."""
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging row is the search's to see and stop
            self._latents[rows] = self._rule.move(rows, self._latents[rows], gradient) * self._kept[rows]


def ascent(latents: FloatArray, settings: Sequence[Resolved], seeds: Sequence[int], targets: FloatArray) -> Ascent:
    """An `Ascent` from `latents` [B, Z]; row i moves by `settings[i]`, has `seeds[i]`, and is to reach the activation
    `targets[i]`, float32, infinity where there is no target."""
    rules: list[Rule] = []
    members: list[RowIndex] = []
    for name in get_args(Optimiser):
        rows = [row for row, each in enumerate(settings) if each.optimiser == name]
        if rows:
            mine = [settings[row] for row in rows]
            rates = [row.learning_rate for row in mine]
            match name:
                case "adam":
                    rules.append(Adam(rates, latents.shape[1]))
                case "sgd":
                    rules.append(Sgd(rates, [row.steps for row in mine]))
                case "normalised":
                    rules.append(Normalised(rates))
                case "walk":
                    rules.append(Walk(rates, [seeds[row] for row in rows], targets[rows], latents.shape[1]))
                case "draws":
                    raise ValueError("draws from the prior do not move")
            members.append(np.array(rows))
    rule = rules[0] if len(rules) == 1 else ByRow(rules, members)
    return Ascent(latents, rule, [row.weight_decay for row in settings])
