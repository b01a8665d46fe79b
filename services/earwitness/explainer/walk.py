"""The walk through the prior: a rule that needs activations alone."""

from collections.abc import Sequence

import numpy as np

from earwitness.explainer.optimisers import PROPOSALS, Arrays, RowIndex, column, stream
from earwitness.inference.backend import FloatArray

WIDER, NARROWER = 1.2, 0.95
"""What a proposal that is taken, or not, multiplies the width of the next by: about a fifth of them are taken where it
stays as it is, near the 0.234 that is best in high dimensions (Roberts, Gelman & Gilks 1997)."""
NARROWEST, WIDEST = 0.05, 0.6
"""Between these it stays, unless it began outside."""


class Walk:
    """Preconditioned Crank-Nicolson proposals z' = √(1 − b²) z + b ξ, ξ ~ N(0, I): if z is from the prior, so is z'.

    Source: Cotter et al. 2013. A proposal is taken where it activates more and does not pass the target by more than
    was missing, or than the row's steps gained on the average. What is missing alone would not do: close to its target
    a row would have to hit a gap that is nearly closed, and stay there. What its steps gain is its own measure of how
    finely it moves. A proposal whose activation is not finite is never taken.
    """

    def __init__(
        self, learning_rates: Sequence[float], seeds: Sequence[int], targets: FloatArray, latent_size: int
    ) -> None:
        """`targets` [rows] are float32, infinity where there is none; the learning rate is the first b."""
        self._seeds = seeds
        self._targets = targets
        self._width = column(learning_rates)
        self._narrowest = np.minimum(self._width, NARROWEST)
        self._widest = np.maximum(self._width, WIDEST)
        self._place = np.zeros((len(seeds), latent_size), np.float32)
        self._height, self._first = np.zeros((2, len(seeds)), np.float32)
        self._proposed, self._taken = np.zeros((2, len(seeds)), np.int64)

    @property
    def state(self) -> Arrays:
        """See `Rule`."""
        return {
            "place": self._place,
            "height": self._height,
            "first": self._first,
            "width": self._width,
            "proposed": self._proposed,
            "taken": self._taken,
        }

    def settle(self, rows: RowIndex, latents: FloatArray, activation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Rule`: an iterate is where the row stands after the proposal."""
        begins, target, height = self._proposed[rows] == 0, self._targets[rows], self._height[rows]
        self._first[rows[begins]] = activation[begins]
        gain = (height - self._first[rows]) / np.maximum(self._taken[rows], 1)
        with np.errstate(invalid="ignore"):
            passes = activation - target > np.maximum(target - height, gain)
        taken = begins | ((activation > height) & np.isfinite(activation) & ~passes)
        self._place[rows[taken]], self._height[rows[taken]] = latents[taken], activation[taken]
        self._taken[rows] += taken & ~begins
        width = self._width[rows] * np.where(taken, WIDER, NARROWER)[:, None]
        width = np.clip(width, self._narrowest[rows], self._widest[rows])
        self._width[rows] = np.where(begins[:, None], self._width[rows], width)
        return self._place[rows], self._height[rows]

    def move(self, rows: RowIndex, latents: FloatArray, gradient: FloatArray) -> FloatArray:
        """See `Rule`: proposal s of a row is drawn by its seed and s alone."""
        self._proposed[rows] += 1
        noise = np.empty((len(rows), self._place.shape[1]))  # of no rows, too: all may have got there at once
        for place, row in enumerate(rows):
            noise[place] = stream(self._seeds[row], PROPOSALS, self._proposed[row]).standard_normal(noise.shape[1])
        width = self._width[rows]
        return (np.sqrt(1 - width * width) * self._place[rows] + width * noise).astype(np.float32)
