"""A shard is taken in any chunks, and refused for every way in which it can be wrong."""

import hashlib

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import collector
from earwitness.scorer.intake import Intake, activations
from earwitness.scorer.references import NewReference, Shard, Source
from earwitness.vocabulary.limits import MAX_CHUNK_BYTES, MAX_SHARD_BYTES
from earwitness.vocabulary.reference import ALL, Selection

UNITS = 5


def shard_of(data: bytes, units: int = UNITS, **changes: object) -> Shard:
    values = {"shard_id": "s", "row_count": len(data) // (4 * units), "sha256": hashlib.sha256(data).hexdigest()}
    return Shard(**(values | changes))  # type: ignore[arg-type]


def reference_of(units: int, selection: Selection = ALL) -> NewReference:
    return NewReference("r", Source("m", "0" * 64, "l", units), "p", selection, "")


def receive(
    shard: Shard, data: bytes, chunk_bytes: int = 1000, selection: Selection = ALL, units: int = UNITS
) -> bytes:
    intake = Intake(shard, activations(shard, reference_of(units, selection)))
    for start in range(0, len(data), chunk_bytes):
        if block := intake.take(data[start : start + chunk_bytes]):
            intake.hash(block)
            intake.digest(block)
    return intake.finish()


def data_of(rows: np.ndarray) -> bytes:
    return rows.astype("<f4").tobytes()


@pytest.mark.parametrize("selection", [ALL, Selection("bottom", 1, 3)])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 20, 999, MAX_CHUNK_BYTES])
def test_chunks_of_any_size_give_the_same_body(chunk_bytes: int, selection: Selection) -> None:
    rows = np.random.default_rng(0).standard_normal((123, UNITS)).astype(np.float32)
    expected = collector(selection, UNITS)
    expected.add_rows(rows, "s", 0)
    data = data_of(rows)
    assert receive(shard_of(data), data, chunk_bytes, selection) == expected.body()


def test_a_large_shard_is_digested_on_the_way() -> None:
    rows = np.random.default_rng(0).standard_normal((600_000, 3)).astype(np.float32)
    data = data_of(rows)
    shard = shard_of(data, 3)
    intake = Intake(shard, activations(shard, reference_of(3)))
    blocks = 0
    for start in range(0, len(data), MAX_CHUNK_BYTES):
        if block := intake.take(data[start : start + MAX_CHUNK_BYTES]):
            intake.hash(block)
            intake.digest(block)
            blocks += 1
            assert len(block) % 12 == 0
            assert len(intake._buffer) < 12
    assert blocks == 2
    assert intake.finish()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(value: float) -> None:
    rows = np.zeros((100, UNITS))
    rows[42, 3] = value
    data = data_of(rows)
    with pytest.raises(InvalidArgument, match=f"row 42, unit 3 is {value}; every value must be finite") as caught:
        receive(shard_of(data), data)
    assert caught.value.field == "chunk"


def test_rows_are_numbered_through_all_blocks() -> None:
    rows = np.zeros((500_000, 3))
    rows[499_999, 2] = np.nan
    data = data_of(rows)
    with pytest.raises(InvalidArgument, match="row 499999, unit 2"):
        receive(shard_of(data, 3), data, MAX_CHUNK_BYTES, units=3)


def test_truncated_bytes() -> None:
    data = data_of(np.zeros((10, UNITS)))
    with pytest.raises(InvalidArgument, match=r"ended after 199 bytes of 200 \(10 rows of 5 FP32 units\)") as caught:
        receive(shard_of(data), data[:-1])
    assert caught.value.field == "chunk"


def test_too_many_bytes() -> None:
    data = data_of(np.zeros((10, UNITS)))
    with pytest.raises(InvalidArgument, match="bytes beyond 180") as caught:
        receive(shard_of(data, row_count=9), data)
    assert caught.value.field == "chunk"


def test_a_chunk_over_the_limit() -> None:
    data = bytes(MAX_CHUNK_BYTES + 4)
    with pytest.raises(InvalidArgument, match=f"has {len(data)} bytes; at most {MAX_CHUNK_BYTES}") as caught:
        receive(shard_of(data, 1), data, len(data), units=1)
    assert caught.value.field == "chunk"


def test_other_bytes_than_announced() -> None:
    data = data_of(np.zeros((10, UNITS)))
    with pytest.raises(InvalidArgument, match="nothing was counted") as caught:
        receive(shard_of(data), data_of(np.ones((10, UNITS))))
    assert caught.value.field == "header.sha256"


def test_a_shard_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidArgument, match=f"{MAX_SHARD_BYTES}: send shards of at most 4096 rows") as caught:
        activations(Shard("s", 4097, "0" * 64), reference_of(4096, Selection("top", 0, 2)))
    assert caught.value.field == "header.row_count"
