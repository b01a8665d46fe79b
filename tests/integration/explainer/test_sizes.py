"""Answers fit what their callers take: 4 MiB in one message, as clients of gRPC do, or what they say."""

from typing import Any

import grpc
import grpc.aio
import pytest
from google.longrunning import operations_pb2

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from earwitness.rpc import pages
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import Running, failure, running, search, seeds
from tests.integration.explainer.sweeping import Sweeping, sweep

AUDIO, PICTURE, TRAJECTORY = pb.ARTEFACT_AUDIO, pb.ARTEFACT_PICTURE, pb.ARTEFACT_TRAJECTORY
ALL = (AUDIO, PICTURE, TRAJECTORY)
STOCK = 200_000
"""What stands for the 4 MiB of a stock client here, where explanations are small."""


@pytest.fixture(autouse=True)
def small_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.explainer.room.STOCK_BYTES", STOCK)


def stock(explainer: Running) -> Any:
    """The stub of a client that takes no more than that."""
    options = [("grpc.max_receive_message_length", STOCK)]
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{explainer.server.port}", options=options)
    return channel, explainer_pb2_grpc.ExplainerServiceStub(channel)


async def test_a_stock_client_gets_every_row_and_what_else_fits(explainer: Running) -> None:
    """The finished search was lost, as RESOURCE_EXHAUSTED, after minutes."""
    channel, stub = stock(explainer)
    async with channel:
        message = search(*seeds(12), steps=30)
        answer = await stub.Explain(pb.ExplainRequest(search=message, artefacts=ALL))
    assert answer.ByteSize() <= STOCK
    found = list(answer.explanations)
    assert [each.row_index for each in found] == list(range(12))
    assert all(each.latent.data and each.spectrogram.data and each.layer_activations.data for each in found)
    for artefact, held in (
        (AUDIO, [bool(each.audio_wav) for each in found]),
        (PICTURE, [bool(each.picture_png) for each in found]),
        (TRAJECTORY, [each.HasField("trajectory") for each in found]),
    ):
        assert held == sorted(held, reverse=True), "the first rows have it"
        assert [artefact in each.left_out for each in found] == [not each for each in held]
    assert found[0].picture_png
    assert not found[0].left_out
    assert not found[-1].picture_png
    assert answer.summary.incomplete_count == sum(bool(each.left_out) for each in found) > 0
    assert answer.summary.stopped_by == pb.STOPPED_BY_COMPLETED

    complete = await explainer.stub.Explain(pb.ExplainRequest(search=message, artefacts=ALL, max_response_bytes=2**26))
    assert complete.summary.incomplete_count == 0
    assert complete.ByteSize() > STOCK
    assert all(each.audio_wav and each.picture_png and each.HasField("trajectory") for each in complete.explanations)
    assert complete.explanations[0] == found[0]


async def test_who_says_how_much_is_refused_before_the_search_with_what_fits(explainer: Running) -> None:
    await explainer.explain(search())
    explainer.backend.steps = 0
    message = search(*seeds(12), steps=30)
    request = pb.ExplainRequest(search=message, artefacts=ALL, max_response_bytes=1_000_000)
    refused = await failure(explainer.stub.Explain(request))
    assert (refused.code, refused.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "search.rows")
    assert "at most 1000000: 7 rows fit; use StreamExplain" in refused.message
    for wrong in (-1, 10):
        request.max_response_bytes = wrong
        refused = await failure(explainer.stub.Explain(request))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert explainer.backend.steps == 0
    request.max_response_bytes = 1_000_000
    del request.search.rows[7:]
    answer = await explainer.stub.Explain(request)
    assert answer.summary.incomplete_count == 0
    assert answer.ByteSize() <= 1_000_000


async def test_each_message_of_a_stream_fits(explainer: Running) -> None:
    message = search(pb.Row(seed=1), steps=3000)
    request = pb.StreamExplainRequest(search=message, artefacts=[TRAJECTORY], max_response_bytes=30_000)
    refused = await failure(anext(aiter(explainer.stub.StreamExplain(request))))
    assert (refused.code, refused.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "max_response_bytes")
    request.max_response_bytes = 40_000
    *_, found, summary = [event async for event in explainer.stub.StreamExplain(request)]
    assert len(found.explanation.trajectory.activations) == 3001
    assert summary.summary.incomplete_count == 0


async def test_the_size_of_an_explanation_is_known_before(tiny: TinyBundle) -> None:
    """A direction over every unit is repeated in each explanation."""
    units = len(range(tiny.metadata.layers[1].unit_count))
    direction = pb.Direction(units=range(units), weights=[1.0] * units)
    objective = pb.Objective(layer="fc2", direction=direction, sense=pb.SENSE_MAXIMISE)
    message = search(*seeds(3), objective=objective)
    async with running(tiny) as explainer:
        request = pb.ExplainRequest(search=message, max_response_bytes=1)
        refused = await failure(explainer.stub.Explain(request))
        said = int(refused.message.partition("take up to ")[2].partition(" ")[0])
        request.max_response_bytes = said
        assert (await explainer.stub.Explain(request)).ByteSize() <= said


async def test_a_sweep_is_read_in_pieces_that_fit(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(sweep(seed_count=40))
    operation = await sweeping.wait(sweep_id)
    name = f"sweeps/{sweep_id}"
    request = pb.GetSweepRequest(name=name, view=pb.SWEEP_VIEW_TENSORS)
    whole = await explainer.stub.GetSweep(request)
    request.max_response_bytes = 8000
    refused = await failure(explainer.stub.GetSweep(request))
    assert (refused.code, refused.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "view")
    fits = int(refused.message.partition("at most 8000: ")[2].partition(" results")[0])
    assert 0 < fits < 12
    assert "result_indices" in refused.message
    assert "max_response_bytes" in refused.message
    request.result_indices.extend(range(fits))
    part = await explainer.stub.GetSweep(request)
    assert part.ByteSize() <= 8000
    assert part.sweep.results[fits - 1] == whole.sweep.results[fits - 1]
    request.max_response_bytes = 100
    refused = await failure(explainer.stub.GetSweep(request))
    assert "at most 100: raise your channel's receive limit" in refused.message
    with pytest.raises(grpc.aio.AioRpcError):
        await sweeping.explainer.RankSweep(pb.RankSweepRequest(name=name, max_response_bytes=-1))
    stored = pb.Sweep()
    assert operation.response.Unpack(stored)
    assert len(stored.results) == 12


async def test_lists_come_in_pages_that_fit(explainer: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeping = Sweeping.of(explainer.channel)
    made = [await sweeping.create(sweep()) for _ in range(3)]
    for each in made:
        await sweeping.wait(each)
    monkeypatch.setattr(pages, "PAGE_BYTES", 400)
    found: list[Any] = []
    request = operations_pb2.ListOperationsRequest()
    while True:
        page = await sweeping.operations.ListOperations(request)
        assert page.ByteSize() < 800
        found += page.operations
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert [each.name for each in found] == [f"operations/{each}" for each in reversed(made)]
    short = pb.Sweep()
    assert found[0].response.Unpack(short)
    assert short == pb.Sweep(), "it is asked for by its name"
    monkeypatch.setattr("earwitness.explainer.sweep.sizes.OPERATION_BYTES", 300)
    first = await sweeping.operations.GetOperation(operations_pb2.GetOperationRequest(name=found[0].name))
    assert first.response.Unpack(short)
    assert short.grid
    assert not short.results
