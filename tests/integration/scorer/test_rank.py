"""Rankings over gRPC: what they say, and what is refused."""

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from earwitness.client import RpcFailure, ScorerClient
from earwitness.rpc.tensors import encode
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.types.v1.tensor_pb2 import Tensor
from tests.integration.scorer.running import UNITS, WEIGHTS, Running, ranking, rows_of, scoring

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ROWS = rows_of(10)
GOOD = {"a": ROWS, "b": ROWS + 1}


@pytest.mark.parametrize("changes", [{}, {"unit": 2}])
async def test_batches_come_back_best_first_with_their_scores(scorer: Running, changes: dict[str, int]) -> None:
    version = await scorer.frozen_reference(rows_of(300))
    batches = {f"by {shift}": rows_of(50, seed=1) + np.float32(shift) for shift in (40, 0, 2)}
    answer = await scorer.stub.Rank(ranking(batches, seed=3, **changes))
    assert answer.version == version
    assert [(each.rank, each.id) for each in answer.batches] == [(1, "by 0"), (2, "by 2"), (3, "by 40")]
    assert [each.probability_best for each in answer.batches] == [1, 0, 0]
    assert [each.leaves_range for each in answer.batches] == [False, False, True]
    for each in answer.batches:
        alone = await scorer.stub.Score(scoring(batches[each.id], seed=3, **changes))
        assert each.score == alone.score
    backwards = await scorer.stub.Rank(ranking(dict(reversed(batches.items())), seed=3, **changes))
    assert backwards == answer
    assert scorer.metric("scorer_rank_seconds_count") == 2


@pytest.mark.parametrize("changes", [{}, {"selection": pb.Selection(top=pb.Selection.Extreme(unit=2, k=50))}])
async def test_the_column_of_a_unit_is_compared_as_in_its_layer(scorer: Running, changes: dict[str, Any]) -> None:
    await scorer.frozen_reference(rows_of(300), **changes)
    layers = {f"by {shift}": rows_of(50, seed=1) + np.float32(shift) for shift in (40, 0, 2)}
    columns = {each: rows[:, 2:3] for each, rows in layers.items()}
    assert await scorer.stub.Rank(ranking(columns, unit=2)) == await scorer.stub.Rank(ranking(layers, unit=2))
    for each, column in columns.items():
        whole = await scorer.stub.Score(scoring(layers[each], unit=2))
        assert await scorer.stub.Score(scoring(column, unit=2)) == whole


async def test_a_column_is_of_a_unit_that_is_told(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(40))
    column = rows_of(10, units=1)
    for method, request in (("Score", scoring), ("Rank", ranking)):
        batch = column if method == "Score" else {"a": column}
        beyond = await scorer.refusal(method, request(batch, unit=UNITS))
        assert (beyond.code, [each.field for each in beyond.violations]) == (INVALID, ["unit"])
        for changes in ({"layer": "fc8", "unit": 2}, {"weights_sha256": "cd" * 32, "unit": 2}, {}):
            failure = await scorer.refusal(method, request(batch, **changes))
            assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_MISMATCH")


async def test_a_unit_of_more_than_a_message_holds_is_ranked_by_the_client(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(300, units=64), unit_count=64)
    layers = {str(shift): rows_of(3000, seed=1, units=64) + np.float32(shift) for shift in range(21)}
    assert sum(rows.nbytes for rows in layers.values()) > 15 * 2**20
    async with ScorerClient(f"127.0.0.1:{scorer.port}") as client:
        against = {"reference": "r", "model": "svd-r1", "weights_sha256": WEIGHTS, "layer": "fc9"}
        found = await client.rank(layers, unit=63, **against)
        assert [each.id for each in found.batches] == [str(shift) for shift in range(21)]
        assert {each.score.dimension_count for each in found.batches} == {1}
        with pytest.raises(RpcFailure, match=r"INVALID_ARGUMENT: batches: hold \d+ bytes .* send the column alone"):
            await client.rank(layers, **against)
        for beyond in (-1, 64):
            with pytest.raises(RpcFailure, match="INVALID_ARGUMENT: unit: is"):
                await client.rank({"a": layers["0"]}, unit=beyond, **against)


async def test_below_the_top_rows_the_data_go_on(scorer: Running) -> None:
    selection = pb.Selection(top=pb.Selection.Extreme(unit=0, k=50))
    await scorer.frozen_reference(rows_of(300), selection=selection)
    batches = {"shy": rows_of(50, seed=1), "wild": rows_of(50, seed=1) + np.float32(50)}
    answer = await scorer.stub.Rank(ranking(batches, unit=0))
    assert {each.id: each.leaves_range for each in answer.batches} == {"shy": False, "wild": True}
    assert {each.id: each.score.outside_range_ratio for each in answer.batches} == {"shy": 0.02, "wild": 1}
    shy = await scorer.stub.Score(scoring(batches["shy"], unit=0))
    assert shy.score.outside_range_ratio == 0.02


async def test_versions_and_fp64(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(300))
    single = await scorer.stub.Rank(ranking(GOOD))
    double = ranking(
        {each: rows.astype(np.float64) for each, rows in GOOD.items()}, reference="references/r/versions/1"
    )
    assert await scorer.stub.Rank(double) == single


