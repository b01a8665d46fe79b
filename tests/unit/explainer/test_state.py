"""A search's state: prefixes are runs of their own, and a search that was saved goes on as if it had never stopped."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from earwitness.explainer.objective import unit_weights
from earwitness.explainer.plan import Plan, PlannedRow, plan_rows
from earwitness.explainer.search import Budget, search
from earwitness.explainer.state import SearchState, StoppedBy
from earwitness.explainer.ways import Resolved
from earwitness.storage import blobs
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Target
from tests.unit.explainer.analytic import OUT_0, Model, bundle, hills, run, waves

LEAST_1 = Objective("out", 1, "minimise")
STOPS = (3, 10, 25)
TARGET = Target(0.2, 0.9)


def plan(rows: Sequence[tuple[Resolved, tuple[int, ...]]], objective: Objective = OUT_0) -> Plan:
    """A row of seed i for each settings and stops."""
    weights = [unit_weights(objective, bundle(), "objective")] * len(rows)
    planned = [
        PlannedRow(seed, objective, settings, stops, target=settings.aim(seed))
        for seed, (settings, stops) in enumerate(rows)
    ]
    return plan_rows(planned, weights, bundle())


def mixed() -> Plan:
    """Rows of every rule, rate, prior, decay and length."""
    return plan(
        [
            (Resolved("adam", 0.1, 0.01, 25), STOPS),
            (Resolved("sgd", 0.05, 0.1, 12), (12,)),
            (Resolved("adam", 2.0, 0.0, 10), (3, 10)),
            (Resolved("adam", 0.01, 0.0, 25, weight_decay=0.01), (25,)),
            (Resolved("sgd", 0.01, 0.0, 25, weight_decay=0.1), (25,)),
            (Resolved("normalised", 0.1, 0.0, 25), STOPS),
            (Resolved("walk", 0.3, 0.0, 25), STOPS),
            (Resolved("normalised", 0.02, 0.0, 25, target=TARGET, start_draws=5), STOPS),
            (Resolved("walk", 0.1, 0.0, 25, target=TARGET, start_draws=4), STOPS),
        ]
    )


@pytest.mark.parametrize("objective", [OUT_0, LEAST_1])
@pytest.mark.parametrize(
    "settings",
    [
        Resolved(learning_rate=2.0, prior_weight=0.01),
        Resolved(learning_rate=0.05, prior_weight=0.01),
        Resolved("normalised", 0.1, 0.0, start_draws=3),
        Resolved("normalised", 0.05, 0.0, target=Target(-0.4, 0.4)),
        Resolved("walk", 0.3, 0.0),
        Resolved("walk", 0.1, 0.0, target=Target(-0.4, 0.4), start_draws=2),
    ],
)
async def test_each_stop_is_a_search_of_its_own(objective: Objective, settings: Resolved) -> None:
    longest = replace(settings, steps=STOPS[-1])
    _, whole = await run(plan([(longest, STOPS)] * 4, objective), waves())
    for place, steps in enumerate(STOPS):
        shorter = replace(settings, steps=steps)
        _, alone = await run(plan([(shorter, ())] * 4, objective), waves())
        mine = slice(place, None, len(STOPS))
        np.testing.assert_array_equal(whole.latents[mine], alone.latents)
        np.testing.assert_array_equal(whole.activations[mine], alone.activations)
        np.testing.assert_array_equal(whole.best_steps[mine], alone.best_steps)


async def test_a_row_that_diverges_keeps_its_best_at_every_stop() -> None:
    def spoil(gradient: np.ndarray) -> np.ndarray:
        spoiled = gradient.copy()
        if len(model.calls) == 6:  # iterate 5
            spoiled[0] = np.nan
        return spoiled

    model = Model(hills().units, hills().slopes, spoil)
    settings = Resolved(learning_rate=0.1, prior_weight=0, steps=STOPS[-1])
    _, outcome = await run(plan([(settings, STOPS)] * 2), model)
    assert outcome.diverged_steps == (5, None)
    assert list(outcome.best_steps[:3]) == [3, 4, 4]
    assert outcome.best_steps[5] > 10


async def test_all_diverge_before_their_stops() -> None:
    model = Model(hills().units, hills().slopes, lambda gradient: gradient * (np.nan if len(model.calls) > 4 else 1))
    settings = Resolved(learning_rate=0.1, prior_weight=0, steps=STOPS[-1])
    state = SearchState(plan([(settings, STOPS)] * 2))
    events = [event async for event in search(state.plan, model.evaluate, model.activate, Budget(), state)]
    assert state.done
    assert state.reached().all()
    assert list(events[-1].best_steps) == [3] * 6
    assert state.row_step_count == 2 * 3


@pytest.mark.parametrize("stopped_after", range(1, 26))
async def test_saved_and_restored_is_never_stopped(stopped_after: int) -> None:
    _, whole = await run(mixed(), waves())
    first = SearchState(mixed())
    pieces, saved, saved_step = [], {}, 0
    async for _ in search(first.plan, waves().evaluate, waves().activate, Budget(), first):
        if first.step in (stopped_after - 1, stopped_after):  # curves come in pieces
            pieces.append(blobs.decode(blobs.encode({"curves": first.curves(saved_step)}))["curves"])
            saved, saved_step = blobs.decode(blobs.encode(first.save())), first.step
        if first.step == stopped_after + 2:  # what came after the checkpoint is lost
            break
    again = SearchState(mixed())
    again.restore(saved, np.concatenate(pieces, axis=2))
    assert again.step == stopped_after
    *_, outcome = [event async for event in search(again.plan, waves().evaluate, waves().activate, Budget(), again)]
    assert outcome.stopped_by is StoppedBy.COMPLETED
    np.testing.assert_array_equal(outcome.latents, whole.latents)
    np.testing.assert_array_equal(outcome.activations, whole.activations)
    np.testing.assert_array_equal(outcome.best_steps, whole.best_steps)
    assert outcome.row_step_count == whole.row_step_count
    assert outcome.evaluation_count == whole.evaluation_count
    assert outcome.diverged_steps == whole.diverged_steps
    for mine, theirs in zip(outcome.trajectories, whole.trajectories, strict=True):
        np.testing.assert_array_equal(mine.activations, theirs.activations)
        np.testing.assert_array_equal(mine.gradient_norms, theirs.gradient_norms)


async def test_what_is_reached_grows_with_the_steps() -> None:
    rows = [(row.settings, row.stops) for row in mixed().rows[:5]]
    state = SearchState(plan(rows))
    seen = []
    async for _ in search(state.plan, waves().evaluate, waves().activate, Budget(), state):
        seen.append(int(state.reached().sum()))
    assert seen[:3] == [0, 0, 0]
    assert (seen[3], seen[10], seen[12], seen[25]) == (2, 4, 5, 8)


async def test_the_stops_of_rows_that_reached_their_targets_are_reached() -> None:
    near, far = (Resolved("normalised", 0.1, 0.0, 25, target=Target(at, at)) for at in (-0.5, 2.0))
    state = SearchState(plan([(near, STOPS), (far, STOPS)]))
    seen = [
        state.reached().tolist()
        async for event in search(state.plan, waves().evaluate, waves().activate, Budget(), state)
    ]
    begun = next(step for step in range(26) if seen[step][2])
    assert begun < 10
    assert seen[begun] == [True] * 3 + [begun >= 3, False, False]
    assert seen[-1] == [True] * 6


def test_what_a_checkpoint_of_before_holds_is_enough() -> None:
    """Those that versions without targets, walks and draws left."""
    old = plan(
        [
            (Resolved("adam", 0.1, 0.01, 25), STOPS),
            (Resolved("sgd", 0.05, 0.1, 12), (12,)),
        ]
    )
    record = {"step", "going", "best", "best_steps", "best_latents", "kept", "kept_steps", "kept_latents"}
    record |= {"iterates", "diverged", "latents"}
    adam = {"mean", "square", "mean_left", "square_left"}
    assert set(SearchState(old).save()) == record | {f"0{name}" for name in adam} | {"1done"}
    assert set(SearchState(plan([(Resolved(), STOPS)])).save()) == record | adam


async def test_a_search_that_could_not_go_on_goes_on_later() -> None:
    fails = iter([False, True, False, True])

    async def evaluate(*arguments, **options):
        if next(fails, False):
            raise ConnectionError
        return await waves().evaluate(*arguments, **options)

    _, whole = await run(mixed(), waves())
    state = SearchState(mixed())
    outcome = None
    for _ in range(3):
        try:
            *_, outcome = [event async for event in search(state.plan, evaluate, waves().activate, Budget(), state)]
        except ConnectionError:
            continue
    np.testing.assert_array_equal(outcome.latents, whole.latents)
