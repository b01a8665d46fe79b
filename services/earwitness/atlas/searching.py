"""Units that are not explained by draws: their settings, and the searches that an explainer does for them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from earwitness.atlas.values import Request
from earwitness.client import ExplainerClient, Model, Objective, Search, Settings, Target
from earwitness.client.recommending import PUBLISHED, STORED_QUANTILES
from earwitness.errors import FailedPrecondition
from earwitness.inference.backend import FloatArray

AT_ONCE = 2
"""Searches of one atlas that an explainer has at a time: one computes while the other's answer travels."""
Searcher = Callable[[Sequence[Search], Callable[[int, FloatArray], None]], None]
"""Does searches; the second argument is told of each, by its index, the latents [rows, Z] that it found."""


def settings_for(request: Request, model: Model, objective: Objective, real: FloatArray) -> tuple[Settings, int]:
    """The settings of an objective, and how many rows to search for each that is kept.

    `real` [S] are its activations of the real excerpts that stand for it: what a way stops at that has a target.
    """
    found = model.recommendation(objective)
    if request.way is None and found is not None:
        return found.settings, max(1, found.oversampling)
    if request.way in (None, "draws"):
        return Settings("draws", draws=request.draws), request.oversampling
    if request.way in ("adam", "sgd"):
        return replace(PUBLISHED.settings, optimiser=request.way), request.oversampling
    low, high = (float(f"{each:.4g}") for each in np.quantile(real.astype(np.float64), STORED_QUANTILES))
    target = Target(low, high)
    if request.way == "walk":
        return Settings("walk", 0.3, steps=200, target=target), request.oversampling
    return Settings("normalised", 0.2, steps=100, target=target, start_draws=8), request.oversampling


def searcher(connect: Callable[[], ExplainerClient]) -> Searcher:
    """One that asks an explainer, and is told by `connect` how to reach it."""

    def search(searches: Sequence[Search], take: Callable[[int, FloatArray], None]) -> None:
        asyncio.run(_search(connect, searches, take))

    return search


async def _search(
    connect: Callable[[], ExplainerClient], searches: Sequence[Search], take: Callable[[int, FloatArray], None]
) -> None:
    turn = asyncio.Semaphore(AT_ONCE)
    async with connect() as explainer:

        async def one(index: int, search: Search) -> None:
            async with turn:
                result = await explainer.explain(search)
            if result.summary.stopped_by != "completed":
                raise FailedPrecondition(f"the search of {search.objective} was stopped by its deadline; ask again")
            take(index, np.stack([each.latent for each in result.explanations]))

        async with asyncio.TaskGroup() as group:
            for index, search in enumerate(searches):
                group.create_task(one(index, search))
