"""Rows that begin with the best of a few draws: which is chosen, and what it costs."""

import asyncio
import time

import numpy as np
import pytest

from earwitness.explainer.errors import NonFiniteModel
from earwitness.explainer.optimisers import first_latent, start_latent
from earwitness.explainer.search import DRAWS_AT_ONCE, Budget, search
from earwitness.explainer.starts import Starts
from earwitness.explainer.state import Outcome, StoppedBy
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Settings, Target
from tests.unit.explainer.analytic import MATRIX, OUT_0, Model, Z, linear, plan_rows, run, waves

LEAST_0 = Objective("out", 0, "minimise")
HIDDEN = Objective("hidden", None, "maximise", {0: 1.0, 1: -2.0})


def best_of(draws: int, target: Target | None = None) -> Settings:
    """Normalised steps from the best of so many draws."""
    return Settings("normalised", steps=3, start_draws=draws, target=target)


def drawn(seed: int, count: int, slope=MATRIX[2]) -> np.ndarray:
    """What the linear unit makes of the draws of a seed."""
    return np.stack([start_latent(seed, draw, Z) for draw in range(count)]) @ slope


def test_draws_are_of_seed_and_number_alone_and_different() -> None:
    assert (start_latent(3, 0, Z) == first_latent(3, Z)).all()
    found = {start_latent(seed, draw, Z).tobytes() for seed in (0, 1, 2**32, 2**62) for draw in range(64)}
    assert len(found) == 4 * 64
    many = np.stack([start_latent(seed, draw, 50) for seed in range(40) for draw in range(1, 11)])
    assert many.mean() == pytest.approx(0, abs=4 / np.sqrt(many.size))
    assert many.std() == pytest.approx(1, abs=4 / np.sqrt(2 * many.size))


@pytest.mark.parametrize(("objective", "sign"), [(OUT_0, 1), (LEAST_0, -1)])
async def test_the_most_extreme_is_the_first_iterate(objective, sign) -> None:
    model = linear()
    rows = [Row(seed) for seed in range(6)]
    _, outcome = await run(plan_rows(rows, objective=objective, settings=best_of(16)), model)
    for seed in range(6):
        best = sign * (sign * drawn(seed, 16)).max()
        assert outcome.trajectories[seed].activations[0] == pytest.approx(best, rel=1e-5)
    assert model.calls == [6 * 16] + [6] * 4
    assert outcome.evaluation_count == 6 * 16 + 6 * 4
    assert outcome.row_step_count == 6 * 3


@pytest.mark.parametrize(("objective", "sign"), [(OUT_0, 1), (LEAST_0, -1)])
@pytest.mark.parametrize("level", [0.7, -50.0])
async def test_the_most_extreme_that_has_not_passed_or_the_nearest(objective, sign, level) -> None:
    target = Target(sign * level, sign * level)
    rows = [Row(seed) for seed in range(6)]
    plan = plan_rows(rows, objective=objective, settings=best_of(16, target))
    _, outcome = await run(plan, linear())
    for seed in range(6):
        heights = sign * drawn(seed, 16)
        ahead = heights[heights <= level]
        best = ahead.max() if len(ahead) else heights.min()
        assert sign * outcome.trajectories[seed].activations[0] == pytest.approx(best, rel=1e-5)
        if not len(ahead):
            assert (outcome.best_steps[seed], plan.rows[seed].reached_by(outcome.activations[seed])) == (0, True)


async def test_one_draw_is_the_row_alone_and_costs_nothing() -> None:
    model = waves()
    _, outcome = await run(plan_rows([Row(0), Row(1)], settings=best_of(1)), model)
    assert model.calls == [2] * 4
    assert (Starts(plan_rows([Row(0)])).latents()[0] == first_latent(0, Z)).all()
    assert outcome.evaluation_count == 8


