"""Rows that stop at targets: where closed forms say, and at the first iterate that is there."""

import math

import numpy as np
import pytest

from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.state import StoppedBy
from earwitness.explainer.ways import GOLDEN, aim
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Settings, Target
from tests.unit.explainer.analytic import MATRIX, OUT_0, Z, hills, linear, plan_rows, run, waves

LEAST_0 = Objective("out", 0, "minimise")
MIX = Objective("out", None, "minimise", {0: 0.5, 2: -1.5})
WAYS = [
    Settings("adam", 0.05, prior_weight=0.0),
    Settings("sgd", 0.05, prior_weight=0.0),
    Settings("normalised", 0.2),
    Settings("walk", 0.3, steps=400),
]


def towards(way: Settings, low: float, high: float) -> Settings:
    """The way with a target in activations."""
    return Settings(**{**vars(way), "target": Target(low, high)})


@pytest.mark.parametrize(("objective", "target"), [(OUT_0, 6.0), (LEAST_0, -6.0)])
async def test_steps_of_one_length_reach_it_after_as_many_as_the_distance_takes(objective, target) -> None:
    # a(z) = z·w: every step gains rate · ‖w‖.
    rate, slope = 0.25, MATRIX[2]
    way = Settings("normalised", rate, target=Target(target, target))
    _, outcome = await run(plan_rows([Row(seed) for seed in range(8)], objective=objective, settings=way), linear())
    sign, length = objective.sign, float(np.linalg.norm(slope))
    for seed in range(8):
        start = sign * float(first_latent(seed, Z) @ slope)
        steps = math.ceil((sign * target - start) / (rate * length))
        assert outcome.best_steps[seed] == steps
        assert sign * outcome.activations[seed] == pytest.approx(start + steps * rate * length, rel=1e-5)
        expected = first_latent(seed, Z) + sign * steps * rate * slope / length
        np.testing.assert_allclose(outcome.latents[seed], expected, rtol=1e-4, atol=1e-5)
        assert len(outcome.trajectories[seed].activations) == steps + 1
    assert outcome.row_step_count == outcome.best_steps.sum()
    assert outcome.evaluation_count == outcome.row_step_count + 8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("objective", "ends"), [(OUT_0, (2.5, 4.0)), (LEAST_0, (-4.0, -2.5)), (MIX, (-9.0, -7.0))])
async def test_each_row_stops_at_the_first_iterate_that_reaches_its_own(way, objective, ends) -> None:
    model, sign = linear(), objective.sign
    plan = plan_rows([Row(seed) for seed in range(12)], objective=objective, settings=towards(way, *ends))
    targets = [row.target for row in plan.rows]
    assert len(set(targets)) == 12
    _, outcome = await run(plan, model)
    for row, activation, best_step, curve in zip(
        plan.rows, outcome.activations.tolist(), outcome.best_steps, outcome.trajectories, strict=True
    ):
        assert row.reached_by(activation)
        assert sign * activation >= sign * row.target * (1 - sign * 1e-6)
        assert best_step == len(curve.activations) - 1
        assert activation == curve.activations[best_step]
        assert not any(row.reached_by(each) for each in curve.activations[:-1].tolist())
    assert outcome.evaluation_count == sum(model.calls) < 12 * 100
    # Where a row stops depends on its own seed alone.
    _, alone = await run(plan_rows([Row(7)], objective=objective, settings=towards(way, *ends)), linear())
    assert alone.best_steps[0] == outcome.best_steps[7]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_out_of_reach_is_told_after_all_steps(way) -> None:
    model = waves()  # at most 1
    settings = Settings(**{**vars(way), "target": Target(1.5, 2.0), "steps": 30})
    plan = plan_rows([Row(seed) for seed in range(5)], settings=settings)
    _, outcome = await run(plan, model)
    assert outcome.stopped_by is StoppedBy.COMPLETED
    assert outcome.row_step_count == 5 * 30
    assert outcome.evaluation_count == sum(model.calls) == 5 * 31
    for row, activation, curve in zip(plan.rows, outcome.activations, outcome.trajectories, strict=True):
        assert not row.reached_by(activation)
        assert activation == curve.activations.max()


async def test_a_row_that_begins_beyond_its_target_takes_no_step() -> None:
    way = Settings("normalised", target=Target(-100.0, -100.0))
    _, outcome = await run(plan_rows([Row(0), Row(1)], settings=way), linear())
    assert outcome.best_steps.tolist() == [0, 0]
    assert outcome.row_step_count == 0
    assert (outcome.latents[1] == first_latent(1, Z)).all()


async def test_a_row_whose_gradient_is_zero_stands_still() -> None:
    model = hills()
    slopes, dead = model.slopes, first_latent(1, Z)
    model.slopes = lambda z: slopes(z) * (z != dead).any(axis=1)[:, None, None]
    way = Settings("normalised", steps=5)
    _, outcome = await run(plan_rows([Row(0), Row(1)], settings=way), model)
    assert (outcome.latents[1] == dead).all()
    assert outcome.diverged_steps == (None, None)
    assert outcome.activations[0] > outcome.trajectories[0].activations[0]


def test_targets_are_spread_evenly_whatever_the_seeds() -> None:
    target = Target(2.0, 3.0)
    assert [aim(target, seed) for seed in (0, 1, 2)] == pytest.approx([2.0, 2 + GOLDEN, 2 + 2 * GOLDEN - 1])
    for first in (0, 1000, 2**62):
        found = np.sort([aim(target, first + each) for each in range(50)])
        gaps = np.diff(np.concatenate([found, found[:1] + 1]))
        assert gaps.max() < 3 / 50, "no stretch is left out"
    assert aim(Target(1.5, 1.5), 2**63 - 1) == 1.5


def test_the_target_is_compared_as_it_is_sent() -> None:
    row = plan_rows([Row(3)], settings=Settings(target=Target(0.1, 0.1))).rows[0]
    assert row.reached_by(float(np.float32(0.1)))  # greater than 0.1 in double precision or not
    assert not row.reached_by(float(np.nextafter(np.float32(0.1), np.float32(0))))
    assert not plan_rows([Row(3)]).rows[0].reached_by(1e9)
