"""The database engine and its transactions: all that differs between SQLite and PostgreSQL."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from earwitness import tracing
from earwitness.storage.errors import StoreUnavailable
from earwitness.storage.metrics import Access, StoreMetrics

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one's transaction."""
CONNECT_TIMEOUT_S = 5
"""How long PostgreSQL may take to open a connection."""
ANSWER_TIMEOUT_S = 60
"""How long PostgreSQL may take for a statement, and a network without an answer is waited for."""
POOL_SIZE = 16
_WRITES = "earwitness_writes"
_logger = logging.getLogger(__name__)


class Database:
    """Transactions on one database: `reading` sees one consistent state, `writing` changes it as a whole or not."""

    def __init__(self, url: str, metrics: StoreMetrics | None = None) -> None:
        """`url` is one that `require_url` takes; nothing is opened yet. The folder of a SQLite file is made."""
        self._metrics = metrics
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        connect = {} if self.is_sqlite else _postgresql_limits()
        self.engine: Engine = create_engine(
            parsed, pool_size=POOL_SIZE, pool_pre_ping=not self.is_sqlite, connect_args=connect
        )
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        # SQLite's readers see one state by themselves.
        one_state = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(**one_state)
        self._writer = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction for several reads of one state. Raises: StoreUnavailable."""
        with self._counted("read"), _failures(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block and undone by an exception.

        Raises: StoreUnavailable; sqlalchemy's IntegrityError for a constraint.
        """
        with self._counted("write"), _failures(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _counted(self, access: Access) -> Iterator[None]:
        start, failed = perf_counter(), False
        try:
            with tracing.repeated(f"store {access}", {}):
                yield
        except StoreUnavailable:
            failed = True
            raise
        finally:
            if self._metrics is not None:
                self._metrics.transaction(access, perf_counter() - start, failed=failed)

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def require_url(url: str) -> str:
    """`url` when a store can use it.

    Raises: ValueError.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        raise ValueError("must be an SQLAlchemy URL: sqlite:///PATH or postgresql+psycopg://...") from err
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ValueError(f"is of a {backend} database; must be of sqlite or postgresql")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("must name a file: what is kept in memory would be lost with the process")
    return url


def _postgresql_limits() -> dict[str, Any]:
    # Without them a lost network or another's lock would hold a call, and a thread with it, for ever.
    waits = {"lock_timeout": BUSY_TIMEOUT_S, "statement_timeout": ANSWER_TIMEOUT_S}
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": ANSWER_TIMEOUT_S * 1000,
        "application_name": "earwitness",
        "options": " ".join(f"-c {name}={round(seconds * 1000)}" for name, seconds in waits.items()),
    }


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    # The driver's own transactions begin late and commit at DDL: ours are begun by `_begin_sqlite`.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}",
        "journal_mode = WAL",
        "synchronous = FULL",  # what was acknowledged survives a power cut, too
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads before it writes cannot wait for another writer: take the lock at once.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as err:
        _logger.warning("the database cannot be used: %s", err)
        raise StoreUnavailable() from err
