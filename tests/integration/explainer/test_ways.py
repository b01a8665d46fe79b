"""Steps of one length, targets, drawn starts and the walk, asked for through a real server."""

import asyncio

import grpc
import numpy as np
import pytest
import pytest_asyncio

from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle
from tests.integration.explainer.running import FC3_0, MODEL, Running, failure, running, search, seeds
from tests.integration.explainer.sweeping import DIRECTION, LEAST_1, Sweeping, array, sweep

ROWS = 6
ADAM, NORMALISED, WALK = pb.OPTIMISER_ADAM, pb.OPTIMISER_NORMALISED, pb.OPTIMISER_WALK


def between(low: float, high: float) -> pb.Target:
    """A target in activations."""
    return pb.Target(activation=pb.Range(low=low, high=high))


async def reach(explainer: Running, objective: pb.Objective) -> tuple[float, float]:
    """Where rows of an objective begin at most, and how far some steps of Adam bring all of them."""
    answer = await explainer.explain(
        search(*seeds(ROWS), objective=objective, steps=60, learning_rate=0.1, prior_weight=0), pb.ARTEFACT_TRAJECTORY
    )
    sign = 1 if objective.sense == pb.SENSE_MAXIMISE else -1
    firsts = [sign * each.trajectory.activations[0] for each in answer.explanations]
    return sign * max(firsts), sign * min(sign * each.activation for each in answer.explanations)


@pytest.mark.parametrize("objective", [FC3_0, LEAST_1, DIRECTION])
@pytest.mark.parametrize("settings", [
    {"optimiser": ADAM, "learning_rate": 0.1, "prior_weight": 0}, {"optimiser": NORMALISED},
    {"optimiser": NORMALISED, "start_draws": 8}, {"optimiser": WALK, "steps": 2000},
])  # fmt: skip
async def test_rows_stop_at_their_targets(explainer: Running, objective: pb.Objective, settings: dict) -> None:
    begins, ends = await reach(explainer, objective)
    middle = (begins + ends) / 2
    target = between(min(middle, begins), max(middle, begins))
    asked = pb.Search(
        model=MODEL, objective=objective, rows=seeds(ROWS), settings=pb.Settings(**settings, target=target)
    )
    answer = await explainer.explain(asked, pb.ARTEFACT_TRAJECTORY)
    sign = 1 if objective.sense == pb.SENSE_MAXIMISE else -1
    assert answer.summary.missed_count == 0
    assert len({each.target for each in answer.explanations}) == ROWS
    for each in answer.explanations:
        assert each.reached_target
        assert sign * each.activation >= sign * each.target
        assert target.activation.low <= each.target <= target.activation.high
        curve = sign * np.array(each.trajectory.activations)
        assert each.best_step == len(curve) - 1
        assert (curve[:-1] < sign * each.target).all()
        assert len(each.trajectory.gradient_norms) == len(curve) == len(each.trajectory.latent_norms)
        np.testing.assert_allclose(each.trajectory.latent_norms[-1], np.linalg.norm(array(each.latent)), rtol=1e-5)
        assert each.settings.target == target
    steps = [each.best_step for each in answer.explanations]
    assert answer.summary.row_step_count == sum(steps)
    draws = 8 if "start_draws" in settings else 0
    assert answer.summary.evaluation_count == sum(steps) + ROWS * (1 + draws)
    assert (await explainer.explain(asked)).explanations[3].latent == answer.explanations[3].latent


