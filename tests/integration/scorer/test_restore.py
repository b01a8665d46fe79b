"""A database that is restored from a backup, by the commands of deploy/README.md: nothing that was lost is answered."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.scorer.frechet import factor_rows, frechet_distance
from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.storage.database import Database
from tests.helpers.postgresql import PostgresServer, installed
from tests.integration.scorer.running import Running, parts, rows_of, running, scoring

README = Path(__file__).parents[3] / "deploy/README.md"
SECTION = README.read_text(encoding="utf-8").partition("## Backup and restore")[2].partition("\n## ")[0]
SQLITE_BACKUP, SQLITE_RESTORE, DUMP, RESTORE = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
BATCH = rows_of(30, seed=99)


def shell(command: str, folder: Path, **environment: str) -> None:
    tools = f"{Path(sys.executable).parent}:{Path(installed('pg_dump')).parent}:{os.environ['PATH']}"
    variables = os.environ | environment | {"PATH": tools}
    done = subprocess.run(["sh", "-ec", command], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def is_scored_by(scorer: Running, rows: np.ndarray, reference_id: str = "r") -> None:
    score = (await scorer.stub.Score(scoring(BATCH, reference=f"references/{reference_id}"))).score
    expected = frechet_distance(BATCH, factor_rows(rows)).distance
    assert score.distance == pytest.approx(expected, rel=1e-9)


@asynccontextmanager
async def on(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[tuple[Running, Callable[[], None], Callable[[], None]]]:
    """A scorer, what takes a backup, and what restores it below the running scorer."""
    if kind == "sqlite":

        def restore_in_place() -> None:
            backup, live = (closing(sqlite3.connect(folder / name)) for name in ("scorer-backup.db", "scorer.db"))
            with backup as source, live as target:
                source.backup(target)

        async with running(folder) as scorer:
            yield scorer, lambda: shell(SQLITE_BACKUP, folder), restore_in_place
        return
    server: PostgresServer = request.getfixturevalue("postgresql")
    url = server.create_database()
    database = Database(url)
    SCHEMA.migrate(database)
    database.close()
    plain = url.replace("+psycopg", "")
    async with running(folder, database_url=url) as scorer:
        yield scorer, lambda: shell(DUMP, folder, DATABASE=plain), lambda: shell(RESTORE, folder, DATABASE=plain)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_server_that_runs_on_forgets_what_was_lost(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kept, lost, other = (rows_of(40, seed=seed) for seed in (1, 2, 3))
    async with on(kind, request, tmp_path) as (scorer, backup, restore):
        await scorer.frozen_reference(kept)
        backup()
        # Lost: a reference and a version, both remembered by the server.
        await scorer.frozen_reference(lost, "lost")
        await scorer.append(parts(lost, shard_id="second"))
        await scorer.freeze()
        await is_scored_by(scorer, lost, "lost")
        before = (await scorer.stub.GetReference(pb.GetReferenceRequest(name="references/r"))).reference
        read_before = await scorer.read("references/r")
        restore()
        # In their place: others with the same name, or the same number.
        await is_scored_by(scorer, kept)
        await scorer.frozen_reference(other, "lost")
        await scorer.append(parts(other, shard_id="second"))
        again = await scorer.freeze()
        assert again.name == before.versions[-1].name
        await is_scored_by(scorer, other, "lost")
        await is_scored_by(scorer, np.concatenate([kept, other]))
        assert (await scorer.read("references/r"))[0].sha256 != read_before[0].sha256
        stale = await scorer.refusal(
            "DeleteReference", pb.DeleteReferenceRequest(name="references/r", etag=before.etag)
        )
        assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_a_sqlite_file_is_put_back_and_started(tmp_path: Path) -> None:
    rows = rows_of(40)
    async with running(tmp_path) as scorer:
        await scorer.frozen_reference(rows)
        shell(SQLITE_BACKUP, tmp_path)
        await scorer.frozen_reference(rows, "lost")
    for name in ("scorer.db", "scorer.db-wal", "scorer.db-shm"):
        (tmp_path / name).write_bytes(b"damaged " * 4096)
    shell(SQLITE_RESTORE, tmp_path)
    async with running(tmp_path) as scorer:
        await is_scored_by(scorer, rows)
        missing = await scorer.refusal("GetReference", pb.GetReferenceRequest(name="references/lost"))
        assert missing.code == grpc.StatusCode.NOT_FOUND


def test_no_backup_is_made_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unable to open database file"):
        shell(SQLITE_BACKUP, tmp_path)
    assert not (tmp_path / "scorer.db").exists()
