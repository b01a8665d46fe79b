"""A migrated database, of each kind, and a store on it."""

from collections.abc import Iterator

import pytest

from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.store import ReferenceStore
from earwitness.storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    SCHEMA.migrate(database)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> ReferenceStore:
    return ReferenceStore(database)
