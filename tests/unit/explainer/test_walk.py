"""The walk that keeps the prior: its proposals, what it takes, and that nothing else than seed and step moves it."""

import numpy as np
import pytest

from earwitness.explainer.errors import NonFiniteModel
from earwitness.explainer.moving import ascent
from earwitness.explainer.objective import unit_weights
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.plan import PlannedRow, plan_rows
from earwitness.explainer.search import Budget, require_searchable
from earwitness.explainer.state import StoppedBy
from earwitness.explainer.walk import NARROWEST, WIDEST
from earwitness.explainer.ways import Resolved
from earwitness.vocabulary.search import Row, Settings, Target
from tests.unit.explainer import analytic
from tests.unit.explainer.analytic import MATRIX, OUT_0, Model, Z, bundle, linear, run, waves

WALK = Resolved("walk", learning_rate=0.3, prior_weight=0.0, steps=50)
NONE = np.float32(np.inf)


def walking(seeds, target=NONE, rate=0.3, size=4):
    """A walk from the first latents of the seeds, and these."""
    start = np.stack([first_latent(seed, size) for seed in seeds])
    settings = [Resolved("walk", rate, prior_weight=0.0)] * len(seeds)
    return ascent(start, settings, seeds, np.full(len(seeds), target, np.float32)), start


def step(moving, activation):
    """What `activation` [n] of the latents asked leaves, and the next latents."""
    rows = np.arange(len(activation))
    settled, heights = moving.settle(rows, moving.ask(rows), np.asarray(activation, np.float32))
    moving.tell(rows, np.zeros_like(settled))
    return settled, heights, moving.ask(rows)


