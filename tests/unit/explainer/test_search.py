"""The search loop on models with known answers."""

import asyncio
import time

import numpy as np
import pytest

from earwitness.explainer.errors import NonFiniteModel, NothingSearchedYet, ZeroGradient
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.search import Budget, search
from earwitness.explainer.state import Outcome, StoppedBy
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Settings, Target
from tests.unit.explainer.analytic import CENTRES, MATRIX, OUT_0, UNITS, Model, Z, hills, linear, plan_rows, run, waves

LEAST_0 = Objective("out", 0, "minimise")
HIDDEN_1 = Objective("hidden", 1, "maximise")
MIX = Objective("out", None, "maximise", {0: 0.5, 2: -1.5})
WAYS = ["adam", "sgd", "normalised", "walk"]


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("objective", [OUT_0, LEAST_0, HIDDEN_1, MIX])
async def test_reaches_the_closed_form_optimum(optimiser, objective) -> None:
    # maximise z·w − λ‖z‖² (or minimise z·w + λ‖z‖²): z = ±w/2λ
    prior = 0.5
    rate = 0.05 if optimiser == "adam" else 0.3
    settings = Settings(optimiser, rate, prior_weight=prior, steps=400)
    plan = plan_rows([Row(seed) for seed in range(4)], objective=objective, settings=settings)
    _, outcome = await run(plan, linear())
    optimum = plan.unit_weights[0] @ MATRIX / (2 * prior)
    last = [curve.latent_norms[-1] for curve in outcome.trajectories]
    np.testing.assert_allclose(last, np.linalg.norm(optimum), rtol=1e-3)
    ends = [curve.activations[-1] for curve in outcome.trajectories]
    np.testing.assert_allclose(ends, objective.sign * plan.unit_weights[0] @ MATRIX @ optimum, rtol=1e-3)


@pytest.mark.parametrize(("objective", "unit"), [(OUT_0, 2), (HIDDEN_1, 1)])
async def test_climbs_the_hill(objective, unit) -> None:
    settings = Settings(learning_rate=0.05, prior_weight=0, steps=500)
    _, outcome = await run(plan_rows([Row(0), Row(1)], objective=objective, settings=settings), hills())
    np.testing.assert_allclose(outcome.latents, np.stack([CENTRES[unit]] * 2), atol=1e-2)
    np.testing.assert_allclose(outcome.activations, 0, atol=1e-3)


async def test_keeps_the_best_iterate_not_the_last() -> None:
    # A rate this high jumps over the top and back for ever.
    settings = Settings(learning_rate=2.0, prior_weight=0, steps=40)
    _, outcome = await run(plan_rows([Row(seed) for seed in range(8)], settings=settings), hills())
    for row, curve in enumerate(outcome.trajectories):
        best = outcome.best_steps[row]
        assert outcome.activations[row] == curve.activations.max() == curve.activations[best]
        assert best == np.argmax(curve.activations)  # the first of equals
        away = outcome.latents[row] - CENTRES[2]
        assert -(away**2).sum() == pytest.approx(outcome.activations[row], rel=1e-5)
    assert any(outcome.best_steps < 40)


async def test_minimising_keeps_the_lowest() -> None:
    settings = Settings(learning_rate=3.0, steps=30)
    _, outcome = await run(plan_rows([Row(seed) for seed in range(5)], objective=LEAST_0, settings=settings), waves())
    for row, curve in enumerate(outcome.trajectories):
        assert outcome.activations[row] == curve.activations.min()
        assert outcome.best_steps[row] == np.argmin(curve.activations)


async def test_the_first_latent_can_be_the_best() -> None:
    # With nothing but the prior to gain, every step loses activation of a linear unit.
    settings = Settings("sgd", 0.1, prior_weight=100.0, steps=5)
    seed = next(seed for seed in range(50) if first_latent(seed, Z) @ MATRIX[2] > 1)
    _, outcome = await run(plan_rows([Row(seed)], settings=settings), linear())
    curve = outcome.trajectories[0].activations
    assert outcome.best_steps[0] == np.argmax(curve)


