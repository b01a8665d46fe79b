"""Every RPC doing what it is for."""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.rpc.tensors import encode
from earwitness.scorer.frechet import factor_rows, frechet_distance
from earwitness.scorer.server import SERVICE_NAME
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.running import UNITS, WEIGHTS, Running, creation, parts, rows_of, running, scoring


async def test_create_and_get(scorer: Running) -> None:
    selection = pb.Selection(bottom=pb.Selection.Extreme(unit=3, k=50))
    request = creation("bottom-50", selection=selection, description="five songs")
    request.reference.row_count = 99  # output only: ignored
    made = (await scorer.stub.CreateReference(request)).reference
    assert made.name == "references/bottom-50"
    assert (made.model, made.weights_sha256, made.layer) == ("models/svd-r1", WEIGHTS, "fc9")
    assert (made.unit_count, made.feature_profile, made.description) == (UNITS, "log-mel-80@1", "five songs")
    assert made.selection == selection
    assert (made.row_count, made.shard_count, len(made.versions)) == (0, 0, 0)
    assert made.etag
    assert made.create_time.seconds > 1.7e9
    assert (await scorer.stub.GetReference(pb.GetReferenceRequest(name=made.name))).reference == made


async def test_the_same_request_id_is_the_same_call(scorer: Running) -> None:
    request = creation()
    first = await scorer.stub.CreateReference(request)
    request.request_id = request.request_id.upper()
    assert await scorer.stub.CreateReference(request) == first
    answers = await asyncio.gather(*(scorer.stub.CreateReference(creation_of("same")) for _ in range(5)))
    assert len({answer.reference.etag for answer in answers}) == 1


def creation_of(reference_id: str) -> pb.CreateReferenceRequest:
    request = creation(reference_id)
    request.request_id = "6f4c1f0e-8c43-4b5e-9d5a-0c9f2e7d1a34"
    return request


@pytest.mark.parametrize("chunk_bytes", [5, 2**20])
async def test_append_in_any_chunks_and_again(scorer: Running, chunk_bytes: int) -> None:
    await scorer.stub.CreateReference(creation())
    rows = rows_of(100)
    first = await scorer.append(parts(rows, chunk_bytes=chunk_bytes, shard_id="a"))
    assert (first.row_count, first.duplicate) == (100, False)
    again = await scorer.append(parts(rows, shard_id="a"))
    assert (again.row_count, again.duplicate) == (100, True)
    other = await scorer.append(parts(rows[:30], shard_id="b"))
    assert (other.row_count, other.duplicate) == (130, False)
    assert scorer.metric("scorer_appends_total", result="added") == 2
    assert scorer.metric("scorer_appends_total", result="duplicate") == 1
    assert scorer.metric("scorer_rows_total") == 130


async def test_a_shard_that_is_there_is_not_read(scorer: Running) -> None:
    """The answer comes although the chunks never do."""
    await scorer.stub.CreateReference(creation())
    message = parts(rows_of(10))
    await scorer.append(message)
    call = scorer.stub.AppendActivations()
    await call.write(message[0])
    assert (await asyncio.wait_for(call, 60)).duplicate


