"""The schema is what the migrations make, and nothing serves on another one."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.schema import metadata
from earwitness.storage.database import Database
from earwitness.storage.errors import SchemaOutdated, SchemaUnknown, StoreUnusable


def test_migrations_make_the_schema(database: Database) -> None:
    with database.reading() as connection:
        opts = {"compare_type": True, "render_as_batch": True, "version_table": SCHEMA.version_table}
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []
        checks = [check["name"] for check in inspect(connection).get_check_constraints("segment")]
    assert len(checks) == 1
    assert str(checks[0]).endswith("counted_once")
    SCHEMA.require(database)


def test_migrating_twice_changes_nothing(database: Database) -> None:
    SCHEMA.migrate(database)
    SCHEMA.require(database)


def test_an_empty_database_is_outdated(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(SchemaOutdated, match="has schema none, this version needs 0001; run `python -m"):
        SCHEMA.require(database)
    database.close()


def test_a_file_that_is_no_database_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "scorer.db").write_text("a letter, not a database " * 100)
    database = Database(f"sqlite:///{tmp_path / 'scorer.db'}")
    for use in (SCHEMA.migrate, SCHEMA.require):
        with pytest.raises(StoreUnusable, match=r"^the database cannot be used: file is not a database; restore a"):
            use(database)
    database.close()


def test_the_schema_of_a_later_version_is_unknown(database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {SCHEMA.version_table} SET version_num = '9999'")
    with pytest.raises(SchemaUnknown, match=r"'9999'.*run the version that wrote it, or choose another database"):
        SCHEMA.migrate(database)
    with pytest.raises(SchemaOutdated, match="has schema 9999"):
        SCHEMA.require(database)


def test_the_migrate_command_and_processes_at_once(database_url: str) -> None:
    command = [sys.executable, "-m", "earwitness.scorer", "migrate", "--database-url", database_url]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    database = Database(database_url)
    SCHEMA.require(database)
    database.close()


def test_the_migrate_command_says_in_one_line_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "scorer.db").mkdir()
    command = [
        sys.executable,
        "-m",
        "earwitness.scorer",
        "migrate",
        "--database-url",
        f"sqlite:///{tmp_path}/scorer.db",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot migrate: the database cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
