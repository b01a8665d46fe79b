"""A store whose bytes are not what was written: callers are told so, nobody is told of a defect, and health says no."""

import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from earwitness.scorer.server import SERVICE_NAME
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.helpers.damage import PAGE, empty_log, not_serving, overwrite
from tests.integration.scorer.refusing import ROWS, assert_works
from tests.integration.scorer.running import Running, parts, rows_of, running, scoring

WIDE = 600
GET = pb.GetReferenceRequest(name="references/r")


async def test_a_changed_version_is_lost_not_a_defect(scorer: Running, tmp_path: Path) -> None:
    await scorer.frozen_reference(ROWS)
    with closing(sqlite3.connect(tmp_path / "scorer.db", isolation_level=None)) as other:
        other.execute("UPDATE version SET frozen = CAST(x'00' || frozen AS BLOB)")
    failure = await scorer.refusal("Score", scoring(ROWS))
    assert (failure.code, failure.reason) == (grpc.StatusCode.DATA_LOSS, "STORE_DAMAGED")
    assert "restored by whoever runs the service" in failure.message
    assert str(tmp_path) not in failure.message
    await not_serving(scorer.channel, SERVICE_NAME)
    await assert_works(scorer)


@pytest.mark.parametrize("column", ["state", "frozen"])
async def test_overwritten_pages_of_a_version(tmp_path: Path, column: str) -> None:
    """Nearly all of a file is what large values hold: SQLite itself does not notice when that is changed."""
    async with running(tmp_path, cache_bytes=0) as scorer:
        await scorer.frozen_reference(rows_of(WIDE, units=WIDE), unit_count=WIDE)
        await scorer.append(parts(rows_of(1, units=WIDE), shard_id="more"))
        pages = (tmp_path / "scorer.db").stat().st_size // PAGE
        overwrite(tmp_path / "scorer.db", pages // 3, 2 * pages // 3, b"damaged!")
        method, request = {
            "state": ("ReadStatistics", pb.ReadStatisticsRequest(name="references/r")),
            "frozen": ("Score", scoring(rows_of(5, units=WIDE))),
        }[column]
        failure = await scorer.refusal(method, request)
        assert (failure.code, failure.reason) == (grpc.StatusCode.DATA_LOSS, "STORE_DAMAGED")
        await not_serving(scorer.channel, SERVICE_NAME)


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"damaged!"])
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_overwritten_pages_of_tables(tmp_path: Path, first: int, filling: bytes) -> None:
    async with running(tmp_path) as scorer:
        await scorer.frozen_reference(ROWS)
    async with running(tmp_path) as scorer:  # with no page in memory yet but the first
        overwrite(tmp_path / "scorer.db", first, -1, filling)
        for _ in range(2):
            failure = await scorer.refusal("GetReference", GET)
            assert (failure.code, failure.reason) == (grpc.StatusCode.DATA_LOSS, "STORE_DAMAGED"), failure
        await not_serving(scorer.channel, SERVICE_NAME)


async def test_a_file_cut_short(tmp_path: Path) -> None:
    async with running(tmp_path) as scorer:
        await scorer.frozen_reference(ROWS)
    async with running(tmp_path) as scorer:
        empty_log(tmp_path / "scorer.db")
        with (tmp_path / "scorer.db").open("r+b") as opened:
            opened.truncate(2 * PAGE)
        failure = await scorer.refusal("GetReference", GET)
        assert (failure.code, failure.reason) == (grpc.StatusCode.DATA_LOSS, "STORE_DAMAGED"), failure
        await not_serving(scorer.channel, SERVICE_NAME)
