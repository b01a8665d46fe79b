"""Nearness over gRPC: what it says, and what is refused; and rankings by it and by several layers."""

import asyncio

import grpc
import grpc.aio
import numpy as np
import pytest

from earwitness.rpc.tensors import decode, encode
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.types.v1.tensor_pb2 import Tensor
from tests.integration.scorer.deep import COLUMNS, LAYERS, WIDTH, deep_reference, deep_rows, nearness, selected
from tests.integration.scorer.running import UNITS, Running, creation, ranking, rows_of, scoring

INVALID, UNFIT = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
ROWS = deep_rows(20, seed=3)
Near = pb.Criterion.LayerNearness
Distance = pb.Criterion.LayerDistance


def counted(kept: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """[rows, layers] by the comment of the proto."""
    found = []
    for columns in COLUMNS.values():
        real, given = kept[:, columns].astype(np.float64), rows[:, columns].astype(np.float64)
        scale = real.std(axis=0) + 0.05 * real.std(axis=0).max()
        apart = np.linalg.norm((given[:, np.newaxis] - real) / scale, axis=2)
        found.append(np.sort(apart, axis=1)[:, :count].mean(axis=1))
    return np.stack(found, axis=1)


async def measured(scorer: Running, request: pb.MeasureNearnessRequest) -> np.ndarray:
    answer = await scorer.stub.MeasureNearness(request)
    assert answer.distances.datatype == "FP64"
    return decode(answer.distances, "distances", rank=2)


async def test_it_is_the_distance_to_the_nearest_kept_rows(scorer: Running) -> None:
    rows = deep_rows(200)
    version = await deep_reference(scorer, rows)
    answer = await scorer.stub.MeasureNearness(nearness(ROWS))
    assert (answer.version, list(answer.layers)) == (version, list(LAYERS))
    whole = counted(selected(rows), ROWS, 5)
    np.testing.assert_allclose(await measured(scorer, nearness(ROWS)), whole, rtol=1e-9)
    one = nearness(ROWS[:1], layers=["fc10", "conv1"], neighbour_count=1, reference=version.name)
    np.testing.assert_allclose(await measured(scorer, one), counted(selected(rows), ROWS[:1], 1)[:, [2, 0]], rtol=1e-9)
    all_rows = await measured(scorer, nearness(ROWS.astype(np.float64), neighbour_count=40))
    np.testing.assert_allclose(all_rows, counted(selected(rows), ROWS, 40), rtol=1e-9)
    assert scorer.metric("scorer_nearness_seconds_count") == 4
    itself = await measured(scorer, nearness(selected(rows), neighbour_count=1))
    assert not itself.any()


async def test_a_reference_of_few_rows_and_of_one_layer(scorer: Running) -> None:
    rows = rows_of(50)
    await scorer.frozen_reference(rows, selection=pb.Selection(bottom=pb.Selection.Extreme(unit=0, k=3)))
    kept = rows[np.argsort(rows[:, 0])[:3]].astype(np.float64)
    found = await measured(scorer, nearness(rows, reference="references/r"))
    scale = kept.std(axis=0) + 0.05 * kept.std(axis=0).max()
    expected = np.linalg.norm((rows[:, np.newaxis] - kept) / scale, axis=2).mean(axis=1)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


async def test_every_wrong_field_of_nearness_is_named(scorer: Running) -> None:
    await deep_reference(scorer, deep_rows(200))
    spoiled = ROWS.astype(np.float64)
    spoiled[3, 3] = 1e39
    for request, field in (
        (pb.MeasureNearnessRequest(), "reference"),
        (nearness(ROWS, reference="deep"), "reference"),
        (nearness(ROWS, model="svd-r1"), "model"),
        (nearness(ROWS, weights_sha256="x"), "weights_sha256"),
        (nearness(ROWS, layers=["conv1", "pool9"]), "layers[1]"),
        (nearness(ROWS, layers=["fc9", "fc9"]), "layers[1]"),
        (nearness(ROWS, neighbour_count=-1), "neighbour_count"),
        (nearness(ROWS, neighbour_count=41), "neighbour_count"),
        (nearness(ROWS, activations=Tensor()), "activations.datatype"),
        (nearness(ROWS, activations=encode(ROWS[0])), "activations.shape"),
        (nearness(spoiled), "activations.data"),
        (nearness(deep_rows(500_000)), "activations.data"),
    ):
        failure = await scorer.refusal("MeasureNearness", request)
        assert (failure.code, [each.field for each in failure.violations]) == (INVALID, [field]), failure
    for changes in ({"model": "models/other"}, {"weights_sha256": "cd" * 32}):
        failure = await scorer.refusal("MeasureNearness", nearness(ROWS, **changes))
        assert (failure.code, failure.reason) == (UNFIT, "REFERENCE_MISMATCH")
    narrow = await scorer.refusal("MeasureNearness", nearness(ROWS[:, COLUMNS["fc9"]]))
    assert (narrow.code, narrow.metadata["field"], narrow.metadata["reference"]) == (UNFIT, "unit_count", str(WIDTH))


async def test_answers_are_no_larger_than_a_message(scorer: Running) -> None:
    units = [pb.KeptLayer(name=f"l{index}", unit_count=1) for index in range(3)]
    selection = pb.Selection(top=pb.Selection.Extreme(unit=0, k=2))
    await deep_reference(scorer, rows_of(9, units=3), "other", layer="l0", unit_count=1, kept_layers=units,
                         selection=selection)  # fmt: skip
    many = nearness(np.zeros((1_000_000, 3), np.float32), reference="references/other")
    failure = await scorer.refusal("MeasureNearness", many)
    assert (failure.code, [each.field for each in failure.violations]) == (INVALID, ["activations.shape"])
    assert "in 3 layers are 24000000 bytes; at most 15728640" in failure.message
    fewer = nearness(np.zeros((300_000, 3), np.float32), reference="references/other", layers=["l1"])
    assert len(await measured(scorer, fewer)) == 300_000


async def test_references_that_nothing_can_be_near_to(scorer: Running) -> None:
    missing = await scorer.refusal("MeasureNearness", nearness(ROWS))
    assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND")
    await scorer.frozen_reference(rows_of(40))
    whole = await scorer.refusal("MeasureNearness", nearness(ROWS[:, :UNITS], reference="references/r"))
    assert (whole.code, whole.reason) == (UNFIT, "REFERENCE_KEEPS_NO_ROWS")
    by_nearness = ranking({"a": rows_of(9)}, criterion=pb.Criterion(layer_nearness=Near()))
    assert (await scorer.refusal("Rank", by_nearness)).reason == "REFERENCE_KEEPS_NO_ROWS"
    await scorer.stub.CreateReference(creation("open", selection=pb.Selection(top=pb.Selection.Extreme(unit=0, k=9))))
    unfrozen = await scorer.refusal("MeasureNearness", nearness(ROWS[:, :UNITS], reference="references/open"))
    assert (unfrozen.code, unfrozen.reason) == (UNFIT, "REFERENCE_NOT_FROZEN")


async def test_a_long_measurement_lets_others_pass_and_ends_with_its_caller(scorer: Running) -> None:
    wide = [pb.KeptLayer(name="fc8", unit_count=200), pb.KeptLayer(name="fc9", unit_count=UNITS)]
    rows = np.random.default_rng(0).standard_normal((6000, 204)).astype(np.float32)
    selection = pb.Selection(top=pb.Selection.Extreme(unit=0, k=6000))
    await deep_reference(scorer, rows, kept_layers=wide, selection=selection)
    await scorer.stub.MeasureNearness(nearness(rows[:2]))  # from here on the rows are remembered
    request = nearness(np.tile(rows, (3, 1)))
    long = asyncio.ensure_future(scorer.stub.MeasureNearness(request))
    answered = 0
    while not long.done():
        await scorer.stub.Score(scoring(rows[:9], unit=0, reference="references/deep"))
        answered += 1
    assert len(decode((await long).distances, "distances", rank=2)) == 18_000
    assert answered > 1
    count, seconds = (scorer.metric(f"scorer_nearness_seconds_{each}") for each in ("count", "sum"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scorer.stub.MeasureNearness(request, timeout=seconds / 20)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    while scorer.metric("scorer_nearness_seconds_count") == count:  # until the step that was begun is over
        await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/deep"))
    assert scorer.metric("scorer_nearness_seconds_sum") - seconds < seconds / 2


async def test_batches_are_ranked_by_layers(scorer: Running) -> None:
    rows = deep_rows(400)
    await deep_reference(scorer, rows)
    kept = selected(rows)
    near, far = kept[:30] * np.float32(1.01), kept[:30].copy()
    far[:, COLUMNS["conv1"]] += 900.0
    thin = kept[:30].copy()
    thin[:, COLUMNS["fc10"]] += 0.01
    batches = {"near": near, "conv off": far, "fc10 off": thin}
    against = {"reference": "references/deep", "unit": 1}

    async def ranked(criterion: pb.Criterion | None) -> dict[str, pb.RankedBatch]:
        answer = await scorer.stub.Rank(ranking(batches, criterion=criterion, **against))
        assert [each.rank for each in answer.batches] == [1, 2, 3]
        assert sum(each.probability_best for each in answer.batches) == pytest.approx(1)
        return {each.id: each for each in answer.batches}

    published = await ranked(None)
    by_conv = await ranked(pb.Criterion(layer_distance=Distance(layers=["conv1"])))
    assert list(by_conv)[-1] == "conv off"
    assert by_conv["conv off"].probability_best == 0
    await scorer.frozen_reference(kept[:, COLUMNS["conv1"]], "conv", layer="conv1", unit_count=3)
    for name, batch in batches.items():
        alone = scoring(batch[:, COLUMNS["conv1"]], reference="references/conv", layer="conv1")
        distance = (await scorer.stub.Score(alone)).score.distance
        assert by_conv[name].criterion_value == pytest.approx(distance, rel=1e-9)
        assert by_conv[name].score == published[name].score
    both = await ranked(pb.Criterion(layer_distance=Distance(layers=["conv1", "fc10"])))
    assert {name: each.criterion_value for name, each in both.items()}["near"] <= 4
    assert sum(each.criterion_value for each in both.values()) == 12  # 1 + 2 + 3 in each of two layers
    medians = {name: np.median(counted(kept, batch, 5), axis=0) for name, batch in batches.items()}
    by_fc10 = await ranked(pb.Criterion(layer_nearness=Near(layers=["fc10"])))
    for name, median in medians.items():
        assert by_fc10[name].criterion_value == pytest.approx(median[2], rel=1e-9)
    assert list(by_fc10)[-1] == "fc10 off"
    everywhere = await ranked(pb.Criterion(layer_nearness=Near()))
    assert sum(each.criterion_value for each in everywhere.values()) == 18
    own = await scorer.stub.Rank(
        ranking(
            {name: batch[:, COLUMNS["fc9"]] for name, batch in batches.items()},
            criterion=pb.Criterion(layer_distance=Distance(layers=["fc9"])),
            reference="references/deep",
        )
    )
    assert all(each.criterion_value == pytest.approx(each.score.distance) for each in own.batches)


async def test_leaving_the_real_range_is_a_hard_limit_of_criteria(scorer: Running) -> None:
    rows = deep_rows(400)
    await deep_reference(scorer, rows)
    kept = selected(rows)
    inside, outside = kept[:30].copy(), kept[:30].copy()
    inside[:, COLUMNS["conv1"]] += 500.0
    outside[:, 3 + 1] += 4.0
    batches = {"inside": inside, "outside": outside}
    for criterion, first in (
        (pb.Criterion(layer_distance=Distance(layers=["conv1"])), "inside"),
        (pb.Criterion(layer_distance=Distance(layers=["conv1"]), outside_range_allowed=True), "outside"),
        (pb.Criterion(layer_nearness=Near(layers=["conv1"])), "inside"),
        (pb.Criterion(layer_nearness=Near(layers=["conv1"]), outside_range_allowed=True), "outside"),
    ):
        # What the layer sees of it, a batch beyond all that the unit ever reaches is the better one.
        answer = await scorer.stub.Rank(ranking(batches, criterion=criterion, reference="references/deep", unit=1))
        assert {each.id: each.leaves_range for each in answer.batches} == {"inside": False, "outside": True}
        assert answer.batches[0].id == first, criterion
        assert answer.batches[0].probability_best > 0.9
        if first == "inside":
            assert answer.batches[1].probability_best == 0
    # Clients of before, which send no criterion, get the order that they got.
    shy = {"inside": kept[:30] - 9, "outside": outside}
    answer = await scorer.stub.Rank(ranking(shy, reference="references/deep", unit=1))
    assert [(each.id, each.leaves_range) for each in answer.batches] == [("outside", True), ("inside", False)]
    answer = await scorer.stub.Rank(ranking(shy, reference="references/deep", unit=1, criterion=pb.Criterion()))
    assert [each.id for each in answer.batches] == ["inside", "outside"]


async def test_every_wrong_field_of_a_criterion_is_named(scorer: Running) -> None:
    await deep_reference(scorer, deep_rows(200))
    whole, own = {"a": ROWS, "b": ROWS}, {"a": ROWS[:, COLUMNS["fc9"]]}
    for batches, criterion, field in (
        (whole, pb.Criterion(layer_distance=Distance()), "criterion.layer_distance.layers"),
        (whole, pb.Criterion(layer_distance=Distance(layers=["x"])), "criterion.layer_distance.layers[0]"),
        (whole, pb.Criterion(layer_nearness=Near(layers=["fc9", "fc9"])), "criterion.layer_nearness.layers[1]"),
        (whole, pb.Criterion(layer_nearness=Near(neighbour_count=41)), "criterion.layer_nearness.neighbour_count"),
        (whole, pb.Criterion(layer_nearness=Near(neighbour_count=-1)), "criterion.layer_nearness.neighbour_count"),
        (own, pb.Criterion(layer_distance=Distance(layers=["conv1"])), "batches[0].activations.shape"),
        (own, pb.Criterion(layer_nearness=Near()), "batches[0].activations.shape"),
    ):
        failure = await scorer.refusal("Rank", ranking(batches, criterion=criterion, reference="references/deep"))
        assert (failure.code, [each.field for each in failure.violations]) == (INVALID, [field]), failure
    column = ranking({"a": ROWS[:, 4:5]}, criterion=pb.Criterion(layer_distance=Distance(layers=["fc9"])), unit=1,
                     reference="references/deep")  # fmt: skip
    failure = await scorer.refusal("Rank", column)
    assert [each.field for each in failure.violations] == ["batches[0].activations.shape"]
