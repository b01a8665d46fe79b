"""Brings a database to the schema of this version, by the steps in `migrations/`."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError

from earwitness.scorer.database import Database
from earwitness.scorer.errors import SchemaOutdated, SchemaUnknown, StoreUnusable


def migrate(database: Database) -> None:
    """Runs the steps that the database lacks, all or none; several processes may do it at once.

    Raises: StoreUnavailable; StoreUnusable; SchemaUnknown.
    """
    with _complaints(), database.writing() as connection:
        if not database.is_sqlite:  # whose writers wait for each other by themselves
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('earwitness.scorer.migrate'))")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_schema(database: Database) -> None:
    """Raises: SchemaOutdated unless the schema is this version's; StoreUnavailable; StoreUnusable."""
    with _complaints(), database.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    needed = ScriptDirectory.from_config(_config()).get_current_head()
    if found != needed:
        raise SchemaOutdated(found, needed)


@contextmanager
def _complaints() -> Iterator[None]:
    """What a database says that is there but not as it should be, in one line."""
    try:
        yield
    except CommandError as err:
        raise SchemaUnknown(str(err)) from err
    except (DatabaseError, sqlite3.DatabaseError) as err:
        raise StoreUnusable(" ".join(str(getattr(err, "orig", err)).split())) from err


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