async def test_a_walk_asks_for_no_gradient(explainer: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    message = search(*seeds(ROWS), optimiser=WALK, steps=30, start_draws=4)
    answer = await explainer.explain(message, pb.ARTEFACT_TRAJECTORY)
    assert explainer.backend.steps == 0, "the search graph was asked"
    assert answer.summary.evaluation_count == ROWS * (4 + 31)
    for each in answer.explanations:
        assert not each.HasField("target")
        assert not each.reached_target
        assert not any(each.trajectory.gradient_norms)
        assert np.diff(each.trajectory.activations).min() >= 0
    assert explainer.server.registry.get_sample_value("explainer_draws_total", {"model": "tiny"}) == ROWS * 4
    broken = write_tiny_bundle(tmp_path_factory.mktemp("walked"), defect="zero_gradient")
    async with running(broken) as started:
        again = await started.explain(message)
        assert [each.activation for each in again.explanations] == [each.activation for each in answer.explanations]
        refused = await started.refusal(search(pb.Row(), pb.Row(settings=pb.Settings(optimiser=WALK))))
        assert refused.reason == "ZERO_GRADIENT"


async def test_rows_of_several_ways_in_one_search(explainer: Running) -> None:
    ways = [
        pb.Settings(optimiser=WALK, steps=15),
        pb.Settings(optimiser=ADAM, learning_rate=0.1, steps=20),
        pb.Settings(optimiser=NORMALISED, steps=12, start_draws=5),
        pb.Settings(optimiser=WALK, steps=9, start_draws=3),
    ]
    rows = [
        pb.Row(seed=seed, settings=way, objective=objective)
        for seed in range(3)
        for way in ways
        for objective in (FC3_0, LEAST_1)
    ]
    events = await explainer.stream(pb.Search(model=MODEL, rows=rows), pb.ARTEFACT_TRAJECTORY)
    found = [event.explanation for event in events if event.HasField("explanation")]
    for row, each in zip(rows, found, strict=True):
        alone = await explainer.explain(pb.Search(model=MODEL, rows=[row]), pb.ARTEFACT_TRAJECTORY)
        same = alone.explanations[0]
        assert len(each.trajectory.activations) == row.settings.steps + 1
        np.testing.assert_allclose(each.trajectory.activations, same.trajectory.activations, atol=2e-4)
    summary = next(event.summary for event in events if event.HasField("summary"))
    draws = 3 * (5 + 0)  # rows of one seed share them: of 5 the walks take 3
    assert summary.evaluation_count == draws + sum(row.settings.steps + 1 for row in rows)


async def test_a_target_out_of_reach_is_told(explainer: Running) -> None:
    message = search(*seeds(4), optimiser=NORMALISED, steps=25, target=between(1e6, 1e6))
    answer = await explainer.explain(message)
    assert answer.summary.missed_count == 4
    assert answer.summary.stopped_by == pb.STOPPED_BY_COMPLETED
    assert answer.summary.row_step_count == 4 * 25
    assert not any(each.reached_target for each in answer.explanations)
    plain = await explainer.explain(search(*seeds(4), optimiser=NORMALISED, steps=25))
    assert [each.activation for each in answer.explanations] == [each.activation for each in plain.explanations]


async def test_a_deadline_and_a_cancellation_end_a_walk(tiny: TinyBundle) -> None:
    async with running(tiny, max_steps=10**6) as started:
        message = search(*seeds(3), optimiser=WALK, steps=10**6, start_draws=4)
        answer = await started.explain(message, timeout_s=3)
        assert answer.summary.stopped_by == pb.STOPPED_BY_DEADLINE
        assert 0 < answer.summary.row_step_count < 3 * 10**6
        call = started.stub.StreamExplain(pb.StreamExplainRequest(search=message))
        await call.read()
        call.cancel()
        # Its slot is free again.
        async with asyncio.timeout(60):
            while started.server.registry.get_sample_value("explainer_searches_in_flight"):  # noqa: ASYNC110 -- no event
                await asyncio.sleep(0.01)


INVALID = [
    ({"optimiser": WALK, "learning_rate": 1.01}, "learning_rate"),
    ({"optimiser": WALK, "prior_weight": 0.1}, "prior_weight"),
    ({"optimiser": WALK, "weight_decay": 0.1}, "weight_decay"),
    ({"optimiser": NORMALISED, "learning_rate": 0}, "learning_rate"),
    ({"start_draws": 65}, "start_draws"),
    ({"start_draws": 0}, "start_draws"),
    ({"start_draws": -(2**31)}, "start_draws"),
    ({"draws": 100}, "draws"),
    ({"target": pb.Target()}, "target"),
    ({"target": between(2, 1)}, "target.activation.low"),
    ({"target": between(float("nan"), 1)}, "target.activation.low"),
    ({"target": between(0, float("inf"))}, "target.activation.high"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alive(tiny: TinyBundle):
    """One server for all refusals: none of them may hurt it."""
    async with running(tiny) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("settings", "field"), INVALID)
async def test_settings_that_no_way_takes_are_refused_by_field(alive: Running, settings: dict, field: str) -> None:
    refused = await alive.refusal(search(pb.Row(), **settings))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in refused.violations] == [f"search.settings.{field}"]
    refused = await alive.refusal(search(pb.Row(), pb.Row(settings=pb.Settings(**settings))))
    assert [each.field for each in refused.violations] == [f"search.rows[1].settings.{field}"]
    asked = sweep(grid=None, settings_list=pb.SettingsList(settings=[pb.Settings(), pb.Settings(**settings)]))
    refused = await failure(Sweeping.of(alive.channel).create(asked))
    assert [each.field for each in refused.violations] == [f"sweep.settings_list.settings[1].{field}"]
