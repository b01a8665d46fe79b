"""How latents move: gradient-ascent rules over a batch of rows, each row with its own settings.

`Ascent` is the ask/tell face; a `StepRule` (`Adam`, `Sgd`, or `ByRow` to mix them) says what one step adds. Every
operation is element-wise, so a row's latents never depend on which rows stand beside it, bit for bit.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.ways import OptimiserName, Settings
from earwitness.inference.backend import FloatArray

RowIndex = NDArray[np.intp]

BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8

Arrays = dict[str, NDArray[Any]]
"""Arrays by names of at most 12 letters: what a search leaves at a checkpoint."""


class StepRule(Protocol):
    """One ascent step of a batch."""

    @property
    def state(self) -> Arrays:
        """All that the steps so far have left, as it is in use: written into, it is restored."""

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """What to add to the latents of `rows` [n] given the gradients of their objectives, both [n, Z] float32."""


class Adam:
    """Adam with β 0.9/0.999, ε 1e-8 and bias correction. Source: Kingma & Ba 2015, algorithm 1."""

    def __init__(self, learning_rates: Sequence[float], latent_size: int) -> None:
        self._rate = _column(learning_rates)
        self._mean = np.zeros((len(learning_rates), latent_size), np.float32)
        self._square = np.zeros_like(self._mean)
        # Running products rather than powers: multiplication rounds alike wherever a row stands in the batch.
        self._mean_left = np.ones((len(learning_rates), 1))
        self._square_left = np.ones((len(learning_rates), 1))

    @property
    def state(self) -> Arrays:
        """See `StepRule`."""
        return {
            "mean": self._mean,
            "square": self._square,
            "mean_left": self._mean_left,
            "square_left": self._square_left,
        }

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `StepRule`."""
        mean = self._mean[rows] = BETA_MEAN * self._mean[rows] + (1 - BETA_MEAN) * gradient
        square = self._square[rows] = BETA_SQUARE * self._square[rows] + (1 - BETA_SQUARE) * (gradient * gradient)
        mean_left = self._mean_left[rows] = self._mean_left[rows] * BETA_MEAN
        square_left = self._square_left[rows] = self._square_left[rows] * BETA_SQUARE
        rate = (self._rate[rows] / (1 - mean_left)).astype(np.float32)
        root = np.sqrt(square) / np.sqrt(1 - square_left).astype(np.float32)
        return np.asarray(rate * mean / (root + np.float32(EPSILON)), np.float32)


class Sgd:
    """Plain gradient steps; the rate of step s of S is (1 − s/S) of the first, so it falls linearly to 0."""

    def __init__(self, learning_rates: Sequence[float], steps: Sequence[int]) -> None:
        self._rate = _column(learning_rates)
        self._steps = _column(steps)
        self._done = np.zeros_like(self._steps)

    @property
    def state(self) -> Arrays:
        """See `StepRule`."""
        return {"done": self._done}

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `StepRule`."""
        rate = self._rate[rows] * (1 - self._done[rows] / self._steps[rows])
        self._done[rows] += 1
        return rate.astype(np.float32) * gradient


class ByRow:
    """Different rules for different rows: `members[g]` are the rows of `rules[g]`, numbered from 0 inside it."""

    def __init__(self, rules: Sequence[StepRule], members: Sequence[RowIndex]) -> None:
        self._rules = rules
        size = sum(len(rows) for rows in members)
        self._rule_of = np.empty(size, np.intp)
        self._place = np.empty(size, np.intp)
        for number, rows in enumerate(members):
            self._rule_of[rows] = number
            self._place[rows] = np.arange(len(rows))

    @property
    def state(self) -> Arrays:
        """See `StepRule`."""
        return {
            f"{number}{name}": array for number, rule in enumerate(self._rules) for name, array in rule.state.items()
        }

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `StepRule`."""
        added = np.empty_like(gradient)
        for number, rule in enumerate(self._rules):
            mine = self._rule_of[rows] == number
            added[mine] = rule.step(self._place[rows[mine]], gradient[mine])
        return added


class Ascent:
    """Ask/tell over B latents: `ask` for those of some rows, `tell` their gradients, and they have moved one step."""

    def __init__(self, latents: FloatArray, rule: StepRule, weight_decay: Sequence[float]) -> None:
        self._latents = np.array(latents, np.float32)
        self._rule = rule
        self._kept = (1 - _column(weight_decay)).astype(np.float32)

    @property
    def state(self) -> Arrays:
        """All that a search needs to go on from here, as it is in use: written into, it is restored."""
        return {"latents": self._latents, **self._rule.state}

    def ask(self, rows: RowIndex) -> FloatArray:
        """The latents of `rows` [n], a fresh float32 [n, Z]."""
        return self._latents[rows]

    def tell(self, rows: RowIndex, gradient: FloatArray) -> None:
        """Move the latents of `rows` up their gradients, float32 [n, Z]."""
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging row is the search's to see and stop
            self._latents[rows] = (self._latents[rows] + self._rule.step(rows, gradient)) * self._kept[rows]


def ascent(latents: FloatArray, settings: Sequence[Settings]) -> Ascent:
    """An `Ascent` from `latents` [B, Z]; row i moves by `settings[i]`."""
    rules: list[StepRule] = []
    members: list[RowIndex] = []
    for name in OptimiserName:
        rows = np.flatnonzero([row.optimiser is name for row in settings])
        if len(rows):
            mine = [row for row in settings if row.optimiser is name]
            rates = [row.learning_rate for row in mine]
            adam = name is OptimiserName.ADAM
            rules.append(Adam(rates, latents.shape[1]) if adam else Sgd(rates, [row.steps for row in mine]))
            members.append(rows)
    rule = rules[0] if len(rules) == 1 else ByRow(rules, members)
    return Ascent(latents, rule, [row.weight_decay for row in settings])


def first_latent(seed: int, latent_size: int) -> FloatArray:
    """z0 of a row: float32 [Z] drawn from N(0, I) by `seed` alone."""
    return np.random.default_rng(seed).standard_normal(latent_size).astype(np.float32)


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)[:, None]
