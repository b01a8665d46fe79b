"""Brings a service's database to the schema of this version, by the steps in the service's folder `migrations`."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DatabaseError

from earwitness.errors import EarwitnessError
from earwitness.storage.columns import NAMING_CONVENTION
from earwitness.storage.database import Database
from earwitness.storage.errors import SchemaOutdated, SchemaUnknown, StoreDamaged, StoreUnusable


@dataclass(frozen=True)
class Schema:
    """The schema of a `service`, given by its package's name; its steps are in the folder `migrations`."""

    service: str
    migrations: Path

    @property
    def version_table(self) -> str:
        """The table that holds the schema's version: a name of the service's own, as services may share a database."""
        return f"{self.service.rpartition('.')[2]}_schema"

    def migrate(self, database: Database) -> None:
        """Runs the steps that the database lacks, all or none; several processes may do it at once.

        Raises: StoreUnavailable; StoreUnusable; SchemaUnknown.
        """
        with _complaints(), database.writing() as connection:
            if not database.is_sqlite:  # whose writers wait for each other by themselves
                lock = text("SELECT pg_advisory_xact_lock(hashtext(:name))")
                connection.execute(lock, {"name": f"{self.service}.migrate"})
            config = self._config()
            config.attributes["connection"] = connection
            config.attributes["version_table"] = self.version_table
            command.upgrade(config, "head")

    def require(self, database: Database) -> None:
        """Raises: SchemaOutdated unless the schema is this version's; StoreUnavailable; StoreUnusable."""
        with _complaints(), database.reading() as connection:
            opts = {"version_table": self.version_table}
            found = MigrationContext.configure(connection, opts=opts).get_current_revision()
        needed = ScriptDirectory.from_config(self._config()).get_current_head()
        if found != needed:
            raise SchemaOutdated(self.service, found, needed)

    def prepare(self, database: Database) -> None:
        """What a server does at its start: a SQLite file is migrated, PostgreSQL must be by the command `migrate`.

        Raises: StoreUnavailable; StoreUnusable; SchemaOutdated; SchemaUnknown.
        """
        if database.is_sqlite:
            self.migrate(database)
        else:
            self.require(database)

    def migrate_command(self, url: Callable[[list[str]], str]) -> None:
        """`python -m SERVICE migrate [OPTIONS]`; `url` makes the database's URL of the options.

        Raises: SystemExit with status 1 when it cannot.
        """
        database = Database(url(sys.argv[2:]))
        try:
            self.migrate(database)
        except EarwitnessError as err:
            sys.stderr.write(f"cannot migrate: {err}\n")
            raise SystemExit(1) from err
        finally:
            database.close()

    def _config(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(self.migrations))
        return config


def run_steps() -> None:
    """All that a service's `migrations/env.py` does, which Alembic runs: the steps, on the connection of `migrate`."""
    # The connection is in a transaction, which on SQLite covers DDL, too.
    context.configure(
        connection=context.config.attributes["connection"],
        version_table=context.config.attributes["version_table"],
        target_metadata=MetaData(naming_convention=NAMING_CONVENTION),
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


@contextmanager
def _complaints() -> Iterator[None]:
    """What a database says that is there but not as it should be, in one line."""
    try:
        yield
    except CommandError as err:
        raise SchemaUnknown(str(err)) from err
    except StoreDamaged as err:
        raise StoreUnusable(err.complaint) from err
    except (DatabaseError, sqlite3.DatabaseError) as err:
        raise StoreUnusable(" ".join(str(getattr(err, "orig", err)).split())) from err
