"""References that keep several layers: what they hold, what they score, and that nothing else changes."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.client.partials import Partial
from earwitness.client.values import Selection
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.deep import COLUMNS, KEPT, TOP, WIDTH, deep_reference, deep_rows, selected
from tests.integration.scorer.running import UNITS, Running, creation, partial_parts, parts, ranking, running, scoring

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ALL = pb.Selection(all=pb.Selection.All())
DEEP = {"reference": "references/deep"}
BATCH = deep_rows(30, seed=2) * np.float32(1.2)


@pytest.mark.parametrize("selection", [TOP, ALL, pb.Selection(bottom=pb.Selection.Extreme(unit=3, k=9))])
@pytest.mark.parametrize("unit", [None, 1])
async def test_scores_are_those_of_a_reference_of_the_layer(
    scorer: Running, selection: pb.Selection, unit: int | None
) -> None:
    rows = deep_rows(200)
    deep = await deep_reference(scorer, rows, selection=selection)
    plain = await scorer.frozen_reference(rows[:, COLUMNS["fc9"]], selection=selection)
    for field in ("row_count", "selected_count", "unit_minimum", "unit_maximum"):
        assert (getattr(deep, field), deep.HasField(field) if "unit" in field else 1) == (
            getattr(plain, field), plain.HasField(field) if "unit" in field else 1,
        )  # fmt: skip
    own = BATCH[:, COLUMNS["fc9"]]
    expected = (await scorer.stub.Score(scoring(own, unit=unit))).score
    given = [BATCH, own] if unit is None else [BATCH, own, own[:, unit : unit + 1]]
    for batch in given:
        found = (await scorer.stub.Score(scoring(batch, unit=unit, **DEEP))).score
        for field in pb.Score.DESCRIPTOR.fields_by_name:
            assert getattr(found, field) == pytest.approx(getattr(expected, field), rel=1e-9), field
    ranked = await scorer.stub.Rank(ranking({"a": BATCH, "b": BATCH * 2}, unit=unit, **DEEP))
    plainly = await scorer.stub.Rank(ranking({"a": own, "b": own * 2}, unit=unit))
    assert [each.id for each in ranked.batches] == [each.id for each in plainly.batches]
    assert [each.score.distance for each in ranked.batches] == pytest.approx(
        [each.score.distance for each in plainly.batches], rel=1e-9
    )
    assert all(each.criterion_value == each.score.distance for each in ranked.batches)


@pytest.mark.parametrize("selection", [TOP, ALL])
async def test_what_is_given_out_makes_the_same_reference_again(scorer: Running, selection: pb.Selection) -> None:
    for row_count in (WIDTH, 300):  # rows, and of all of many rows their moments
        name = f"deep-{row_count}"
        selection = pb.Selection(top=pb.Selection.Extreme(unit=1, k=5)) if selection == TOP else ALL
        await deep_reference(scorer, deep_rows(row_count), name, selection=selection)
        header, data = await scorer.read(f"references/{name}")
        assert list(header.reference.kept_layers) == KEPT
        copy = f"{name}-copy"
        await scorer.stub.CreateReference(creation(copy, kept_layers=KEPT, selection=selection))
        if header.form == pb.PARTIAL_FORM_MOMENTS:
            partial = Partial.of_moment_bytes(data, row_count, WIDTH)
        else:
            partial = Partial.of_row_bytes(data, row_count, WIDTH)
        await scorer.merge(partial_parts(partial, reference=f"references/{copy}"))
        await scorer.freeze(copy)
        again, same = await scorer.read(f"references/{copy}")
        assert (same, again.sha256) == (data, header.sha256)
        scores = [
            (await scorer.stub.Score(scoring(BATCH, reference=f"references/{each}"))).score for each in (name, copy)
        ]
        assert scores[0] == scores[1]


async def test_shards_and_partials_in_any_order_make_the_same_version(scorer: Running) -> None:
    rows = deep_rows(200)
    await deep_reference(scorer, rows)
    expected = await scorer.read("references/deep")
    assert expected[1] == selected(rows).tobytes()
    pieces = np.split(rows, [20, 90, 150])
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        name = f"split-{order[0]}"
        await scorer.stub.CreateReference(creation(name, kept_layers=KEPT, selection=TOP))
        for index in order:
            place = {"reference": f"references/{name}", "shard_id": f"shard {index}"}
            if index % 2:
                # By the column of the whole row, as the scorer selects.
                partial = Partial.of(pieces[index], Selection("top", 3 + 1, 40))
                await scorer.merge(partial_parts(partial, **place))
            else:
                await scorer.append(parts(pieces[index], **place))
        await scorer.freeze(name)
        assert (await scorer.read(f"references/{name}"))[1] == expected[1]
        found = await scorer.stub.Score(scoring(BATCH, reference=f"references/{name}"))
        assert found.score == (await scorer.stub.Score(scoring(BATCH, **DEEP))).score


async def test_kept_layers_are_part_of_what_a_reference_is(scorer: Running, tmp_path: Path) -> None:
    request = creation(kept_layers=KEPT, selection=TOP)
    made = (await scorer.stub.CreateReference(request)).reference
    assert list(made.kept_layers) == KEPT
    assert (await scorer.stub.CreateReference(request)).reference == made
    (listed,) = (await scorer.stub.ListReferences(pb.ListReferencesRequest())).references
    assert listed == made
    for other in ([], KEPT[:2], list(reversed(KEPT))):
        again = pb.CreateReferenceRequest()
        again.CopyFrom(request)
        del again.reference.kept_layers[:]
        again.reference.kept_layers.extend(other)
        refused = await scorer.refusal("CreateReference", again)
        assert (refused.code, [each.field for each in refused.violations]) == (INVALID, ["request_id"])
    alone = await scorer.stub.CreateReference(
        creation("alone", kept_layers=[pb.KeptLayer(name="fc9", unit_count=UNITS)])
    )
    assert not alone.reference.kept_layers  # what was always so is said as it always was
    refused = await scorer.refusal(
        "CreateReference", creation("no", kept_layers=[pb.KeptLayer(name="x", unit_count=1)])
    )
    assert [each.field for each in refused.violations] == ["reference.kept_layers"]
    async with running(tmp_path) as other_server:
        asked = pb.GetReferenceRequest(name="references/r")
        assert (await other_server.stub.GetReference(asked)).reference == made


async def test_rows_of_another_width_are_refused(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation("deep", kept_layers=KEPT, selection=TOP))
    narrow = parts(deep_rows(10)[:, COLUMNS["fc9"]], reference="references/deep")
    refused = await scorer.refusal("AppendActivations", narrow)
    assert refused.code == INVALID
    assert f"{WIDTH} FP32 units" in refused.message
    spoiled = deep_rows(10)
    spoiled[4, 5] = np.nan
    refused = await scorer.refusal("AppendActivations", parts(spoiled, reference="references/deep"))
    assert "row 4, unit 2 of fc9 is nan" in refused.message
    unsorted = Partial(100, rows=deep_rows(40))
    refused = await scorer.refusal("MergeStatistics", partial_parts(unsorted, reference="references/deep"))
    assert "is more extreme in unit 1 of fc9 than the one before" in refused.message
    await scorer.append(parts(deep_rows(100), reference="references/deep"))
    await scorer.freeze("deep")
    for columns in (slice(0, 3), slice(0, WIDTH - 1)):
        failure = await scorer.refusal("Score", scoring(BATCH[:, columns], **DEEP))
        assert (failure.reason, failure.metadata["reference"]) == (
            "REFERENCE_MISMATCH",
            f"{UNITS}, or {WIDTH} of all layers",
        )


async def test_a_reference_of_many_rows_is_frozen_apart_and_answers_meanwhile(scorer: Running) -> None:
    wide = [pb.KeptLayer(name="conv1", unit_count=700), pb.KeptLayer(name="fc9", unit_count=UNITS)]
    rows = np.random.default_rng(0).standard_normal((1500, 704)).astype(np.float32)
    await scorer.stub.CreateReference(creation("wide", kept_layers=wide))
    await scorer.append(parts(rows, reference="references/wide"))
    freezing = asyncio.ensure_future(scorer.freeze("wide"))
    answered = 0
    while not freezing.done():
        await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/wide"))
        answered += 1
    assert (await freezing).selected_count == 1500
    assert answered > 1
    await scorer.frozen_reference(rows[:, 700:])
    batch = rows[:50, 700:] * 2
    found = (await scorer.stub.Score(scoring(batch, reference="references/wide"))).score
    assert found.distance == pytest.approx((await scorer.stub.Score(scoring(batch))).score.distance, rel=1e-9)
