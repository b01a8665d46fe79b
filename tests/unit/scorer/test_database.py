"""Transactions on SQLite."""

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from earwitness.storage.database import Database
from earwitness.storage.errors import StoreUnavailable


def test_an_exception_undoes_the_whole_transaction(database: Database) -> None:
    with suppress(RuntimeError), database.writing() as connection:
        connection.execute(text("CREATE TABLE more (x INTEGER)"))
        connection.execute(text("INSERT INTO more VALUES (1)"))
        raise RuntimeError
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'more'")).scalar_one() == 0


def test_readers_see_one_state_and_are_not_blocked_by_a_writer(database: Database) -> None:
    count = text("SELECT count(*) FROM reference")
    insert = text("INSERT INTO reference VALUES (1, 'r', 'q', 'm', 'w', 'l', 1, 'f', 'all', 0, 0, '', 0)")
    with database.reading() as reader:
        assert reader.execute(count).scalar_one() == 0
        with database.writing() as writer:
            writer.execute(insert)
        assert reader.execute(count).scalar_one() == 0
    with database.reading() as reader:
        assert reader.execute(count).scalar_one() == 1


def test_durability_settings(database: Database) -> None:
    with database.reading() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                   for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'folder'}")
    with pytest.raises(StoreUnavailable), database.reading():
        pass
    assert "unable to open database file" in caplog.text
    database.close()
