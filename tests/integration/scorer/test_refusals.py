"""Bad input to every RPC: the right code, the field named, nothing lost, the server alive."""

from typing import Any

import grpc
import numpy as np
import pytest

from earwitness.rpc.tensors import encode
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.types.v1.tensor_pb2 import Tensor
from tests.integration.scorer.refusing import INVALID, ROWS, assert_works, moments, state
from tests.integration.scorer.running import (
    UNITS,
    WEIGHTS,
    Running,
    chunks,
    creation,
    header,
    parts,
    rows_of,
    scoring,
)

DATA = ROWS.tobytes()


def tensor(rows: Any, **changes: Any) -> Tensor:
    message = encode(np.asarray(rows, dtype=np.float32))
    for name, value in changes.items():
        message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message


def with_value(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[7, 2] = value
    return rows


def extreme(kind: str, unit: int, k: int) -> dict[str, Any]:
    return {"selection": pb.Selection(**{kind: pb.Selection.Extreme(unit=unit, k=k)})}


def create(**changes: Any) -> pb.CreateReferenceRequest:
    request = creation("new")
    request.MergeFrom(pb.CreateReferenceRequest(**changes))
    return request


BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("CreateReference", pb.CreateReferenceRequest(), "request_id"),
    ("CreateReference", create(request_id="not-a-uuid"), "request_id"),
    ("CreateReference", create(request_id="6f4c1f0e-8c43-1b5e-9d5a-0c9f2e7d1a34"), "request_id"),
    ("CreateReference", create(reference_id="Upper"), "reference_id"),
    ("CreateReference", create(reference_id="a" * 64), "reference_id"),
    ("CreateReference", creation("new", model="svd-r1"), "reference.model"),
    ("CreateReference", creation("new", model="references/svd-r1"), "reference.model"),
    ("CreateReference", creation("new", weights_sha256="AB" * 32), "reference.weights_sha256"),
    ("CreateReference", creation("new", layer=""), "reference.layer"),
    ("CreateReference", creation("new", layer="x" * 201), "reference.layer"),
    ("CreateReference", creation("new", unit_count=0), "reference.unit_count"),
    ("CreateReference", creation("new", unit_count=4097), "reference.unit_count"),
    ("CreateReference", creation("new", feature_profile=""), "reference.feature_profile"),
    ("CreateReference", creation("new", description="x" * 1001), "reference.description"),
    ("CreateReference", creation("new", selection=pb.Selection()), "reference.selection"),
    ("CreateReference", creation("new", **extreme("top", UNITS, 50)), "reference.selection.top.unit"),
    ("CreateReference", creation("new", **extreme("bottom", -1, 50)), "reference.selection.bottom.unit"),
    ("CreateReference", creation("new", **extreme("top", 0, 1)), "reference.selection.top.k"),
    ("CreateReference", creation("new", **extreme("bottom", 0, 10_001)), "reference.selection.bottom.k"),
    ("AppendActivations", [], "header"),
    ("AppendActivations", chunks(DATA), "header"),
    ("AppendActivations", [pb.AppendActivationsRequest()], "header"),
    ("AppendActivations", [header(DATA), header(DATA)], "chunk"),
    ("AppendActivations", [header(DATA), pb.AppendActivationsRequest()], "chunk"),
    ("AppendActivations", parts(ROWS, reference="r"), "header.reference"),
    ("AppendActivations", parts(ROWS, reference="references/r/versions/1"), "header.reference"),
    ("AppendActivations", parts(ROWS, shard_id=""), "header.shard_id"),
    ("AppendActivations", parts(ROWS, shard_id="a\nb"), "header.shard_id"),
    ("AppendActivations", parts(ROWS, row_count=0), "header.row_count"),
    ("AppendActivations", parts(ROWS, row_count=1_000_001), "header.row_count"),
    ("AppendActivations", parts(ROWS, sha256="x"), "header.sha256"),
    ("AppendActivations", parts(ROWS, sha256="0" * 64), "header.sha256"),
    ("AppendActivations", [header(DATA)], "chunk"),
    ("AppendActivations", [header(DATA), *chunks(DATA[:-1])], "chunk"),
    ("AppendActivations", [header(DATA), *chunks(DATA + b"1")], "chunk"),
    ("AppendActivations", parts(rows_of(2**16 + 1), chunk_bytes=2**20 + 4 * UNITS), "chunk"),
    ("AppendActivations", parts(with_value(np.nan)), "chunk"),
    ("AppendActivations", parts(with_value(-np.inf)), "chunk"),
    ("MergeStatistics", [], "header"),
    ("MergeStatistics", moments()[1:], "header"),
    ("MergeStatistics", moments()[:1] * 2, "chunk"),
    ("MergeStatistics", moments(reference="r"), "header.reference"),
    ("MergeStatistics", moments(shard_id=""), "header.shard_id"),
    ("MergeStatistics", moments(row_count=0), "header.row_count"),
    ("MergeStatistics", moments(row_count=10**12 + 1), "header.row_count"),
    ("MergeStatistics", moments(sha256="x"), "header.sha256"),
    ("MergeStatistics", moments(sha256="0" * 64), "header.sha256"),
    ("MergeStatistics", moments(form=pb.PARTIAL_FORM_UNSPECIFIED), "header.form"),
    ("MergeStatistics", moments(form=3), "header.form"),
    ("MergeStatistics", moments(form=pb.PARTIAL_FORM_ROWS), "chunk"),
    ("MergeStatistics", moments(form=pb.PARTIAL_FORM_ROWS, row_count=10**8), "header.row_count"),
    ("MergeStatistics", moments()[:1], "chunk"),
    ("MergeStatistics", [*moments(), pb.MergeStatisticsRequest(chunk=b"1")], "chunk"),
    ("MergeStatistics", moments(mean=np.full(UNITS, np.nan)), "chunk"),
    ("MergeStatistics", moments(mean=np.full(UNITS, 1.1)), "chunk"),
    ("MergeStatistics", moments(minimum=np.full(UNITS, 2.0)), "chunk"),
    ("MergeStatistics", moments(maximum=np.full(UNITS, np.inf)), "chunk"),
    ("MergeStatistics", moments(scatter=-5 * np.eye(UNITS)), "chunk"),
    ("MergeStatistics", moments(scatter=50 * np.eye(UNITS)), "chunk"),
    ("MergeStatistics", moments(scatter=6 - np.eye(UNITS)), "chunk"),
    ("MergeStatistics", moments(scatter=np.full((UNITS, UNITS), np.nan)), "chunk"),
    ("ReadStatistics", pb.ReadStatisticsRequest(name="r"), "name"),
    ("ReadStatistics", pb.ReadStatisticsRequest(name="references/r/versions/0"), "name"),
    ("FreezeReference", pb.FreezeReferenceRequest(name="r"), "name"),
    ("GetReference", pb.GetReferenceRequest(), "name"),
    ("GetReference", pb.GetReferenceRequest(name="references/R"), "name"),
    ("ListReferences", pb.ListReferencesRequest(page_size=-1), "page_size"),
    ("ListReferences", pb.ListReferencesRequest(page_token="garbage"), "page_token"),
    ("ListReferences", pb.ListReferencesRequest(page_token="Z2FyYmFnZQ=="), "page_token"),
    ("ListReferences", pb.ListReferencesRequest(model="svd-r1"), "model"),
    ("DeleteReference", pb.DeleteReferenceRequest(name="references/"), "name"),
    ("Score", scoring(ROWS, reference="r"), "reference"),
    ("Score", scoring(ROWS, reference="references/r/versions/0"), "reference"),
    ("Score", scoring(ROWS, reference="references/r/versions/x"), "reference"),
    ("Score", scoring(ROWS, model="svd-r1"), "model"),
    ("Score", scoring(ROWS, weights_sha256=""), "weights_sha256"),
    ("Score", scoring(ROWS, layer=""), "layer"),
    ("Score", scoring(ROWS, unit=UNITS), "unit"),
    ("Score", scoring(ROWS, unit=-1), "unit"),
    ("Score", scoring(ROWS, seed=-1), "seed"),
    ("Score", scoring(ROWS[:1]), "activations.shape"),
    ("Score", scoring(ROWS, activations=Tensor()), "activations.datatype"),
    ("Score", scoring(ROWS, activations=tensor(ROWS, datatype="FP16")), "activations.datatype"),
    ("Score", scoring(ROWS, activations=tensor(ROWS, shape=[10, UNITS, 1])), "activations.shape"),
    ("Score", scoring(ROWS, activations=tensor(ROWS, shape=[10 * UNITS])), "activations.shape"),
    ("Score", scoring(ROWS, activations=tensor(ROWS, shape=[0, UNITS])), "activations.shape"),
    ("Score", scoring(ROWS, activations=tensor(ROWS, shape=[11, UNITS])), "activations.data"),
    ("Score", scoring(ROWS, activations=tensor(ROWS, data=DATA[:-1])), "activations.data"),
    ("Score", scoring(with_value(np.nan)), "activations.data"),
    ("Score", scoring(with_value(np.inf)), "activations.data"),
    ("Score", scoring(ROWS.astype(np.float64) * 1e300), "activations.data"),
]


