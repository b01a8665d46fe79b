"""Prior sampling: of many latents drawn from the prior those that activate most, or least, by many objectives at once.

Draw i of a pool is the latent of the seed `first_seed` + i. Every draw is classified once, whatever looks at it, and
only what can still win is kept: a seed and an activation for each row that is looked for.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.errors import NonFiniteModel, NothingSearchedYet
from earwitness.explainer.objective import activations
from earwitness.explainer.optimisers import Arrays, first_latent
from earwitness.explainer.search import NEXT_STEP_FADES, SLOWEST_STEP_FADES, Budget, Classify
from earwitness.explainer.state import StoppedBy
from earwitness.inference.backend import FloatArray
from earwitness.vocabulary.objective import Objective


@dataclass(frozen=True)
class Wanted:
    """The `row_count` most extreme of the first `draws` draws of a pool, by the objective."""

    objective: Objective
    draws: int
    row_count: int


class Pool:
    """Draws between two batches: `ask` for the next latents, `tell` what they activate, until all are `done`."""

    def __init__(self, wanted: Sequence[Wanted], first_seed: int, latent_size: int) -> None:
        self.wanted = tuple(wanted)
        self.first_seed = first_seed
        self.size = max(each.draws for each in wanted)
        self.drawn = 0
        self._latent_size = latent_size
        self._best = [np.full(each.row_count, -np.inf, np.float32) for each in wanted]
        self._seeds = [np.full(each.row_count, -1, np.int64) for each in wanted]

    @property
    def done(self) -> bool:
        """Whether there is no draw left."""
        return self.drawn >= self.size

    @property
    def filled(self) -> bool:
        """Whether there is a draw for every row."""
        return self.drawn >= max(each.row_count for each in self.wanted)

    @property
    def layers(self) -> list[str]:
        """The layers that some objective names."""
        return list(dict.fromkeys(each.objective.layer for each in self.wanted))

    def ask(self, most: int) -> FloatArray:
        """The latents of the next draws, at most so many, float32 [n, Z]."""
        first = self.first_seed + self.drawn
        count = min(most, self.size - self.drawn)
        return latents_of(range(first, first + count), self._latent_size)

    def tell(self, activations: Mapping[str, FloatArray]) -> None:
        """Take the activations [n, units] by layer of the latents that were asked for."""
        count = len(next(iter(activations.values())))
        for index, each in enumerate(self.wanted):
            fresh = min(count, each.draws - self.drawn)
            if fresh > 0:
                self._take(index, activations[each.objective.layer][:fresh])
        self.drawn += count

    def found(self, index: int) -> tuple[NDArray[np.int64], FloatArray]:
        """Seeds and activations of what is wanted, the most extreme first, [row_count] each; the pool is `filled`."""
        sign = np.float32(self.wanted[index].objective.sign)
        return self._seeds[index].copy(), self._best[index] * sign

    def save(self) -> Arrays:
        """All of it, in fresh arrays."""
        return {
            "drawn": np.array(self.drawn, np.int64),
            "best": np.concatenate(self._best),
            "seeds": np.concatenate(self._seeds),
        }

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `save` was called."""
        self.drawn = int(saved["drawn"])
        edges = np.cumsum([each.row_count for each in self.wanted])[:-1]
        self._best = [part.copy() for part in np.split(saved["best"], edges)]
        self._seeds = [part.copy() for part in np.split(saved["seeds"], edges)]

    def _take(self, index: int, layer: FloatArray) -> None:
        objective = self.wanted[index].objective
        found = activations(objective, layer) * np.float32(objective.sign)
        first = self.first_seed + self.drawn
        values = np.concatenate([self._best[index], found])
        seeds = np.concatenate([self._seeds[index], np.arange(first, first + len(found), dtype=np.int64)])
        kept = np.argsort(-values, kind="stable")[: len(self._best[index])]  # of equal ones the first drawn
        self._best[index], self._seeds[index] = values[kept], seeds[kept]


def latents_of(seeds: Sequence[int] | NDArray[np.int64], latent_size: int) -> FloatArray:
    """The latents of some seeds, float32 [n, Z]."""
    return np.stack([first_latent(int(seed), latent_size) for seed in seeds])


@dataclass(frozen=True)
class Drawn:
    """So many draws of a pool are done, the last `count` of them in `seconds`."""

    count: int
    seconds: float
    time_left_s: float


async def draw(
    pool: Pool, classify: Classify, batch_rows: int, budget: Budget, first: Budget
) -> AsyncGenerator[Drawn | StoppedBy]:
    """One `Drawn` after each batch, then why it ended; the pool is between two batches at every event.

    `first` is the budget until there is a draw for every row, all the time there is.

    Raises: NothingSearchedYet when that ends before; NonFiniteModel; and whatever `classify` raises.
    """
    started, before, batch_s, slowest_s = time.monotonic(), pool.drawn, 0.0, 0.0
    while not pool.done:
        begun = time.monotonic()
        # As in a search: the time of the slowest batch is kept for what follows.
        allowed, kept_s = (budget, slowest_s) if pool.filled else (first, 0.0)
        try:
            if not allowed.allows(batch_s + kept_s):
                raise TimeoutError
            activations = await classify(pool.ask(batch_rows), pool.layers, Budget(allowed.end_s - kept_s))
        except TimeoutError:
            if not pool.filled:
                raise NothingSearchedYet(
                    f"the deadline came when {pool.drawn} draws were classified, fewer than there are rows to choose; "
                    "allow more time"
                ) from None
            yield StoppedBy.DEADLINE
            return
        _require_finite(activations, pool)
        pool.tell(activations)
        now = time.monotonic()
        batch_s = max(now - begun, batch_s * NEXT_STEP_FADES)
        slowest_s = max(now - begun, slowest_s * SLOWEST_STEP_FADES)
        count = len(next(iter(activations.values())))
        yield Drawn(count, now - begun, (now - started) / (pool.drawn - before) * (pool.size - pool.drawn))
    yield StoppedBy.COMPLETED


def _require_finite(activations: Mapping[str, FloatArray], pool: Pool) -> None:
    for name, layer in activations.items():
        finite = np.isfinite(layer).all(axis=1)
        if not finite.all():
            seed = pool.first_seed + pool.drawn + int(np.argmin(finite))
            raise NonFiniteModel(
                f"layer {name!r} is NaN or infinity for the latent of seed {seed}, an ordinary draw: the model is "
                "broken, export it again"
            )