async def test_a_paper_sweep_ranks_in_a_moment_and_blocks_nobody(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(50, units=64), unit_count=64)
    batches = {str(index): rows_of(50, seed=index, units=64) for index in range(27)}
    start = time.process_time()  # the server is in this process; the wall clock depends on what else runs
    answer = await scorer.stub.Rank(ranking(batches, unit=5))
    assert time.process_time() - start < 1.5
    assert sum(each.probability_best for each in answer.batches) == pytest.approx(1)
    layer = asyncio.ensure_future(scorer.stub.Rank(ranking(batches)))
    answered = 0
    while not layer.done():
        await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/r"))
        answered += 1
    assert len((await layer).batches) == 27
    assert answered > 5


def second(activations: Tensor, batch_id: str = "b") -> pb.RankRequest:
    """A right first batch, and this one."""
    request = ranking({"a": ROWS})
    request.batches.append(pb.Batch(id=batch_id, activations=activations))
    return request


def with_value(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[7, 2] = value
    return rows


BAD_FIELDS: list[tuple[pb.RankRequest, str]] = [
    (pb.RankRequest(), "reference"),
    (ranking(GOOD, reference="r"), "reference"),
    (ranking(GOOD, reference="references/r/versions/0"), "reference"),
    (ranking(GOOD, model="svd-r1"), "model"),
    (ranking(GOOD, weights_sha256="AB" * 32), "weights_sha256"),
    (ranking(GOOD, layer=""), "layer"),
    (ranking(GOOD, unit=UNITS), "unit"),
    (ranking(GOOD, unit=-1), "unit"),
    (ranking(GOOD, seed=-1), "seed"),
    (ranking({}), "batches"),
    (ranking({str(index): ROWS[:2] for index in range(1001)}), "batches"),
    (ranking({str(index): rows_of(200_000) for index in range(5)}), "batches"),
    (ranking({"": ROWS}), "batches[0].id"),
    (ranking({"a\nb": ROWS}), "batches[0].id"),
    (ranking({"x" * 201: ROWS}), "batches[0].id"),
    (second(encode(ROWS), "a"), "batches[1].id"),
    (ranking({"one": ROWS[:1]}), "batches[0].activations.shape"),
    (second(encode(ROWS[:9])), "batches[1].activations.shape"),
    (second(encode(rows_of(10, units=UNITS + 1))), "batches[1].activations.shape"),
    (second(Tensor()), "batches[1].activations.datatype"),
    (second(Tensor(datatype="INT8", shape=[10, UNITS], data=ROWS.tobytes())), "batches[1].activations.datatype"),
    (second(Tensor(datatype="FP32", shape=[10 * UNITS], data=ROWS.tobytes())), "batches[1].activations.shape"),
    (second(Tensor(datatype="FP32", shape=[10, UNITS], data=ROWS.tobytes()[:-1])), "batches[1].activations.data"),
    (second(encode(with_value(np.nan))), "batches[1].activations.data"),
    (second(encode(with_value(-np.inf))), "batches[1].activations.data"),
    (second(encode(ROWS.astype(np.float64) * 1e300)), "batches[1].activations.data"),
]


async def test_every_wrong_field_is_named(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(40))
    for request, field in BAD_FIELDS:
        failure = await scorer.refusal("Rank", request)
        assert failure.code == INVALID, (field, failure)
        assert [each.field for each in failure.violations] == [field], failure
        assert failure.violations[0].description
    assert len((await scorer.stub.Rank(ranking(GOOD))).batches) == 2


async def test_unequal_sizes_say_why(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(40))
    failure = await scorer.refusal("Rank", second(encode(ROWS[:9])))
    assert "[9, 4]" in failure.message
    assert "[10, 4]" in failure.message
    assert "biased by the number of rows" in failure.message


async def test_references_that_cannot_be_ranked_against(scorer: Running) -> None:
    missing = await scorer.refusal("Rank", ranking(GOOD))
    assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND")
    await scorer.frozen_reference(rows_of(40))
    version = await scorer.refusal("Rank", ranking(GOOD, reference="references/r/versions/2"))
    assert (version.code, version.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND")
    for changes in ({"model": "models/other"}, {"weights_sha256": "cd" * 32}, {"layer": "fc8"}):
        failure = await scorer.refusal("Rank", ranking(GOOD, **changes))
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_MISMATCH")
        assert failure.metadata["field"] == next(iter(changes))
    units = await scorer.refusal("Rank", ranking({"a": rows_of(10, units=UNITS + 1)}))
    assert (units.reason, units.metadata["field"]) == ("REFERENCE_MISMATCH", "unit_count")


async def test_a_deadline_ends_a_ranking_and_leaves_the_server_free(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(500, units=200), unit_count=200)
    batches = {str(index): rows_of(100, seed=index, units=200) for index in range(50)}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scorer.stub.Rank(ranking(batches), timeout=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    few = ranking({"a": batches["0"]}, unit=0)
    assert len((await asyncio.wait_for(scorer.stub.Rank(few), 60)).batches) == 1
