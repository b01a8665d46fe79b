"""The schema is what the migrations make, and nothing serves on another one."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import LargeBinary, insert, inspect

from earwitness.scorer.collect import Frozen
from earwitness.scorer.freezing import freeze
from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.schema import metadata
from earwitness.scorer.store import ReferenceStore
from earwitness.storage import blobs
from earwitness.storage.database import Database
from earwitness.storage.errors import SchemaOutdated, SchemaUnknown, StoreUnusable
from earwitness.vocabulary.reference import ALL, Selection
from tests.unit.scorer.fixtures import new_reference, rows_of_shard, shard_of


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
    with pytest.raises(SchemaOutdated, match="has schema none, this version needs 0002; run `python -m"):
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
    arguments = [sys.executable, "-m", "earwitness.scorer", "migrate", "--database-url", database_url]
    running = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    database = Database(database_url)
    SCHEMA.require(database)
    database.close()


def test_the_migrate_command_says_in_one_line_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "scorer.db").mkdir()
    arguments = [
        sys.executable,
        "-m",
        "earwitness.scorer",
        "migrate",
        "--database-url",
        f"sqlite:///{tmp_path}/scorer.db",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot migrate: the database cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_stored_before_layers_could_be_kept_is_read_unchanged(database_url: str) -> None:
    """`stored_0001.json` is what a version with that schema wrote: of each selection two shards frozen, one pending."""
    stored = json.loads((Path(__file__).parent / "stored_0001.json").read_text())
    database = Database(database_url)
    tables = metadata.tables
    with database.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(SCHEMA.migrations))
        config.attributes.update(connection=connection, version_table=SCHEMA.version_table)
        command.upgrade(config, "0001")
        for name in ("reference", "segment", "version"):
            binary = {column.name for column in tables[name].c if isinstance(column.type, LargeBinary)}
            for row in stored[name]:
                values = {key: bytes.fromhex(value) if key in binary and value else value for key, value in row.items()}
                connection.execute(insert(tables[name]).values(values))
    SCHEMA.migrate(database)
    store = ReferenceStore(database)
    for reference_id, selection in (("all", ALL), ("top", Selection("top", 1, 6))):
        assert store.get(reference_id).content == new_reference(reference_id, selection)
        again = store.create(str(uuid4()), new_reference(f"{reference_id}-2", selection))
        for index in range(3):
            assert store.add_shard(again, *shard_of(index, selection=selection))
        now, before = freeze(store, f"{reference_id}-2", ""), freeze(store, reference_id, "")
        assert (before.number, before.row_count, before.selected_count) == (2, now.row_count, now.selected_count)
        extended = blobs.decode(store.version_frozen(store.get(reference_id), 2))
        for name, values in blobs.decode(store.version_frozen(store.get(f"{reference_id}-2"), 1)).items():
            np.testing.assert_allclose(extended[name], values, rtol=1e-12)
        first = Frozen.from_body(store.version_frozen(store.get(reference_id), 1)).gaussian
        rows = np.concatenate([rows_of_shard(0), rows_of_shard(1)])
        rows = rows if selection == ALL else rows[np.argsort(-rows[:, 1])[:6]]
        np.testing.assert_allclose(first.mean, rows.mean(axis=0), atol=1e-6)
    database.close()
