"""SQLite files whose bytes are not what was written, and what health says of them."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

PAGE = 4096


async def not_serving(channel: grpc.aio.Channel, service_name: str) -> None:
    """Returns once health says so."""
    health = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(60):
        async for answer in health.Watch(health_pb2.HealthCheckRequest(service=service_name)):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                return


def empty_log(file: Path) -> None:
    """Nothing of the file's pages is in its log any more."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def overwrite(file: Path, first: int, last: int, filling: bytes = b"\0") -> None:
    """The pages from `first` to `last`, counted from 0."""
    empty_log(file)
    count = file.stat().st_size // PAGE
    last = last if last >= 0 else count + last
    with file.open("r+b") as opened:
        opened.seek(first * PAGE)
        opened.write(filling * ((last - first + 1) * PAGE // len(filling)))