async def test_appends_of_one_shard_at_once_count_it_once(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    message = parts(rows_of(1000))
    answers = await asyncio.gather(*(scorer.append(message) for _ in range(6)))
    assert sum(not answer.duplicate for answer in answers) == 1
    assert {answer.row_count for answer in answers} == {1000}


async def test_a_shard_of_several_blocks(scorer: Running) -> None:
    rows = rows_of(600_000)
    version = await scorer.frozen_reference(rows)
    assert version.row_count == 600_000
    score = (await scorer.stub.Score(scoring(rows[:50]))).score
    assert score.distance == pytest.approx(frechet_distance(rows[:50], factor_rows(rows)).distance, rel=1e-9)


async def test_a_broken_off_stream_counts_nothing_and_can_be_sent_again(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    message = parts(rows_of(200_000))
    call = scorer.stub.AppendActivations()
    for part in message[:2]:
        await call.write(part)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    reference = (await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/r"))).reference
    assert (reference.row_count, reference.shard_count) == (0, 0)
    assert not (await scorer.append(message)).duplicate


async def test_freeze_makes_versions(scorer: Running) -> None:
    first = await scorer.frozen_reference(rows_of(40))
    assert first.name == "references/r/versions/1"
    assert (first.row_count, first.selected_count) == (40, 40)
    assert not first.HasField("unit_minimum")
    again = await scorer.stub.FreezeReference(pb.FreezeReferenceRequest(name="references/r"))
    assert again.version == first
    await scorer.append(parts(rows_of(10, seed=1), shard_id="more"))
    reference = (await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/r"))).reference
    request = pb.FreezeReferenceRequest(name="references/r", etag=reference.etag)
    second = (await scorer.stub.FreezeReference(request)).version
    assert (second.name, second.row_count) == ("references/r/versions/2", 50)
    reference = (await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/r"))).reference
    assert list(reference.versions) == [first, second]


@pytest.mark.parametrize("kind", ["top", "bottom"])
async def test_extreme_selections_over_shards_and_versions(scorer: Running, kind: str) -> None:
    selection = pb.Selection(**{kind: pb.Selection.Extreme(unit=2, k=20)})
    rows = rows_of(300)
    version = await scorer.frozen_reference(rows[:100], selection=selection)
    for index in (1, 2):
        await scorer.append(parts(rows[100 * index : 100 * index + 100], shard_id=f"part {index}"))
    version = (await scorer.stub.FreezeReference(pb.FreezeReferenceRequest(name="references/r"))).version
    order = np.argsort(rows[:, 2])
    chosen = rows[order[-20:] if kind == "top" else order[:20]]
    assert (version.row_count, version.selected_count) == (300, 20)
    assert (version.unit_minimum, version.unit_maximum) == (chosen[:, 2].min(), chosen[:, 2].max())
    batch = rows_of(30, seed=5)
    score = (await scorer.stub.Score(scoring(batch))).score
    assert score.distance == pytest.approx(frechet_distance(batch, factor_rows(chosen)).distance, rel=1e-9)


async def test_score_of_a_layer(scorer: Running) -> None:
    rows, batch = rows_of(500), rows_of(3, seed=1) + np.float32(2)
    version = await scorer.frozen_reference(rows)
    answer = await scorer.stub.Score(scoring(batch))
    score = answer.score
    expected = frechet_distance(batch, factor_rows(rows))
    assert answer.version == version
    assert score.distance == pytest.approx(expected.distance, rel=1e-9)
    assert score.distance == score.mean_term + score.covariance_term
    assert (score.row_count, score.reference_row_count, score.dimension_count) == (3, 500, UNITS)
    assert (score.rank, score.rank_deficient) == (2, True)
    assert 0 <= score.interval_low <= score.distance <= score.interval_high
    assert 0 < score.noise_floor < score.noise_floor_high < score.distance
    outside = ((batch < rows.min(axis=0)) | (batch > rows.max(axis=0))).mean(axis=0)
    assert score.outside_range_ratio == pytest.approx(outside.max())
    assert scorer.metric("scorer_distance_sum") == score.distance
    assert scorer.metric("scorer_score_seconds_count") == 1
    assert scorer.metric("scorer_freeze_seconds_count") == 1
    assert scorer.metric("earwitness_store_seconds_count", access="write") >= 3


async def test_score_of_one_unit_is_the_formula_of_the_paper(scorer: Running) -> None:
    rows, batch = rows_of(50), rows_of(50, seed=1) * np.float32(3)
    await scorer.frozen_reference(rows)
    score = (await scorer.stub.Score(scoring(batch, unit=0))).score
    left, right = batch[:, 0].astype(float), rows[:, 0].astype(float)
    expected = (left.mean() - right.mean()) ** 2 + (left.std(ddof=1) - right.std(ddof=1)) ** 2
    assert score.distance == pytest.approx(expected, rel=1e-9)
    assert (score.dimension_count, score.rank, score.rank_deficient) == (1, 1, False)


async def test_fp64_rows_and_seeds(scorer: Running) -> None:
    rows, batch = rows_of(100), rows_of(20, seed=1)
    await scorer.frozen_reference(rows)
    single = (await scorer.stub.Score(scoring(batch, seed=3))).score
    double = (await scorer.stub.Score(scoring(batch, activations=encode(batch.astype(np.float64)), seed=3))).score
    other = (await scorer.stub.Score(scoring(batch, seed=4))).score
    assert single == double
    assert other.distance == single.distance
    assert other.interval_low != single.interval_low
    assert other.noise_floor != single.noise_floor


async def test_old_versions_stay_as_they_were(scorer: Running) -> None:
    rows, batch = rows_of(100), rows_of(20, seed=1)
    await scorer.frozen_reference(rows)
    before = await scorer.stub.Score(scoring(batch))
    await scorer.append(parts(rows + 1, shard_id="more"))
    still = await scorer.stub.Score(scoring(batch))
    assert still == before, "what is appended counts once it is frozen"
    await scorer.stub.FreezeReference(pb.FreezeReferenceRequest(name="references/r"))
    newest = await scorer.stub.Score(scoring(batch))
    assert newest.version.name == "references/r/versions/2"
    assert newest.score.distance != before.score.distance
    assert await scorer.stub.Score(scoring(batch, reference="references/r/versions/1")) == before


async def test_list_in_pages(scorer: Running) -> None:
    for index in range(5):
        await scorer.stub.CreateReference(creation(f"r{index}", model=f"models/m{index % 2}"))
    seen, token, pages = [], "", 0
    while pages == 0 or token:
        answer = await scorer.stub.ListReferences(pb.ListReferencesRequest(page_size=2, page_token=token))
        assert len(answer.references) <= 2
        seen += [each.name for each in answer.references]
        token, pages = answer.next_page_token, pages + 1
    assert seen == [f"references/r{index}" for index in range(5)]
    assert pages == 3
    some = await scorer.stub.ListReferences(pb.ListReferencesRequest(model="models/m1"))
    assert [each.name for each in some.references] == ["references/r1", "references/r3"]
    assert not some.next_page_token
    exact = await scorer.stub.ListReferences(pb.ListReferencesRequest(page_size=5))
    assert not exact.next_page_token


async def test_delete(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(10))
    reference = (await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/r"))).reference
    await scorer.stub.DeleteReference(pb.DeleteReferenceRequest(name="references/r", etag=reference.etag))
    assert not (await scorer.stub.ListReferences(pb.ListReferencesRequest())).references
    await scorer.frozen_reference(rows_of(20))
    score = (await scorer.stub.Score(scoring(rows_of(5)))).score
    assert score.reference_row_count == 20, "nothing of the old one is left, in no cache either"


async def test_references_survive_a_restart(tmp_path: Path) -> None:
    batch = rows_of(20, seed=1)
    async with running(tmp_path) as scorer:
        await scorer.frozen_reference(rows_of(100))
        before = await scorer.stub.Score(scoring(batch))
    async with running(tmp_path) as scorer:
        assert await scorer.stub.Score(scoring(batch)) == before
        assert (await scorer.append(parts(rows_of(100)))).duplicate


async def test_two_replicas_on_one_database(tmp_path: Path) -> None:
    async with (
        running(tmp_path, max_concurrent_appends=10) as left,
        running(tmp_path, max_concurrent_appends=10) as right,
    ):
        await left.stub.CreateReference(creation())
        shards = [parts(rows_of(10, seed=index), shard_id=f"s{index}") for index in range(10)]
        await asyncio.gather(*(replica.append(shard) for replica in (left, right) for shard in shards))
        version = (await right.stub.FreezeReference(pb.FreezeReferenceRequest(name="references/r"))).version
        assert version.row_count == 100
        assert (await left.stub.Score(scoring(rows_of(5)))).version == version


async def test_health_tells_of_the_store_and_metrics_of_the_references(scorer: Running) -> None:
    for index in range(3):
        await scorer.stub.CreateReference(creation(f"r{index}"))
    health = health_pb2_grpc.HealthStub(scorer.channel)
    for name in ("", SERVICE_NAME):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for _ in range(50):
        if scorer.metric("scorer_references") == 3:
            break
        await asyncio.sleep(0.1)
    assert scorer.metric("scorer_references") == 3


async def test_an_early_answer_does_not_break_a_sender_in_full_flow(scorer: Running) -> None:
    """A duplicate of 30 MiB is answered while the client still sends; the next calls of the channel work."""
    await scorer.stub.CreateReference(creation())
    data = rows_of(2_000_000 // UNITS).astype("<f4").tobytes()
    message = parts(np.frombuffer(data, "<f4").reshape(-1, UNITS))
    assert message[0].header.sha256 == hashlib.sha256(data).hexdigest()
    for duplicate in (False, True, True):
        assert (await scorer.append(message)).duplicate is duplicate


async def test_calls_that_are_given_up_leave_no_slot_taken(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrent_appends=2) as scorer:
        await scorer.stub.CreateReference(creation())
        message = parts(rows_of(100))
        for _ in range(20):
            call = scorer.stub.AppendActivations()
            await call.write(message[0])
            call.cancel()
        async with asyncio.timeout(60):
            answer = None
            while answer is None:  # the server hears of a cancellation a little later
                with suppress(grpc.aio.AioRpcError):
                    answer = await scorer.append(message)
        assert answer.row_count == 100