async def test_rows_of_one_seed_share_their_draws() -> None:
    seen = []
    model = linear()

    async def activate(latents, layers, budget):
        seen.extend(latents.tolist())
        assert layers == ["hidden", "out"]
        return await model.classify(latents, layers)

    rows = [
        Row(seed, objective, best_of(draws))
        for seed in (0, 1)
        for objective, draws in ((OUT_0, 8), (LEAST_0, 20), (HIDDEN, 20))
    ]
    rows.append(Row(2, OUT_0, best_of(1)))
    *_, outcome = [event async for event in search(plan_rows(rows), model.evaluate, activate, Budget())]
    assert len(seen) == len(np.unique(seen, axis=0)) == 2 * 20
    firsts = [curve.activations[0] for curve in outcome.trajectories]
    mixed = MATRIX[0] - 2 * MATRIX[1]
    for at, seed in ((0, 0), (3, 1)):
        expected = [drawn(seed, 8).max(), drawn(seed, 20).min(), drawn(seed, 20, mixed).max()]
        assert firsts[at : at + 3] == pytest.approx(expected, rel=1e-5)
    assert firsts[6] == pytest.approx(drawn(2, 1)[0], rel=1e-5)


async def test_draws_are_told_of_in_batches() -> None:
    rows = [Row(seed) for seed in range(10)]
    model = linear()
    progress, _ = await run(plan_rows(rows, settings=best_of(40)), model)
    sizes = [DRAWS_AT_ONCE] * 3 + [400 - 3 * DRAWS_AT_ONCE]
    assert model.calls[:4] == sizes
    assert [(event.drawing, event.step, event.row_count) for event in progress[:4]] == [(True, 0, n) for n in sizes]
    assert not any(event.drawing for event in progress[4:])
    best = np.stack([event.best_activations for event in progress])
    assert (np.diff(best[:4], axis=0) >= 0).all()
    np.testing.assert_allclose(best[3], [drawn(seed, 40).max() for seed in range(10)], rtol=1e-5)
    assert all(event.time_left_s > 0 for event in progress[:-1])


async def test_a_draw_that_is_not_finite_is_not_chosen() -> None:
    def units(z):
        return np.where((z == first_latent(0, Z)).all(axis=1)[:, None], np.nan, linear().units(z))

    _, outcome = await run(plan_rows([Row(0)], settings=best_of(8)), Model(units, linear().slopes))
    assert outcome.trajectories[0].activations[0] == pytest.approx(drawn(0, 8)[1:].max(), rel=1e-5)
    with pytest.raises(NonFiniteModel):
        await run(
            plan_rows([Row(0)], settings=best_of(8)), Model(lambda z: linear().units(z) * np.nan, linear().slopes)
        )


@pytest.mark.parametrize("hangs_at", [1, 2])
async def test_a_deadline_while_they_are_drawn_leaves_the_best_of_those(hangs_at) -> None:
    model, calls = linear(), 0

    async def activate(latents, layers, budget):
        nonlocal calls
        calls += 1
        async with asyncio.timeout(budget.left_s()):
            await asyncio.sleep(3600 if calls == hangs_at else 0)
        return await model.classify(latents, layers)

    plan = plan_rows([Row(seed) for seed in range(DRAWS_AT_ONCE)], settings=best_of(4))
    now = time.monotonic()
    events = [
        event async for event in search(plan, model.evaluate, activate, Budget(now + 0.5), first=Budget(now + 120))
    ]
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert outcome.stopped_by is StoppedBy.DEADLINE
    assert outcome.row_step_count == DRAWS_AT_ONCE
    known = hangs_at - 1  # the first batch has draw 0 of every row
    assert outcome.evaluation_count == DRAWS_AT_ONCE * (known + 2)
    assert outcome.trajectories[5].activations[0] == pytest.approx(drawn(5, 1)[0], rel=1e-5)


async def test_a_search_cancelled_while_they_are_drawn_ends() -> None:
    entered = asyncio.Event()

    async def activate(latents, layers, budget):
        entered.set()
        await asyncio.sleep(3600)

    async def consume():
        async for _ in search(plan_rows([Row(0)], settings=best_of(4)), linear().evaluate, activate, Budget()):
            pass

    task = asyncio.create_task(consume())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
