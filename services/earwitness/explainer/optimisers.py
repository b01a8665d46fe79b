"""How latents move: gradient-ascent rules over a batch of rows, each row with its own settings.

`Ascent` is the ask/tell face; a `StepRule` (`Adam`, `Sgd`, or `ByRow` to mix them) says what one step adds. Every
operation is element-wise, so a row's latents never depend on which rows stand beside it, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.inference.backend import FloatArray

RowIndex = NDArray[np.intp]

BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8
MAX_LEARNING_RATE = 10.0
MAX_PRIOR_WEIGHT = 1000.0


class OptimiserName(Enum):
    """Which rule moves a row."""

    ADAM = "adam"
    SGD = "sgd"


@dataclass(frozen=True)
class Settings:
    """How one row is searched. The defaults are those that the paper's selection chose for "vocal".

    Source: METHOD A.4, A.5 (arXiv:1904.09533). `weight_decay` replaces the prior: z is multiplied by
    (1 − weight_decay) after every step (Nguyen et al. 2016).
    """

    optimiser: OptimiserName = OptimiserName.ADAM
    learning_rate: float = 0.01
    prior_weight: float = 0.001
    steps: int = 100
    weight_decay: float = 0.0

    def check(self, field: str, max_steps: int) -> None:
        """Raises: InvalidArgument naming the part of `field` (the path of the settings) that is out of range."""
        check_learning_rate(self.learning_rate, f"{field}.learning_rate")
        check_prior_weight(self.prior_weight, f"{field}.prior_weight")
        check_steps(self.steps, f"{field}.steps", max_steps)
        if not 0 <= self.weight_decay < 1:
            _refuse(f"{field}.weight_decay", self.weight_decay, "0 to below 1")
        if self.weight_decay and self.prior_weight:
            raise InvalidArgument(
                f"{field}.weight_decay",
                f"got {self.weight_decay:g} beside a prior_weight of {self.prior_weight:g}; one of them must be 0",
            )


def check_learning_rate(value: float, field: str) -> None:
    """Raises: InvalidArgument unless it is a learning rate."""
    if not 0 < value <= MAX_LEARNING_RATE:
        _refuse(field, value, f"greater than 0 and at most {MAX_LEARNING_RATE:g}")


def check_prior_weight(value: float, field: str) -> None:
    """Raises: InvalidArgument unless it is a prior weight."""
    if not 0 <= value <= MAX_PRIOR_WEIGHT:
        _refuse(field, value, f"0 to {MAX_PRIOR_WEIGHT:g}")


def check_steps(value: int, field: str, max_steps: int) -> None:
    """Raises: InvalidArgument unless it is a number of steps that this server does."""
    if not 1 <= value <= max_steps:
        _refuse(field, value, f"1 to {max_steps}")


def _refuse(field: str, got: float, allowed: str) -> None:
    raise InvalidArgument(field, f"got {got:g}; it must be {allowed}")


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
