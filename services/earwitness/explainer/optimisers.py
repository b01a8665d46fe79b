"""Where latents begin and the rules by which gradients move them.

Every operation is element-wise or within a row, so a row's latents never depend on which rows stand beside it, bit for
bit.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.inference.backend import FloatArray

RowIndex = NDArray[np.intp]

BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8

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
        """Everything that the steps so far have left: live views, so writing into them restores it."""

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
        self._rate = column(learning_rates)
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
        self._rate = column(learning_rates)
        self._steps = column(steps)
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
        self._rate = column(learning_rates)

    @property
    def state(self) -> Arrays:
        """See `Rule`: the steps leave nothing."""
        return {}

    def step(self, rows: RowIndex, gradient: FloatArray) -> FloatArray:
        """See `GradientRule`."""
        lengths = np.sqrt(np.square(gradient, dtype=np.float64).sum(axis=1, keepdims=True))
        # In double precision, or the shortest gradients of float32 would lose their direction.
        return (self._rate[rows] / np.where(lengths == 0, 1, lengths) * gradient).astype(np.float32)


def first_latent(seed: int, latent_size: int) -> FloatArray:
    """z0 of a row: float32 [Z] drawn from N(0, I) by `seed` alone."""
    return np.random.default_rng(seed).standard_normal(latent_size).astype(np.float32)


def start_latent(seed: int, draw: int, latent_size: int) -> FloatArray:
    """Draw `draw` of those that a row may begin with, float32 [Z]: 0 is its first latent, the others N(0, I) too."""
    if draw == 0:
        return first_latent(seed, latent_size)
    return stream(seed, START_DRAWS, draw).standard_normal(latent_size).astype(np.float32)


def stream(seed: int, purpose: int, number: int) -> np.random.Generator:
    """One of the random streams that a seed has, each independent of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, int(number))))


def column(values: Sequence[float]) -> NDArray[np.float64]:
    """A number for each row, [rows, 1]."""
    return np.asarray(values, np.float64)[:, None]
