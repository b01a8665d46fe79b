"""A migrated SQLite database and a store on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.scorer.database import Database
from earwitness.scorer.migration import migrate
from earwitness.scorer.store import ReferenceStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'scorer.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> ReferenceStore:
    return ReferenceStore(database)