async def test_trajectory_has_every_iterate() -> None:
    plan = plan_rows([Row(3)], settings=Settings("sgd", 0.1, prior_weight=0.25, steps=2))
    _, outcome = await run(plan, linear())
    curve = outcome.trajectories[0]
    z0 = plan.first_latents[0]
    g0 = MATRIX[2] - 0.5 * z0
    z1 = z0 + 0.1 * g0
    z2 = z1 + 0.05 * (MATRIX[2] - 0.5 * z1)
    path = np.stack([z0, z1, z2])
    np.testing.assert_allclose(curve.activations, path @ MATRIX[2], rtol=1e-5)
    np.testing.assert_allclose(curve.latent_norms, np.linalg.norm(path, axis=1), rtol=1e-6)
    np.testing.assert_allclose(curve.gradient_norms, np.linalg.norm(MATRIX[2] - 0.5 * path, axis=1), rtol=1e-5)
    assert outcome.row_step_count == 2
    assert outcome.stopped_by is StoppedBy.COMPLETED


def many_rows():
    """50 rows of several objectives and settings."""
    draw = np.random.default_rng(1)
    objectives = [OUT_0, LEAST_0, HIDDEN_1, MIX, OUT_0]
    return [
        Row(
            int(draw.integers(2**40)),
            objectives[row % 5],
            Settings(
                WAYS[row % 4],
                float(draw.uniform(0.001, 0.3)),
                prior_weight=0.01 if row % 5 and WAYS[row % 4] != "walk" else 0.0,
                steps=int(draw.integers(1, 40)),
                weight_decay=0.1 if row % 5 == 0 and WAYS[row % 4] != "walk" else 0.0,
                target=(None, Target(-0.5, 0.5))[row % 3 == 0],
                start_draws=(1, 1, 6)[row % 3],
            ),
        )
        for row in range(50)
    ]


def one_by_one(model: Model) -> Model:
    """The model as a backend whose arithmetic does not depend on the batch."""

    def each(function):
        return lambda z: np.concatenate([function(row[None]) for row in z])

    return Model(each(model.units), each(model.slopes))


async def test_a_row_does_not_depend_on_the_others_bit_for_bit() -> None:
    rows = many_rows()
    _, together = await run(plan_rows(rows), one_by_one(waves()))
    for index in range(50):
        _, alone = await run(plan_rows([rows[index]]), one_by_one(waves()))
        assert (alone.latents[0] == together.latents[index]).all()
        assert alone.activations[0] == together.activations[index]
        assert alone.best_steps[0] == together.best_steps[index]
        for name in ("activations", "latent_norms", "gradient_norms"):
            ours, theirs = (
                getattr(outcome.trajectories[row], name) for outcome, row in ((alone, 0), (together, index))
            )
            assert (ours == theirs).all()


async def test_the_first_step_may_take_all_the_time_there_is() -> None:
    plan = plan_rows([Row(0, settings=Settings(steps=50))])
    over, enough = Budget(time.monotonic() - 1), Budget(time.monotonic() + 60)
    with pytest.raises(NothingSearchedYet):
        [event async for event in search(plan, waves().evaluate, waves().activate, over)]
    *_, outcome = [event async for event in search(plan, waves().evaluate, waves().activate, over, first=enough)]
    assert isinstance(outcome, Outcome)
    assert (outcome.stopped_by, outcome.row_step_count) == (StoppedBy.DEADLINE, 1)


async def test_rows_leave_the_batch_when_they_are_done() -> None:
    model = waves()
    plan = plan_rows([Row(0, settings=Settings(steps=steps)) for steps in (1, 3, 3, 6)])
    progress, outcome = await run(plan, model)
    assert model.calls == [4, 4, 3, 3, 1, 1, 1]
    assert [len(curve.activations) for curve in outcome.trajectories] == [2, 4, 4, 7]
    assert outcome.row_step_count == 1 + 3 + 3 + 6
    assert [event.step for event in progress] == [0, 1, 2, 3, 4, 5, 6]
    assert [event.row_count for event in progress] == model.calls
    assert {event.step_count for event in progress} == {6}
    assert progress[-1].time_left_s == 0
    assert all(event.time_left_s > 0 for event in progress[:-1])
    np.testing.assert_array_equal(progress[-1].best_activations, outcome.activations)