async def test_every_wrong_field_is_named_and_changes_nothing(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(40))
    before = await state(scorer)
    for method, request, field in BAD_FIELDS:
        if method in ("AppendActivations", "MergeStatistics"):
            for part in request:
                if part.HasField("header") and part.header.shard_id == "shard":
                    part.header.shard_id = "bad"
        failure = await scorer.refusal(method, request)
        assert failure.code == INVALID, (method, field, failure)
        assert [each.field for each in failure.violations] == [field], (method, failure)
        assert failure.reason == "INVALID_FIELD"
        assert failure.violations[0].description
        assert await state(scorer) == before, (method, field)
    await assert_works(scorer)


async def test_a_row_that_is_not_finite_is_named(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    failure = await scorer.refusal("AppendActivations", parts(with_value(np.nan)))
    assert "row 7, unit 2 is nan" in failure.violations[0].description


async def test_a_shard_over_64_mib_is_refused_before_its_rows(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation(unit_count=4096))
    failure = await scorer.refusal("AppendActivations", [header(DATA, row_count=4097)])
    assert (failure.code, failure.violations[0].field) == (INVALID, "header.row_count")
    assert "send shards of at most 4096 rows" in failure.violations[0].description


async def test_bytes_that_are_no_message(scorer: Running) -> None:
    call = scorer.channel.unary_unary("/earwitness.scorer.v1.ScorerService/Score")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff")
    assert caught.value.code() == INVALID
    await assert_works(scorer)


async def test_a_refusal_arrives_while_the_stream_is_still_written(scorer: Running) -> None:
    """Every other one was lost in grpc.aio's client, which said INTERNAL: now the stream is read out first."""
    await scorer.stub.CreateReference(creation())
    for _ in range(40):
        failure = await scorer.refusal("AppendActivations", parts(ROWS, chunk_bytes=2, row_count=0))
        assert (failure.code, failure.violations[0].field) == (INVALID, "header.row_count")
    await scorer.append(parts(ROWS))
    for _ in range(40):  # one that is there already is answered early, too
        assert (await scorer.append(parts(ROWS, chunk_bytes=2))).duplicate
    endless = scorer.stub.AppendActivations()
    await endless.write(header(DATA, row_count=0))
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # not for ever
        await endless
    assert caught.value.code() == INVALID


async def test_a_message_over_the_limit(scorer: Running) -> None:
    await scorer.frozen_reference(ROWS)
    failure = await scorer.refusal("Score", scoring(rows_of(1_100_000)))
    assert failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    await assert_works(scorer)


UNKNOWN: list[tuple[str, Any]] = [
    ("AppendActivations", parts(ROWS, reference="references/none")),
    ("MergeStatistics", moments(reference="references/none")),
    ("ReadStatistics", pb.ReadStatisticsRequest(name="references/none")),
    ("FreezeReference", pb.FreezeReferenceRequest(name="references/none")),
    ("GetReference", pb.GetReferenceRequest(name="references/none")),
    ("DeleteReference", pb.DeleteReferenceRequest(name="references/none")),
    ("Score", scoring(ROWS, reference="references/none")),
    ("Score", scoring(ROWS, reference="references/none/versions/1")),
]


@pytest.mark.parametrize(("method", "request_message"), UNKNOWN)
async def test_an_unknown_reference(scorer: Running, method: str, request_message: Any) -> None:
    failure = await scorer.refusal(method, request_message)
    assert failure.code == grpc.StatusCode.NOT_FOUND
    assert failure.reason == "REFERENCE_NOT_FOUND"
    assert (failure.resource_type, failure.resource_name) == ("earwitness.scorer.v1.Reference", "references/none")
    await assert_works(scorer)


async def test_an_unknown_version(scorer: Running) -> None:
    await scorer.frozen_reference(ROWS)
    failure = await scorer.refusal("Score", scoring(ROWS, reference="references/r/versions/2"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND")
    assert failure.resource_name == "references/r/versions/2"


async def test_a_reference_that_is_there(scorer: Running) -> None:
    request = creation()
    await scorer.stub.CreateReference(request)
    failure = await scorer.refusal("CreateReference", creation())
    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REFERENCE_EXISTS")
    assert failure.resource_name == "references/r"
    request.reference.layer = "fc8"
    failure = await scorer.refusal("CreateReference", request)
    assert (failure.code, failure.violations[0].field) == (INVALID, "request_id")


async def test_a_shard_id_with_other_contents(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    await scorer.append(parts(ROWS))
    for other in (parts(ROWS + 1), parts(ROWS[:5])):
        failure = await scorer.refusal("AppendActivations", other)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SHARD_EXISTS")
        assert "shard" in failure.resource_name
    assert (await state(scorer))[0].row_count == 10


MISMATCHES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"model": "models/svd-r2"}, {"field": "model", "batch": "models/svd-r2", "reference": "models/svd-r1"}),
    ({"weights_sha256": "cd" * 32}, {"field": "weights_sha256", "batch": "cd" * 32, "reference": WEIGHTS}),
    ({"layer": "fc8"}, {"field": "layer", "batch": "fc8", "reference": "fc9"}),
    (
        {"activations": tensor(rows_of(10, units=UNITS + 1))},
        {"field": "unit_count", "batch": str(UNITS + 1), "reference": str(UNITS)},
    ),
]


@pytest.mark.parametrize(("changes", "metadata"), MISMATCHES)
async def test_a_reference_of_another_source(
    scorer: Running, changes: dict[str, Any], metadata: dict[str, str]
) -> None:
    await scorer.frozen_reference(ROWS)
    failure = await scorer.refusal("Score", scoring(ROWS, **changes))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_MISMATCH")
    assert failure.metadata == metadata
    assert metadata["batch"] in failure.message
    assert metadata["reference"] in failure.message
    await assert_works(scorer)


async def test_states_that_do_not_allow_the_call(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    not_frozen = await scorer.refusal("Score", scoring(ROWS))
    assert (not_frozen.code, not_frozen.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_NOT_FROZEN")
    for _ in range(2):
        too_few = await scorer.refusal("FreezeReference", pb.FreezeReferenceRequest(name="references/r"))
        assert (too_few.code, too_few.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_FEW_ROWS")
        await scorer.append(parts(ROWS[:1]))


async def test_stale_etags(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    etag = (await state(scorer))[0].etag
    await scorer.append(parts(ROWS))
    before = await state(scorer)
    for method, request in (
        ("FreezeReference", pb.FreezeReferenceRequest(name="references/r", etag=etag)),
        ("DeleteReference", pb.DeleteReferenceRequest(name="references/r", etag=etag)),
    ):
        failure = await scorer.refusal(method, request)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
        assert await state(scorer) == before
    await assert_works(scorer)


async def test_a_deadline_that_is_over(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(500, units=200), unit_count=200)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scorer.stub.Score(scoring(rows_of(300, units=200)), timeout=0.05)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await assert_works(scorer)


async def test_a_page_token_of_another_list(scorer: Running) -> None:
    for index in range(3):
        await scorer.stub.CreateReference(creation(f"r{index}"))
    page = await scorer.stub.ListReferences(pb.ListReferencesRequest(page_size=1))
    other = pb.ListReferencesRequest(page_size=1, page_token=page.next_page_token, model="models/svd-r1")
    failure = await scorer.refusal("ListReferences", other)
    assert (failure.code, failure.violations[0].field) == (INVALID, "page_token")
