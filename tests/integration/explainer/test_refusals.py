"""Everything that is refused: the right code, the field named, and the server alive."""

import asyncio
import math
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle
from tests.integration.explainer.running import FC3_0, MODEL, PATIENCE_S, Running, failure, running, search, seeds

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
NAN = math.nan


def aims(**parts: object) -> pb.Search:
    """A search with an objective of these parts."""
    return search(objective=pb.Objective(**{"layer": "fc3", "sense": pb.SENSE_MAXIMISE, **parts}))


def towards(units: list[int], weights: list[float]) -> pb.Search:
    """A search with a direction over fc2."""
    return aims(layer="fc2", direction=pb.Direction(units=units, weights=weights))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alive(tiny: TinyBundle) -> AsyncIterator[Running]:
    """One server for all refusals of this module: none of them may hurt it."""
    async with running(tiny) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.Search(), "search.model"),
        (search(model="tiny"), "search.model"),
        (search(model="models/"), "search.model"),
        (search(model="models/a/b"), "search.model"),
        (pb.Search(model=MODEL, objective=FC3_0), "search.rows"),
        (search(*seeds(257)), "search.rows"),
        (search(pb.Row(seed=-1)), "search.rows[0].seed"),
        (search(objective=None), "search.rows[0].objective"),
        (search(pb.Row(objective=FC3_0), pb.Row(), objective=None), "search.rows[1].objective"),
        (aims(layer="fc9", unit=0), "search.objective.layer"),
        (aims(layer="", unit=0), "search.objective.layer"),
        (aims(), "search.objective"),
        (aims(unit=2), "search.objective.unit"),
        (aims(unit=-1), "search.objective.unit"),
        (aims(unit=0, sense=pb.SENSE_UNSPECIFIED), "search.objective.sense"),
        (aims(unit=0, sense=3), "search.objective.sense"),
        (towards([], []), "search.objective.direction.units"),
        (towards([0, 1], [1.0]), "search.objective.direction.weights"),
        (towards([0, 5], [1.0, 1.0]), "search.objective.direction.units[1]"),
        (towards([3, 3], [1.0, 1.0]), "search.objective.direction.units[1]"),
        (towards([0, 1], [0.0, 0.0]), "search.objective.direction.weights"),
        (towards([0, 1], [1.0, NAN]), "search.objective.direction.weights[1]"),
        (search(steps=0), "search.settings.steps"),
        (search(steps=-1), "search.settings.steps"),
        (search(steps=10_001), "search.settings.steps"),
        (search(learning_rate=NAN), "search.settings.learning_rate"),
        (search(learning_rate=0), "search.settings.learning_rate"),
        (search(learning_rate=-0.1), "search.settings.learning_rate"),
        (search(learning_rate=10.5), "search.settings.learning_rate"),
        (search(learning_rate=math.inf), "search.settings.learning_rate"),
        (search(prior_weight=-1), "search.settings.prior_weight"),
        (search(prior_weight=1001), "search.settings.prior_weight"),
        (search(prior_weight=NAN), "search.settings.prior_weight"),
        (search(weight_decay=1.0), "search.settings.weight_decay"),
        (search(weight_decay=-0.1), "search.settings.weight_decay"),
        (search(weight_decay=NAN), "search.settings.weight_decay"),
        (search(weight_decay=0.1, prior_weight=0.1), "search.settings.weight_decay"),
        (search(optimiser=9), "search.settings.optimiser"),
        (search(pb.Row(), pb.Row(settings=pb.Settings(steps=0))), "search.rows[1].settings.steps"),
        (
            search(pb.Row(), pb.Row(objective=pb.Objective(layer="fc3", unit=7, sense=pb.SENSE_MINIMISE))),
            "search.rows[1].objective.unit",
        ),
    ],
)
async def test_bad_fields_are_named(alive: Running, message: pb.Search, field: str) -> None:
    refused = await alive.refusal(message)
    assert refused.code is INVALID
    assert refused.reason == "INVALID_FIELD"
    assert [violation.field for violation in refused.violations] == [field]
    assert alive.backend.steps == 0


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("artefacts", "field"), [([0], "artefacts[0]"), ([pb.ARTEFACT_AUDIO, 9], "artefacts[1]")])
async def test_unknown_artefacts_are_named(alive: Running, artefacts: list[int], field: str) -> None:
    refused = await alive.refusal(search(), *artefacts)
    assert refused.code is INVALID
    assert refused.violations[0].field == field


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unknown_model_is_not_found_and_the_known_ones_are_told(alive: Running) -> None:
    refused = await alive.refusal(search(model="models/svd-r9"))
    assert refused.code is NOT_FOUND
    assert refused.reason == "MODEL_NOT_FOUND"
    assert refused.resource_name == "models/svd-r9"
    assert refused.resource_type == "earwitness.explainer.v1.Model"
    assert "models/tiny" in refused.message
    refused = await failure(alive.stub.GetModel(pb.GetModelRequest(name="models/svd-r9")))
    assert refused.code is NOT_FOUND


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "name",
    [
        "",
        "tiny",
        "models/",
        "models/A",
        "references/tiny",
        "models/tiny/",
        "models/../tiny",
        "models/..%2ftiny",
        "models/tiny\0",
    ],
)
async def test_get_model_refuses_what_is_no_name(alive: Running, name: str) -> None:
    refused = await failure(alive.stub.GetModel(pb.GetModelRequest(name=name)))
    assert refused.code is INVALID
    assert refused.violations[0].field == "name"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("page", "field"), [({"page_size": -1}, "page_size"), ({"page_token": "garbage"}, "page_token")]
)
async def test_list_models_refuses_bad_pages(alive: Running, page: dict[str, object], field: str) -> None:
    refused = await failure(alive.stub.ListModels(pb.ListModelsRequest(**page)))
    assert refused.code is INVALID
    assert refused.violations[0].field == field