async def test_fewer_adam_steps_are_a_prefix_of_more() -> None:
    rows = [Row(seed) for seed in range(6)]
    _, short = await run(plan_rows(rows, settings=Settings(learning_rate=0.1, steps=100)), waves())
    _, long = await run(plan_rows(rows, settings=Settings(learning_rate=0.1, steps=500)), waves())
    for few, many in zip(short.trajectories, long.trajectories, strict=True):
        assert (few.activations == many.activations[:101]).all()
        assert (few.gradient_norms == many.gradient_norms[:101]).all()


async def test_the_same_search_again_is_the_same() -> None:
    first, second = [(await run(plan_rows(many_rows()), waves()))[1] for _ in range(2)]
    assert (first.latents == second.latents).all()
    assert (first.activations == second.activations).all()


async def test_a_cancelled_search_stops_within_one_step() -> None:
    model, entered = waves(), asyncio.Event()
    calls = 0

    async def evaluate(*arrays, timeout_s=None):
        nonlocal calls
        calls += 1
        if calls == 4:
            entered.set()
            await asyncio.sleep(60)
        return await model.evaluate(*arrays)

    async def consume():
        async for _ in search(plan_rows([Row(0)]), evaluate, waves().activate, Budget()):
            pass

    task = asyncio.create_task(consume())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == 4


BUDGET_S = 1.5


class Slow:
    """A model that takes `step_s` for each evaluation and honours time-outs."""

    def __init__(self, step_s: float) -> None:
        self.model, self.step_s, self.timeouts = waves(), step_s, []

    async def evaluate(self, *arrays, timeout_s=None):
        self.timeouts.append(timeout_s)
        async with asyncio.timeout(timeout_s):
            await asyncio.sleep(self.step_s)
        return await self.model.evaluate(*arrays)

    async def activate(self, latents, layers, budget):
        self.timeouts.append(budget.left_s())
        async with asyncio.timeout(budget.left_s()):
            await asyncio.sleep(self.step_s)
        return await self.model.activate(latents, layers, budget)


async def test_a_budget_ends_the_search_with_the_best_so_far() -> None:
    slow = Slow(0.05)  # all steps would take more than three times the budget
    _, outcome = await run(plan_rows([Row(0), Row(1)]), slow, Budget(time.monotonic() + BUDGET_S))
    assert outcome.stopped_by is StoppedBy.DEADLINE
    done = len(outcome.trajectories[0].activations)
    assert 3 <= done <= 1 + BUDGET_S / slow.step_s
    assert outcome.row_step_count == 2 * (done - 1)
    assert outcome.activations[0] == outcome.trajectories[0].activations.max()
    assert all(timeout_s < BUDGET_S for timeout_s in slow.timeouts)
    # The first steps of a whole search are the same.
    _, whole = await run(plan_rows([Row(0), Row(1)]), waves())
    assert (whole.trajectories[1].activations[:done] == outcome.trajectories[1].activations).all()


async def test_a_step_that_suddenly_hangs_is_given_up_at_the_end_of_the_budget() -> None:
    slow = Slow(0.001)
    events = search(plan_rows([Row(0)]), slow.evaluate, slow.activate, Budget(time.monotonic() + BUDGET_S))
    async with asyncio.timeout(60):
        async for event in events:
            if isinstance(event, Outcome):
                outcome = event
            elif event.step == 5:
                slow.step_s = 3600
    assert outcome.stopped_by is StoppedBy.DEADLINE
    assert len(outcome.trajectories[0].activations) == 6


