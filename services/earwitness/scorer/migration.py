"""Brings a database to the schema of this version, by the steps in `migrations/`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from earwitness.scorer.database import Database
from earwitness.scorer.errors import SchemaOutdated


def migrate(database: Database) -> None:
    """Runs the steps that the database lacks, all or none; several processes may do it at once.

    Raises: StoreUnavailable.
    """
    with database.writing() as connection:
        if not database.is_sqlite:  # whose writers wait for each other by themselves
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('earwitness.scorer.migrate'))")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_schema(database: Database) -> None:
    """Raises: SchemaOutdated unless the schema is this version's; StoreUnavailable."""
    with database.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    needed = ScriptDirectory.from_config(_config()).get_current_head()
    if found != needed:
        raise SchemaOutdated(found, needed)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
