"""How latents move: a batch of rows, each row with its own settings.

`Ascent` is the ask/tell face; a `Rule` (`Adam`, `Sgd`, `Normalised`, `Walk`, or `ByRow` to mix them) says where a row
goes next. Every operation is element-wise or within a row, so a row's latents never depend on which rows stand beside
it, bit for bit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.ways import OptimiserName, Settings
from earwitness.inference.backend import FloatArray

RowIndex = NDArray[np.intp]

BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8

WIDER, NARROWER = 1.2, 0.95
"""What a proposal that is taken, or not, multiplies the width of the next by: about a fifth of them are taken where it
stays as it is, near the 0.234 that is best in high dimensions (Roberts, Gelman & Gilks 1997)."""
NARROWEST, WIDEST = 0.05, 0.6
"""Between these it stays, unless it began outside."""
START_DRAWS, PROPOSALS = 0, 1
"""Keys of the random streams that a seed has besides its first latent's."""

Arrays = dict[str, NDArray[Any]]
"""Arrays by names of at most 12 letters: what a search leaves at a checkpoint."""


class Rule(Protocol):
    """Where the rows of a batch go. For each iterate of a row `settle` is called, then `move` unless it was the last.

    `rows` [n] are places in the rule; latents and gradients [n, Z], activations [n] (turned so that all rows ascend)
    are float32.
    """

    @property
    def state(self) -> Arrays:
        """All that the steps so far have left, as it is in use: written into, it is restored."""

    def settle(self, rows: RowIndex, latents: FloatArray, activation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The iterates of `rows` and their activations, now that those at the `latents` that were asked are known."""

    def move(self, rows: RowIndex, latents: FloatArray, gradient: FloatArray) -> FloatArray:
        """The latents of `rows` to ask next, after the `latents` asked before, given their objectives' gradients."""


class GradientRule(ABC):
    """A `Rule` that adds a step to wherever a row is."""

    def settle(self, rows: RowIndex, latents: FloatArray, activation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Rule`: every latent asked is an iterate."""
        return latents, activation

    def move(self, rows: RowIndex, latents: FloatArray, gradient: FloatArray) -> FloatArray:
        """See `Rule`."""
        return latents + self.step(rows, gradient)

    @abstractmethod
    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """What to add to the latents of `rows` [n] given the gradients of their objectives, both [n, Z] float32."""


class Adam(GradientRule):
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
        """See `Rule`."""
        return {
            "mean": self._mean,
            "square": self._square,
            "mean_left": self._mean_left,
            "square_left": self._square_left,
        }

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `GradientRule`."""
        mean = self._mean[rows] = BETA_MEAN * self._mean[rows] + (1 - BETA_MEAN) * gradient
        square = self._square[rows] = BETA_SQUARE * self._square[rows] + (1 - BETA_SQUARE) * (gradient * gradient)
        mean_left = self._mean_left[rows] = self._mean_left[rows] * BETA_MEAN
        square_left = self._square_left[rows] = self._square_left[rows] * BETA_SQUARE
        rate = (self._rate[rows] / (1 - mean_left)).astype(np.float32)
        root = np.sqrt(square) / np.sqrt(1 - square_left).astype(np.float32)
        return np.asarray(rate * mean / (root + np.float32(EPSILON)), np.float32)


class Sgd(GradientRule):
    """Plain gradient steps; the rate of step s of S is (1 − s/S) of the first, so it falls linearly to 0."""

    def __init__(self, learning_rates: Sequence[float], steps: Sequence[int]) -> None:
        self._rate = _column(learning_rates)
        self._steps = _column(steps)
        self._done = np.zeros_like(self._steps)

    @property
    def state(self) -> Arrays:
        """See `Rule`."""
        return {"done": self._done}

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `GradientRule`."""
        rate = self._rate[rows] * (1 - self._done[rows] / self._steps[rows])
        self._done[rows] += 1
        return rate.astype(np.float32) * gradient


class Normalised(GradientRule):
    """Steps of one length, the learning rate, up the gradient; a row whose gradient is zero stands still."""

    def __init__(self, learning_rates: Sequence[float]) -> None:
        self._rate = _column(learning_rates)

    @property
    def state(self) -> Arrays:
        """See `Rule`: the steps leave nothing."""
        return {}

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `GradientRule`."""
        lengths = np.sqrt(np.square(gradient, dtype=np.float64).sum(axis=1, keepdims=True))
        # In double precision, or the shortest gradients of float32 would lose their direction.
        return (self._rate[rows] / np.where(lengths == 0, 1, lengths) * gradient).astype(np.float32)


class Walk:
    """Preconditioned Crank-Nicolson proposals z' = √(1 − b²) z + b ξ, ξ ~ N(0, I): if z is from the prior, so is z'.

    Source: Cotter et al. 2013. A proposal is taken where its activation is nearer to the target than the row's: below
    the target that is where it is higher, and how far one may pass the target needs no constant: by less than is still
    missing, which shrinks as the row comes near. Without a target a proposal is taken where it activates more. One
    whose activation is not finite is never taken.
    """

    def __init__(
        self, learning_rates: Sequence[float], seeds: Sequence[int], targets: FloatArray, latent_size: int
    ) -> None:
        """`targets` [rows] are float32, infinity where there is none; the learning rate is the first b."""
        self._seeds = seeds
        self._targets = targets
        self._width = _column(learning_rates)
        self._narrowest = np.minimum(self._width, NARROWEST)
        self._widest = np.maximum(self._width, WIDEST)
        self._place = np.zeros((len(seeds), latent_size), np.float32)
        self._height = np.zeros(len(seeds), np.float32)
        self._proposed = np.full(len(seeds), 0, np.int64)

    @property
    def state(self) -> Arrays:
        """See `Rule`."""
        return {"place": self._place, "height": self._height, "width": self._width, "proposed": self._proposed}

    def settle(self, rows: RowIndex, latents: FloatArray, activation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Rule`: an iterate is where the row stands after the proposal."""
        begins, target, height = self._proposed[rows] == 0, self._targets[rows], self._height[rows]
        with np.errstate(invalid="ignore"):
            nearer = np.abs(activation - target) < np.abs(height - target)
        taken = begins | np.where(np.isinf(target), activation > height, nearer)
        self._place[rows[taken]], self._height[rows[taken]] = latents[taken], activation[taken]
        width = self._width[rows] * np.where(taken, WIDER, NARROWER)[:, None]
        width = np.clip(width, self._narrowest[rows], self._widest[rows])
        self._width[rows] = np.where(begins[:, None], self._width[rows], width)
        return self._place[rows], self._height[rows]

    def move(self, rows: RowIndex, latents: FloatArray, gradient: FloatArray) -> FloatArray:
        """See `Rule`: proposal s of a row is drawn by its seed and s alone."""
        self._proposed[rows] += 1
        size = self._place.shape[1]
        noise = np.empty((len(rows), size))  # of no rows, too: all may have got there at once
        for place, row in enumerate(rows):
            noise[place] = _stream(self._seeds[row], PROPOSALS, self._proposed[row]).standard_normal(size)
        width = self._width[rows]
        return (np.sqrt(1 - width * width) * self._place[rows] + width * noise).astype(np.float32)


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
        self._kept = (1 - _column(weight_decay)).astype(np.float32)

    @property
    def state(self) -> Arrays:
        """All that a search needs to go on from here, as it is in use: written into, it is restored."""
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


def ascent(latents: FloatArray, settings: Sequence[Settings], seeds: Sequence[int], targets: FloatArray) -> Ascent:
    """An `Ascent` from `latents` [B, Z]; row i moves by `settings[i]`, has `seeds[i]`, and is to reach the activation
    `targets[i]`, float32, infinity where there is no target."""
    rules: list[Rule] = []
    members: list[RowIndex] = []
    for name in OptimiserName:
        rows = [row for row, each in enumerate(settings) if each.optimiser is name]
        if rows:
            mine = [settings[row] for row in rows]
            rates = [row.learning_rate for row in mine]
            match name:
                case OptimiserName.ADAM:
                    rules.append(Adam(rates, latents.shape[1]))
                case OptimiserName.SGD:
                    rules.append(Sgd(rates, [row.steps for row in mine]))
                case OptimiserName.NORMALISED:
                    rules.append(Normalised(rates))
                case OptimiserName.WALK:
                    rules.append(Walk(rates, [seeds[row] for row in rows], targets[rows], latents.shape[1]))
                case OptimiserName.DRAWS:
                    raise ValueError("draws from the prior do not move")
            members.append(np.array(rows))
    rule = rules[0] if len(rules) == 1 else ByRow(rules, members)
    return Ascent(latents, rule, [row.weight_decay for row in settings])


def first_latent(seed: int, latent_size: int) -> FloatArray:
    """z0 of a row: float32 [Z] drawn from N(0, I) by `seed` alone."""
    return np.random.default_rng(seed).standard_normal(latent_size).astype(np.float32)


def start_latent(seed: int, draw: int, latent_size: int) -> FloatArray:
    """Draw `draw` of those that a row may begin with, float32 [Z]: 0 is its first latent, the others N(0, I) too."""
    if draw == 0:
        return first_latent(seed, latent_size)
    return _stream(seed, START_DRAWS, draw).standard_normal(latent_size).astype(np.float32)


def _stream(seed: int, purpose: int, number: int) -> np.random.Generator:
    """One of the random streams that a seed has, each independent of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, int(number))))


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)[:, None]
