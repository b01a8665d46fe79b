"""What rows begin with: the best of a few latents that are drawn from the prior, before the first step."""

from collections.abc import Mapping

import numpy as np

from earwitness.explainer.optimisers import RowIndex, start_latent
from earwitness.explainer.plan import Plan
from earwitness.inference.backend import FloatArray


class Starts:
    """The draws of a plan's rows: `ask` for the next latents, `tell` what they activate, until all are `done`; `chosen`
    are the best so far.

    Rows with one seed share its draws, whatever their objectives: each is classified once. The first draws of all seeds
    come first, so that there is something to choose for every row soon.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._targets = plan.targets
        self._rows: dict[int, list[int]] = {}
        for row, each in enumerate(plan.rows):
            if each.settings.start_draws > 1:
                self._rows.setdefault(each.seed, []).append(row)
        counts = {
            seed: max(plan.rows[row].settings.start_draws for row in rows) for seed, rows in self._rows.items()
        }  # fmt: skip
        most = max(counts.values(), default=0)
        self._draws = [(seed, draw) for draw in range(most) for seed, count in counts.items() if draw < count]
        self._found = np.full((len(plan.rows), max(most, 1)), np.nan, np.float32)
        self.layers = [layer.name for layer in plan.layers_of(row for rows in self._rows.values() for row in rows)]
        """Those that the draws are to be classified by."""
        self.drawn = 0
        """Draws that are classified."""

    @property
    def left(self) -> int:
        """Draws that are not."""
        return len(self._draws) - self.drawn

    @property
    def done(self) -> bool:
        """Whether there is none left."""
        return not self.left

    def ask(self, most: int) -> FloatArray:
        """The latents of the next draws, at most so many, float32 [n, Z]."""
        size = self._plan.bundle.latent_size
        return np.stack([start_latent(seed, draw, size) for seed, draw in self._next(most)])

    def tell(self, units: Mapping[str, FloatArray]) -> None:
        """Take the activations [n, units] by layer of the latents that were asked for."""
        drawn = self._next(len(next(iter(units.values()))))
        rows, draws, places = np.array(
            [
                (row, draw, place)
                for place, (seed, draw) in enumerate(drawn)
                for row in self._rows[seed]
                if draw < self._plan.rows[row].settings.start_draws
            ],
            np.intp,
        ).T
        found = self._plan.activations(rows, {name: layer[places] for name, layer in units.items()})
        self._found[rows, draws] = np.where(np.isfinite(found), found, np.nan)
        self.drawn += len(drawn)

    def skip(self) -> None:
        """All is drawn: the rows have begun long ago."""
        self.drawn = len(self._draws)

    @property
    def best_activations(self) -> FloatArray:
        """Those of the `chosen` draws, turned so that all rows ascend, float32 [B]; NaN where none is known."""
        return np.asarray(self._found[np.arange(len(self._found)), self.chosen])

    @property
    def chosen(self) -> RowIndex:
        """The draw of each row [B] that activates most and has not passed its target, or the nearest to it where all
        have; the first of equals, and 0 where none is known."""
        ahead = self._found <= self._targets[:, None]
        nearest = np.argmin(np.where(np.isnan(self._found), np.inf, self._found), axis=1)
        highest = np.argmax(np.where(ahead, self._found, -np.inf), axis=1)
        return np.asarray(np.where(ahead.any(axis=1), highest, nearest))

    def latents(self) -> FloatArray:
        """What every row begins with, float32 [B, Z]."""
        latents, size = self._plan.first_latents.copy(), self._plan.bundle.latent_size
        for row, draw in enumerate(self.chosen):
            if draw:
                latents[row] = start_latent(self._plan.rows[row].seed, int(draw), size)
        return latents

    def _next(self, most: int) -> list[tuple[int, int]]:
        return self._draws[self.drawn : self.drawn + most]
