"""Transactions, and what a database that cannot be used is."""

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.store import ReferenceStore
from earwitness.storage.database import Database
from earwitness.storage.errors import StoreUnavailable
from tests.helpers.postgresql import PostgresServer, postgres_server
from tests.unit.scorer.fixtures import new_reference


def test_an_exception_undoes_the_whole_transaction(database: Database) -> None:
    with suppress(RuntimeError), database.writing() as connection:
        connection.execute(text("CREATE TABLE more (x INTEGER)"))
        connection.execute(text("INSERT INTO more VALUES (1)"))
        raise RuntimeError
    with database.reading() as connection:
        assert not inspect(connection).has_table("more")


def test_readers_see_one_state_and_are_not_blocked_by_a_writer(database: Database) -> None:
    count = text("SELECT count(*) FROM reference")
    insert = text("INSERT INTO reference VALUES (1, 'r', 'q', 'm', 'w', 'l', 1, 'f', 'all', 0, 0, '', 0, NULL)")
    with database.reading() as reader:
        assert reader.execute(count).scalar_one() == 0
        with database.writing() as writer:
            writer.execute(insert)
        assert reader.execute(count).scalar_one() == 0
    with database.reading() as reader:
        assert reader.execute(count).scalar_one() == 1


def test_sqlite_is_durable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'scorer.db'}")
    with database.reading() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                   for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    database.close()


def test_a_file_that_is_gone_is_neither_written_nor_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite would write on to a file without a name, and acknowledge what nobody finds again."""
    file, away = tmp_path / "scorer.db", tmp_path / "away"
    database = Database(f"sqlite:///{file}")
    SCHEMA.migrate(database)
    store = ReferenceStore(database)
    made = store.create(str(uuid4()), new_reference())
    file.rename(away)
    with pytest.raises(StoreUnavailable):
        store.delete("r", "")
    database.close()  # its connections, so that the next one is a new one
    with pytest.raises(StoreUnavailable):
        store.get("r")
    with pytest.raises(OperationalError, match="is not the file that was opened"):
        database.engine.connect()
    assert not file.exists()
    file.write_bytes(away.read_bytes())
    with pytest.raises(StoreUnavailable):
        store.get("r")
    away.replace(file)
    assert store.get("r") == made

    def goes_meanwhile() -> None:
        with database.writing() as connection:
            connection.execute(text("DELETE FROM reference"))
            file.rename(away)

    with pytest.raises(StoreUnavailable):
        goes_meanwhile()
    database.close()
    assert "is not the file that was opened" in caplog.text


def test_a_postgresql_that_crashes_is_unavailable_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    with postgres_server() as server:
        database = Database(server.create_database())
        SCHEMA.migrate(database)
        store = ReferenceStore(database)
        made = store.create(str(uuid4()), new_reference())
        server.stop()
        for _ in range(2):  # with a connection that broke, and without any
            with pytest.raises(StoreUnavailable):
                store.get("r")
        server.start()
        assert store.get("r") == made
        database.close()
    assert "the database cannot be used" in caplog.text


def test_a_lock_on_postgresql_is_not_waited_for_for_ever(
    postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.storage.database.BUSY_TIMEOUT_S", 0.2)
    database = Database(postgresql.create_database())
    SCHEMA.migrate(database)
    store = ReferenceStore(database)
    store.create(str(uuid4()), new_reference())
    with database.writing() as other:
        other.execute(text("SELECT * FROM reference FOR UPDATE"))
        with pytest.raises(StoreUnavailable):
            store.delete("r", "")
    store.delete("r", "")
    database.close()


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'folder'}")
    with pytest.raises(StoreUnavailable), database.reading():
        pass
    assert "unable to open database file" in caplog.text
    database.close()