def test_a_proposal_is_of_the_seed_and_the_step_alone() -> None:
    moving, start = walking([5, 2**62])
    width, place = np.array([0.3, 0.3]), start
    for number in range(1, 8):
        # Row 0 takes every proposal, row 1 none.
        settled, _, asked = step(moving, [number, -number])
        place = np.stack([settled[0], start[1]])
        assert (settled == place).all()
        if number > 1:
            width = np.clip(width * [1.2, 0.95], NARROWEST, WIDEST)
        for row, seed in enumerate((5, 2**62)):
            noise = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, number))).standard_normal(4)
            expected = np.sqrt(1 - width[row] ** 2) * place[row] + width[row] * noise
            np.testing.assert_allclose(asked[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rate", "narrowest", "widest"), [(0.3, 0.05, 0.6), (0.9, 0.05, 0.9), (0.02, 0.02, 0.6)])
def test_its_width_stays_within_bounds(rate, narrowest, widest) -> None:
    moving, _ = walking([0, 1], rate=rate)
    for number in range(120):
        step(moving, [number, -number])
    np.testing.assert_allclose(moving.state["width"][:, 0], [widest, narrowest])


@pytest.mark.parametrize(
    ("activations", "expected"),
    [
        ((1.0, 0.5, np.nan, np.inf, -np.inf, 2.0), (1, 1, 1, 1, 1, 2)),
        # 3 are missing, so 8.1 passes the target by too much and 7.9 does not.
        ((1.0, 2.0, 8.1, 7.9), (1, 2, 2, 7.9)),
        # Two steps gained 1.95 each: so much it may pass the target by, though only 0.1 is missing.
        ((1.0, 3.0, 4.9, 7.0, 6.9), (1, 3, 4.9, 4.9, 6.9)),
    ],
)
def test_it_takes_what_activates_more_and_does_not_pass_the_target_by_far(activations, expected) -> None:
    moving, _ = walking([0], target=5.0)
    assert [float(step(moving, [each])[1][0]) for each in activations] == pytest.approx(expected)


def test_without_target_it_takes_what_activates_more() -> None:
    moving, _ = walking([0])
    seen = [float(step(moving, [activation])[1][0]) for activation in (-1.0, -2.0, np.nan, -0.5, 100.0, 99.0)]
    assert seen == [-1.0, -1.0, -1.0, -0.5, 100.0, 100.0]


async def test_it_keeps_the_norms_of_the_prior() -> None:
    # Whatever the linear unit gains is along w; at right angles to it nothing is chosen, so all stays N(0, I).
    size, count = 128, 200
    slope = np.zeros((2 + analytic.UNITS, size), np.float32)
    slope[2, :4] = 0.5
    model = Model(lambda z: z @ slope.T, lambda z: np.broadcast_to(slope, (len(z), *slope.shape)))
    described = bundle(latent_size=size)
    weights = unit_weights(OUT_0, described, "objective")
    rows = [PlannedRow(seed, OUT_0, WALK, target=2.0) for seed in range(count)]
    _, outcome = await run(plan_rows(rows, [weights] * count, described), model)
    assert (outcome.activations >= 2.0).mean() > 0.9
    assert np.median(outcome.best_steps) > 5
    across = np.square(outcome.latents[:, 4:]).sum(axis=1)  # chi-squared of 124
    assert across.mean() == pytest.approx(124, abs=4 * np.sqrt(2 * 124 / count))
    assert across.std() == pytest.approx(np.sqrt(2 * 124), rel=0.25)
    np.testing.assert_allclose(outcome.trajectories[0].latent_norms[-1], np.linalg.norm(outcome.latents[0]), rtol=1e-6)


async def test_its_trajectory_is_where_it_stands_and_has_no_gradient() -> None:
    plan = analytic.plan_rows([Row(4)], settings=Settings("walk", steps=40))
    model = linear()
    _, outcome = await run(plan, model)
    curve = outcome.trajectories[0]
    assert len(curve.activations) == 41
    assert (np.diff(curve.activations) >= 0).all()
    assert (np.diff(curve.activations) == 0).any(), "some proposals are not taken"
    assert not curve.gradient_norms.any()
    assert outcome.activations[0] == curve.activations[-1] == curve.activations[outcome.best_steps[0]]
    assert outcome.latents[0] @ MATRIX[2] == pytest.approx(outcome.activations[0], rel=1e-5)
    assert model.calls == [1] * 41


async def no_gradient(*arrays, timeout_s=None):
    raise AssertionError("a gradient was asked for")


async def test_it_asks_for_no_gradient() -> None:
    plan = analytic.plan_rows([Row(seed) for seed in range(3)], settings=Settings("walk", steps=9))
    flat = Model(waves().units, lambda z: np.zeros((len(z), *MATRIX.shape), np.float32))
    await require_searchable(plan, no_gradient, flat.activate)
    found = [event async for event in analytic.search(plan, no_gradient, flat.activate, Budget())]
    assert found[-1].stopped_by is StoppedBy.COMPLETED
    assert [event.zero_gradient_count for event in found[:-1]] == [0] * 10


async def test_a_model_that_is_not_finite_at_the_first_latent_is_refused() -> None:
    plan = analytic.plan_rows([Row(7)], settings=Settings("walk"))
    broken = Model(lambda z: waves().units(z) * np.nan, waves().slopes)
    with pytest.raises(NonFiniteModel, match=r"rows\[0\] \(seed 7\)"):
        await run(plan, broken)
    with pytest.raises(NonFiniteModel):
        await require_searchable(plan, no_gradient, broken.activate)


async def test_a_proposal_that_is_not_finite_is_not_taken() -> None:
    model, calls = waves(), []

    def units(z):
        calls.append(len(z))
        return waves().units(z) * (np.nan if len(calls) % 2 == 0 else 1)

    model.units = units
    plan = analytic.plan_rows([Row(0)], settings=Settings("walk", steps=30))
    _, outcome = await run(plan, model)
    assert outcome.diverged_steps == (None,)
    assert outcome.row_step_count == 30
    assert outcome.activations[0] > outcome.trajectories[0].activations[0]


async def test_rows_of_all_ways_go_side_by_side() -> None:
    target = Target(3.0, 5.0)
    ways = [
        Settings("walk", target=target),
        Settings("adam", 0.1, steps=30),
        Settings("normalised", target=target, start_draws=8),
        Settings("sgd", 0.1, steps=10),
        Settings("walk", steps=25, start_draws=3),
    ]
    rows = [Row(seed, settings=way) for seed in range(4) for way in ways]
    _, together = await run(analytic.plan_rows(rows), linear())
    for index, row in enumerate(rows):
        _, alone = await run(analytic.plan_rows([row]), linear())
        np.testing.assert_allclose(together.latents[index], alone.latents[0], rtol=1e-4, atol=1e-5)
        assert together.best_steps[index] == alone.best_steps[0]
    assert together.latents.shape == (20, Z)