@pytest.mark.parametrize("budget_s", [-1.0, 0.03, 0.06])
async def test_a_budget_that_ends_before_the_first_step_is_an_error(budget_s) -> None:
    with pytest.raises(NothingSearchedYet, match="allow more time"):
        await run(plan_rows([Row(0)]), Slow(0.05), Budget(time.monotonic() + budget_s))


async def test_what_evaluate_raises_stops_the_search() -> None:
    async def broken(*arrays, timeout_s=None):
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        async for _ in search(plan_rows([Row(0)]), broken, waves().activate, Budget()):
            pass


async def test_a_row_that_diverges_stops_and_keeps_its_best() -> None:
    # Plain steps of this rate multiply the distance to the top by 1 − 2·10 = −19 each.
    wild = Settings("sgd", 10.0, prior_weight=0, steps=60)
    calm = Settings(learning_rate=0.1, steps=60)
    model = hills()
    progress, outcome = await run(plan_rows([Row(0, settings=wild), Row(1, settings=calm)]), model)
    step = outcome.diverged_steps[0]
    assert step is not None
    assert 10 < step < 60
    curve = outcome.trajectories[0]
    assert len(curve.activations) == step
    for values in (curve.activations, curve.latent_norms, curve.gradient_norms):
        assert np.isfinite(values).all()
    assert outcome.best_steps[0] == 0
    assert np.isfinite(outcome.latents).all()
    assert model.calls == [2] * (step + 1) + [1] * (60 - step)
    assert outcome.diverged_steps[1] is None
    assert len(outcome.trajectories[1].activations) == 61
    assert outcome.row_step_count == step - 1 + 60
    assert np.isfinite(progress[-1].best_activations).all()


async def test_the_search_ends_when_every_row_has_diverged() -> None:
    wild = Settings("sgd", 10.0, prior_weight=0, steps=1000)
    progress, outcome = await run(plan_rows([Row(0), Row(1)], settings=wild), hills())
    assert outcome.stopped_by is StoppedBy.COMPLETED
    assert len(progress) < 100
    assert None not in outcome.diverged_steps


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["activation", "gradient"])
async def test_a_model_that_is_not_finite_at_the_first_latent_is_refused(bad, where) -> None:
    model = waves()
    if where == "gradient":
        model.spoil = lambda gradient: np.where(np.arange(len(gradient))[:, None] == 1, bad, gradient)
    else:
        units = model.units
        model.units = lambda z: np.where(np.arange(len(z))[:, None] == 1, bad, units(z))
    with pytest.raises(NonFiniteModel, match=r"rows\[1\] \(seed 8\)"), np.errstate(invalid="ignore"):
        await run(plan_rows([Row(7), Row(8)]), model)


@pytest.mark.parametrize("prior", [0.0, 0.001, 0.3, 77.7])
async def test_an_objective_without_gradient_is_refused_by_name(prior) -> None:
    model = waves()
    slopes = model.slopes
    model.slopes = lambda z: slopes(z) * (np.arange(2 + UNITS) != 2)[:, None]  # out 0 is dead
    settings = Settings(prior_weight=prior)
    with pytest.raises(ZeroGradient, match=r"layer 'out' unit 0 .* each of its 2 rows") as caught:
        await run(plan_rows([Row(0), Row(1, HIDDEN_1), Row(2)], settings=settings), model)
    assert caught.value.metadata == {"layer": "out", "model": "analytic"}
    assert model.calls == [3]
    _, outcome = await run(plan_rows([Row(1, HIDDEN_1)], settings=settings), model)
    assert outcome.stopped_by is StoppedBy.COMPLETED


async def test_one_row_without_gradient_among_others_goes_on_and_is_counted() -> None:
    model = waves()
    dead = first_latent(1, Z)
    slopes = model.slopes
    model.slopes = lambda z: slopes(z) * (z != dead).any(axis=1)[:, None, None]
    settings = Settings("sgd", 0.1, prior_weight=0, steps=4)
    progress, outcome = await run(plan_rows([Row(0), Row(1)], settings=settings), model)
    assert [event.zero_gradient_count for event in progress] == [1] * 5
    assert (outcome.latents[1] == dead).all()