@pytest.mark.asyncio(loop_scope="module")
async def test_truncated_bytes_are_refused(alive: Running) -> None:
    call = alive.channel.unary_unary("/earwitness.explainer.v1.ExplainerService/Explain")
    whole = pb.ExplainRequest(search=search()).SerializeToString()
    refused = await failure(call(whole[:-3], timeout=PATIENCE_S))
    assert refused.code is INVALID


@pytest.mark.asyncio(loop_scope="module")
async def test_after_all_this_it_still_explains(alive: Running) -> None:
    assert len((await alive.explain(search(*seeds(256), steps=1))).explanations) == 256


async def test_an_answer_too_large_for_one_message_points_to_the_stream(tiny: TinyBundle) -> None:
    async with running(tiny, max_response_bytes=2**20) as explainer:
        message = search(*seeds(8), steps=10_000)
        refused = await failure(explainer.explain(message, pb.ARTEFACT_TRAJECTORY, pb.ARTEFACT_PICTURE))
        assert refused.code is INVALID
        assert refused.violations[0].field == "search.rows"
        assert "StreamExplain" in refused.violations[0].description
        assert explainer.backend.steps == 0
        message.settings.steps = 5
        events = await explainer.stream(message, pb.ARTEFACT_TRAJECTORY, pb.ARTEFACT_PICTURE)
        assert len([event for event in events if event.HasField("explanation")]) == 8


async def test_limits_are_the_settings(tiny: TinyBundle) -> None:
    async with running(tiny, max_rows=2, max_steps=30) as explainer:
        assert "1 to 2" in (await explainer.refusal(search(*seeds(3)))).message
        assert "1 to 30" in (await explainer.refusal(search(steps=31))).message
        await explainer.explain(search(*seeds(2), steps=30))


@pytest.mark.parametrize(
    ("defect", "reason"), [("zero_gradient", "ZERO_GRADIENT"), ("frozen_gradient", "FROZEN_GRADIENT")]
)
async def test_a_wrongly_exported_gradient_is_refused(tmp_path, defect, reason: str) -> None:
    async with running(write_tiny_bundle(tmp_path, defect=defect)) as explainer:
        refused = await explainer.refusal(search())
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.reason == reason
        assert "layer 'fc3' of models/tiny" in refused.message
        assert len((await explainer.stub.ListModels(pb.ListModelsRequest())).models) == 1


async def test_a_deadline_before_the_first_step_is_exceeded(explainer: Running) -> None:
    await explainer.explain(search())
    explainer.backend.step_s = 0.3
    refused = await failure(explainer.explain(search(), timeout_s=0.5))
    assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
    explainer.backend.step_s = 0
    await explainer.explain(search())


async def test_a_backend_that_is_away_is_unavailable_until_it_is_back(explainer: Running) -> None:
    explainer.backend.reachable = False
    refused = await explainer.refusal(search())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "INFERENCE_UNAVAILABLE")
    assert refused.retry_after_s is not None
    refused = await failure(explainer.stub.ListModels(pb.ListModelsRequest()))
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    explainer.backend.reachable = True
    await explainer.explain(search())


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_a_cancelled_call_stops_its_search_and_frees_the_only_slot(tiny: TinyBundle, streamed: bool) -> None:
    async with running(tiny, max_concurrent_searches=1, max_waiting_searches=0) as explainer:
        await explainer.explain(search())
        explainer.backend.step_s = 0.02
        endless = search(steps=10_000)
        stub = explainer.stub
        call = (
            stub.StreamExplain(pb.StreamExplainRequest(search=endless))
            if streamed
            else stub.Explain(pb.ExplainRequest(search=endless))
        )
        for _ in range(3):
            explainer.backend.stepped.clear()
            await explainer.backend.stepped.wait()
        refused = await explainer.refusal(search())
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SEARCHES")
        assert refused.retry_after_s is not None
        assert refused.retry_after_s > 0
        call.cancel()
        await asyncio.sleep(0.1)
        stopped = explainer.backend.steps
        await asyncio.sleep(0.1)
        assert explainer.backend.steps == stopped
        explainer.backend.step_s = 0
        await explainer.explain(search())


async def test_one_more_than_may_run_waits_and_then_is_served(tiny: TinyBundle) -> None:
    async with running(tiny, max_concurrent_searches=1, max_waiting_searches=2) as explainer:
        await explainer.explain(search())
        explainer.backend.step_s = 0.01
        answers = await asyncio.gather(*(explainer.explain(search(*seeds(2))) for _ in range(3)))
        assert len({answer.explanations[0].activation for answer in answers}) == 1


async def test_a_reader_that_stalls_does_not_hold_a_slot(tiny: TinyBundle) -> None:
    async with running(tiny, max_concurrent_searches=1, max_waiting_searches=0) as explainer:
        request = pb.StreamExplainRequest(search=search(*seeds(256), steps=3), artefacts=[pb.ARTEFACT_TRAJECTORY])
        stalled = explainer.stub.StreamExplain(request)
        while not (await stalled.read()).HasField("explanation"):
            pass
        await explainer.explain(search())
        stalled.cancel()
