"""Statistics computed elsewhere count as if their rows had been appended, and what is read makes its like again."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from earwitness.client.partials import Partial
from earwitness.client.values import Selection
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.running import (
    Running,
    creation,
    partial_parts,
    parts,
    rows_of,
    running,
    scoring,
)

ALL, TOP, BOTTOM = Selection(), Selection("top", 2, 20), Selection("bottom", 0, 20)
SELECTIONS = pytest.mark.parametrize("selection", [ALL, TOP, BOTTOM], ids=str)
BATCH = rows_of(30, seed=99)


def of(selection: Selection) -> dict[str, pb.Selection]:
    if selection.kind == "all":
        return {"selection": pb.Selection(all=pb.Selection.All())}
    extreme = pb.Selection.Extreme(unit=selection.unit, k=selection.k)
    return {"selection": pb.Selection(**{selection.kind: extreme})}


async def score(scorer: Running, name: str = "r", **changes: Any) -> pb.Score:
    result: pb.Score = (await scorer.stub.Score(scoring(BATCH, reference=f"references/{name}", **changes))).score
    return result


def assert_same(left: pb.Score, right: pb.Score) -> None:
    for field, value in left.ListFields():
        assert getattr(right, field.name) == pytest.approx(value, rel=1e-12, abs=1e-12), field.name


@SELECTIONS
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
@pytest.mark.parametrize("merged", [(0, 1, 2, 3), (1, 3)])
async def test_as_one_append_of_all_rows(
    scorer: Running, selection: Selection, order: Sequence[int], merged: Sequence[int]
) -> None:
    """In any order, shards of few rows and of many, among shards that are appended, over two versions."""
    pieces = np.split(rows_of(400), [3, 150, 151])
    whole = await scorer.frozen_reference(rows_of(400), "whole", **of(selection))
    await scorer.stub.CreateReference(creation(**of(selection)))
    for place, index in enumerate(order):
        name = f"shard {index}"
        if index in merged:
            await scorer.merge(partial_parts(Partial.of(pieces[index], selection), shard_id=name))
        else:
            await scorer.append(parts(pieces[index], shard_id=name))
        if place == 2:
            await scorer.freeze()
    version = await scorer.freeze()
    assert (version.row_count, version.selected_count) == (400, whole.selected_count)
    assert (version.unit_minimum, version.unit_maximum) == (whole.unit_minimum, whole.unit_maximum)
    assert_same(await score(scorer), await score(scorer, "whole"))


@pytest.mark.parametrize("chunk_bytes", [5, 2**20])
async def test_a_partial_counts_once(scorer: Running, chunk_bytes: int) -> None:
    await scorer.stub.CreateReference(creation())
    partial = Partial.of(rows_of(100), ALL)
    assert partial.moments is not None
    first = await scorer.merge(partial_parts(partial, chunk_bytes=chunk_bytes, shard_id="a"))
    assert (first.row_count, first.duplicate) == (100, False)
    again = await scorer.merge(partial_parts(partial, shard_id="a"))
    assert (again.row_count, again.duplicate) == (100, True)
    answers = await asyncio.gather(*(scorer.merge(partial_parts(partial, shard_id="b")) for _ in range(6)))
    assert sum(not answer.duplicate for answer in answers) == 1
    assert {answer.row_count for answer in answers} == {200}
    other = await scorer.refusal("MergeStatistics", partial_parts(Partial.of(rows_of(99), ALL), shard_id="a"))
    assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SHARD_EXISTS")
    clash = await scorer.refusal("AppendActivations", parts(rows_of(100), shard_id="a"))
    assert (clash.code, clash.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SHARD_EXISTS")
    assert scorer.metric("scorer_merges_total", result="added") == 2
    assert scorer.metric("scorer_merges_total", result="duplicate") == 6
    assert scorer.metric("scorer_appends_total", result="added") == 0
    assert scorer.metric("scorer_rows_total") == 200


async def test_a_partial_that_is_there_is_not_read(scorer: Running) -> None:
    await scorer.stub.CreateReference(creation())
    message = partial_parts(Partial.of(rows_of(100), ALL))
    await scorer.merge(message)
    call = scorer.stub.MergeStatistics()
    await call.write(message[0])
    assert (await asyncio.wait_for(call, 60)).duplicate


@SELECTIONS
@pytest.mark.parametrize("count", [40, 400])
async def test_what_is_read_scores_the_same_elsewhere(tmp_path: Path, selection: Selection, count: int) -> None:
    """Bit for bit, intervals and noise floor too, though the version was made of several shards, and other ones follow;
    of wide rows `count` is on both sides of where rows take more room than moments."""
    units = 100
    rows = rows_of(count, units=units) + np.float32(3)
    batch = {"activations": scoring(rows_of(30, seed=9, units=units)).activations}
    options = {"unit_count": units, **of(selection)}
    async with running(tmp_path / "here") as here, running(tmp_path / "there") as there:
        await here.stub.CreateReference(creation(description="songs", **options))
        for index, piece in enumerate(np.split(rows, [count // 2, 3 * count // 4])):
            await here.append(parts(piece, shard_id=f"s{index}"))
            version = await here.freeze()
        await here.append(parts(rows + np.float32(5), shard_id="later"))
        await here.freeze()
        head, data = await here.read(version.name)
        assert head.version == version
        assert (head.reference.description, head.reference.unit_count) == ("songs", units)
        assert head.sha256 == hashlib.sha256(data).hexdigest()
        moments = selection.kind == "all" and count > units
        assert head.form == (pb.PARTIAL_FORM_MOMENTS if moments else pb.PARTIAL_FORM_ROWS)

        await there.stub.CreateReference(creation(**options))
        message = pb.PartialHeader(
            reference="references/r", shard_id="all", row_count=count, sha256=head.sha256, form=head.form
        )
        stream = [pb.MergeStatisticsRequest(header=message)]
        stream += [pb.MergeStatisticsRequest(chunk=data[at : at + 2**20]) for at in range(0, len(data), 2**20)]
        await there.merge(stream)
        again = await there.freeze()
        assert (again.row_count, again.selected_count) == (version.row_count, version.selected_count)
        for changes in ({}, {"unit": 5}):
            left = await score(here, f"r/{version.name.partition('/r/')[2]}", **batch, **changes)
            assert left == await score(there, **batch, **changes)
        assert (await there.read("references/r"))[1] == data


async def test_large_statistics_come_in_chunks(scorer: Running) -> None:
    units = 600
    rows = rows_of(700, units=units)
    await scorer.frozen_reference(rows, unit_count=units)
    head, data = await scorer.read("references/r")
    assert head.version.name == "references/r/versions/1"
    assert len(data) == 4 * units * (units + 7) > 2**20
    read = Partial.of_moment_bytes(data, 700, units)
    assert read.moments is not None
    np.testing.assert_allclose(read.moments.scatter, np.cov(rows.T) * 699, rtol=1e-9, atol=1e-9)


async def test_versions_that_are_not_there_cannot_be_read(scorer: Running) -> None:
    ask = pb.ReadStatisticsRequest
    missing = await scorer.refusal("ReadStatistics", ask(name="references/none"))
    assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND")
    await scorer.stub.CreateReference(creation())
    none = await scorer.refusal("ReadStatistics", ask(name="references/r"))
    assert (none.code, none.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_NOT_FROZEN")
    unknown = await scorer.refusal("ReadStatistics", ask(name="references/r/versions/1"))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND")


async def test_merges_and_appends_have_one_limit_and_stand_still_as_long(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrent_appends=1, append_idle_s=1.0) as scorer:
        await scorer.stub.CreateReference(creation())
        message = partial_parts(Partial.of(rows_of(100), ALL))
        silent = scorer.stub.MergeStatistics()
        await silent.write(message[0])
        for _ in range(100):
            failure = await scorer.refusal("AppendActivations", parts(rows_of(1), shard_id="x")[:1])
            if failure.reason == "TOO_MANY_APPENDS":
                break
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_APPENDS")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await silent
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await scorer.merge(message)).row_count == 100
