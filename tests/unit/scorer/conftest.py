"""A migrated SQLite database and a store on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.store import ReferenceStore
from earwitness.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'scorer.db'}")
    SCHEMA.migrate(database)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> ReferenceStore:
    return ReferenceStore(database)
