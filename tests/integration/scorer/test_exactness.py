"""Numbers that float32 would round away keep their distance, whichever way they reach the scorer."""

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from earwitness.client import Partial, ReferenceIdentity, RpcFailure, ScorerClient, Selection
from earwitness.client.activations import load_activations
from earwitness.client.reference_file import import_reference, read_reference, write_reference
from earwitness.client.references import build_reference_from_activations
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.running import Running, creation, header, parts, rows_of, running

UNITS = 64
MEAN = 1e8
IDENTITY = ReferenceIdentity("m", "ab" * 32, "fc8", UNITS, "p@1")
SOURCE = {"model": "m", "weights_sha256": "ab" * 32, "layer": "fc8"}
RNG = np.random.default_rng(5)
REAL = np.round(RNG.standard_normal((90, UNITS)) * 2**20) / 2**20
FOUND = np.round((RNG.standard_normal((50, UNITS)) * 1.4 + 0.5) * 2**20) / 2**20
"""Multiples of 2^-20, so that they plus MEAN are float64 without rounding."""
SELECTIONS = [Selection(), Selection("top", 3, 40), Selection("bottom", 3, 40)]


async def build(
    client: ScorerClient, name: str, rows: np.ndarray, selection: Selection, way: str, folder: Path
) -> None:
    if way == "file":
        np.save(folder / f"{name}.npy", rows)
        batch = load_activations(folder / f"{name}.npy")
        await build_reference_from_activations(client, name, batch, identity=IDENTITY, selection=selection)
        return
    await client.create_reference(name, identity=IDENTITY, selection=selection)
    if way == "append":
        await client.append_activations(name, "s", rows)
    else:
        await client.merge_statistics(name, "s", Partial.of(rows, selection))
    await client.freeze_reference(name)


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize("count", [60, 90], ids=["rows", "moments"])
async def test_a_large_mean_changes_no_distance(tmp_path: Path, selection: Selection, count: int) -> None:
    """A shift of both by the same amount changes nothing; in float32, 1e8 leaves steps of 8."""
    async with running(tmp_path) as scorer, ScorerClient(f"127.0.0.1:{scorer.port}") as client:
        await build(client, "plain", REAL[:count], selection, "append", tmp_path)
        right = (await client.score(FOUND, reference="plain", **SOURCE)).score
        right_unit = (await client.score(FOUND[:, 3:4], reference="plain", unit=3, **SOURCE)).score
        for way in ("append", "merge", "file"):
            await build(client, way, REAL[:count] + MEAN, selection, way, tmp_path)
        for way in ("append", "merge", "file"):
            write_reference(await client.read_statistics(way), tmp_path / f"{way}.npz")
            stored = read_reference(tmp_path / f"{way}.npz")
            assert (await import_reference(client, f"{way}-again", stored)).version.row_count == count
            for name in (way, f"{way}-again"):
                score = (await client.score(FOUND + MEAN, reference=name, **SOURCE)).score
                assert score.distance == pytest.approx(right.distance, rel=1e-6)
                assert score.outside_range_ratio == right.outside_range_ratio
                ranking = await client.rank({"b": FOUND + MEAN}, reference=name, unit=3, **SOURCE)
                assert ranking.batches[0].score.distance == pytest.approx(right_unit.distance, rel=1e-6)


def ints(rows: np.ndarray) -> np.ndarray:
    return np.round(rows * 100)


OTHER_TYPES: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda rows: rows.astype(np.int64) + 2**35,
    lambda rows: rows.astype(np.int32) + 2**30,
    lambda rows: (rows + 500).astype(np.uint64) + np.uint64(2**36),
    lambda rows: rows.astype(np.int8) if np.abs(rows).max() < 127 else rows.astype(np.int16),
    lambda rows: rows.astype(np.float16),
    lambda rows: (rows + MEAN).astype(">f8"),
    lambda rows: np.asfortranarray(rows + MEAN),
    lambda rows: np.repeat(rows + MEAN, 2, axis=0)[::2],
    lambda rows: rows.astype(np.longdouble) + MEAN,
]


@pytest.mark.parametrize("as_type", OTHER_TYPES)
async def test_other_types_of_numbers(tmp_path: Path, as_type: Callable[[np.ndarray], np.ndarray]) -> None:
    async with running(tmp_path) as scorer, ScorerClient(f"127.0.0.1:{scorer.port}") as client:
        await build(client, "plain", ints(REAL), Selection(), "append", tmp_path)
        right = (await client.score(ints(FOUND), reference="plain", **SOURCE)).score
        for way in ("append", "file"):
            await build(client, way, as_type(ints(REAL)), Selection(), way, tmp_path)
            score = (await client.score(as_type(ints(FOUND)), reference=way, **SOURCE)).score
            assert score.distance == pytest.approx(right.distance, rel=1e-6)


async def test_bfloat16(tmp_path: Path) -> None:
    real, found = REAL.astype(ml_dtypes.bfloat16), FOUND.astype(ml_dtypes.bfloat16)
    async with running(tmp_path) as scorer, ScorerClient(f"127.0.0.1:{scorer.port}") as client:
        await build(client, "plain", real.astype(np.float64), Selection(), "append", tmp_path)
        await build(client, "half", real, Selection(), "append", tmp_path)
        right = (await client.score(found.astype(np.float64), reference="plain", **SOURCE)).score
        assert (await client.score(found, reference="half", **SOURCE)).score == right


async def test_the_type_is_the_callers_to_say(scorer: Running) -> None:
    """FP32 unless it is said; any other is refused by name; FP64 stays in the range of FP32."""
    await scorer.stub.CreateReference(creation())
    rows = rows_of(20).astype(np.float64) + MEAN
    data = rows.astype("<f8").tobytes()
    chunk = pb.AppendActivationsRequest(chunk=data)
    wide = {"shard_id": "wide", "row_count": 20, "datatype": "FP64"}
    assert (await scorer.append([header(data, **wide), chunk])).row_count == 20
    assert (await scorer.append(parts(rows_of(20)))).row_count == 40
    assert (await scorer.freeze()).selected_count == 40
    other = [header(data, **(wide | {"shard_id": "x", "datatype": "INT64"})), chunk]
    failure = await scorer.refusal("AppendActivations", other)
    assert [each.field for each in failure.violations] == ["header.datatype"]
    rows[7, 2] = 1e39
    beyond = rows.astype("<f8").tobytes()
    sent = [header(beyond, **(wide | {"shard_id": "y"})), pb.AppendActivationsRequest(chunk=beyond)]
    failure = await scorer.refusal("AppendActivations", sent)
    assert "row 7, unit 2 is 1e+39; every value must be finite, at most 3.40282e+38" in str(failure)


async def test_integers_beyond_float64_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path) as scorer, ScorerClient(f"127.0.0.1:{scorer.port}") as client:
        await build(client, "r", REAL, Selection(), "append", tmp_path)
        rows = np.full((4, UNITS), 2**53 + 1)
        for sending in (
            client.score(rows, reference="r", **SOURCE),
            client.append_activations("r", "s", rows),
            client.rank({"b": rows}, reference="r", **SOURCE),
        ):
            with pytest.raises(
                Exception, match=r"holds int64 that float64 does not hold exactly .*up to 2\^53"
            ) as info:
                await sending
            assert not isinstance(info.value, RpcFailure)
