"""Prior sampling: every draw is classified once, and of all that is drawn only what can still win is kept."""

import time
import tracemalloc

import numpy as np
import pytest

from earwitness.explainer.draws import Drawn, Pool, Wanted, draw, latents_of
from earwitness.explainer.errors import NothingSearchedYet
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.search import Budget
from earwitness.explainer.state import StoppedBy
from earwitness.storage import blobs
from earwitness.vocabulary.objective import Objective
from tests.unit.explainer.analytic import MATRIX, OUT_0, Z, waves

LEAST_0 = Objective("out", 0, "minimise")
MIX = Objective("hidden", None, "maximise", {0: 0.5, 1: -1.5})
WANTED = (Wanted(OUT_0, 500, 7), Wanted(LEAST_0, 500, 3), Wanted(MIX, 130, 4))
FIRST = 40


def classified(model, calls=None):
    async def classify(latents, layers, budget):
        if calls is not None:
            calls.append(len(latents))
        return await model.classify(latents, layers)

    return classify


async def run(pool, classify, batch=64, budget=None, first=None):
    return [event async for event in draw(pool, classify, batch, budget or Budget(), first or Budget())]


async def test_the_most_extreme_of_the_draws_are_found_for_every_objective_at_once() -> None:
    calls: list[int] = []
    pool = Pool(WANTED, FIRST, Z)
    events = await run(pool, classified(waves(), calls))
    assert sum(calls) == 500 == pool.drawn, "each draw is classified once, whatever looks at it"
    assert events[-1] is StoppedBy.COMPLETED
    units = np.sin(latents_of(range(FIRST, FIRST + 500), Z) @ MATRIX.T)
    truth = [units[:, 2], units[:, 2], units[:130, 0] * 0.5 - units[:130, 1] * 1.5]
    for index, (wanted, values) in enumerate(zip(WANTED, truth, strict=True)):
        order = np.argsort(-values * wanted.objective.sign)[: wanted.row_count]
        seeds, activations = pool.found(index)
        assert seeds.tolist() == (order + FIRST).tolist()
        np.testing.assert_allclose(activations, values[order], atol=1e-6)


def test_a_draw_is_the_latent_of_its_seed() -> None:
    pool = Pool(WANTED, 2**63 - 501, Z)
    latents = pool.ask(3)
    assert (latents[2] == first_latent(2**63 - 499, Z)).all()


async def test_equal_activations_keep_the_first_drawn() -> None:
    async def level(latents, layers, budget):
        return {"out": np.zeros((len(latents), 3), np.float32)}

    pool = Pool([Wanted(OUT_0, 100, 5)], 7, Z)
    await run(pool, level, batch=16)
    assert pool.found(0)[0].tolist() == [7, 8, 9, 10, 11]


async def test_a_pool_goes_on_where_it_was_saved() -> None:
    whole, part = Pool(WANTED, FIRST, Z), Pool(WANTED, FIRST, Z)
    await run(whole, classified(waves()))
    events = draw(part, classified(waves()), 64, Budget(), Budget())
    for _ in range(3):
        await anext(events)
    resumed = Pool(WANTED, FIRST, Z)
    resumed.restore(blobs.decode(blobs.encode(part.save())))
    assert resumed.drawn == 192
    calls: list[int] = []
    await run(resumed, classified(waves(), calls))
    assert sum(calls) == 500 - 192
    for index in range(len(WANTED)):
        for one, other in zip(whole.found(index), resumed.found(index), strict=True):
            assert (one == other).all()


async def test_the_deadline_leaves_the_best_of_the_draws_so_far() -> None:
    pool = Pool(WANTED, FIRST, Z)

    async def until_three(latents, layers, budget):
        if pool.drawn >= 192:
            raise TimeoutError
        return await waves().classify(latents, layers)

    events = await run(pool, until_three)
    assert (events[-1], pool.drawn) == (StoppedBy.DEADLINE, 192)
    alone = Pool([Wanted(OUT_0, 192, 7)], FIRST, Z)
    await run(alone, classified(waves()))
    assert (pool.found(0)[0] == alone.found(0)[0]).all()


async def test_until_there_is_a_draw_for_every_row_all_the_time_is_used() -> None:
    over, enough = Budget(time.monotonic() - 1), Budget(time.monotonic() + 60)
    pool = Pool(WANTED, FIRST, Z)
    events = await run(pool, classified(waves()), batch=4, budget=over, first=enough)
    assert (events[-1], pool.drawn) == (StoppedBy.DEADLINE, 8), "7 rows were wanted"
    with pytest.raises(NothingSearchedYet, match="0 draws were classified, fewer than there are rows"):
        await run(Pool(WANTED, FIRST, Z), classified(waves()), budget=over, first=over)


async def test_memory_does_not_grow_with_the_draws() -> None:
    """100 000 latents alone would be 51 MB."""

    async def cheap(latents, layers, budget):
        return {"out": latents[:, :3]}

    pool = Pool([Wanted(OUT_0, 20_000, 50)], 0, 128)
    tracemalloc.start()
    try:
        async for event in draw(pool, cheap, 256, Budget(), Budget()):
            assert isinstance(event, Drawn | StoppedBy)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**21
