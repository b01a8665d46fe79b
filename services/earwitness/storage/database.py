"""The database engine and its transactions: all that differs between SQLite and PostgreSQL."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, cast, create_engine, event, extract, func, literal
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from earwitness import tracing
from earwitness.errors import EarwitnessError
from earwitness.storage.errors import StoreDamaged, StoreUnavailable
from earwitness.storage.metrics import Access, StoreMetrics

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one's transaction."""
CONNECT_TIMEOUT_S = 5
"""How long PostgreSQL may take to open a connection."""
ANSWER_TIMEOUT_S = 60
"""How long PostgreSQL may take for a statement, and a network without an answer is waited for."""
POOL_SIZE = 16
_WRITES = "earwitness_writes"
_DAMAGED_SQLITE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGED_POSTGRESQL = ("XX001", "XX002")
"""Of a data page and of an index."""
_logger = logging.getLogger(__name__)


class Database:
    """Transactions on one database: `reading` sees one consistent state, `writing` changes it as a whole or not."""

    def __init__(self, url: str, metrics: StoreMetrics | None = None) -> None:
        """`url` is one that `require_url` takes; nothing is opened yet. The folder of a SQLite file is made."""
        self._metrics = metrics
        self._damage: StoreDamaged | None = None
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._file = _File(Path(str(parsed.database))) if self.is_sqlite else None
        # A statement that the driver keeps for the next time keeps what it was given, too: a version of 100 MiB.
        connect = {"cached_statements": 0} if self.is_sqlite else _postgresql_limits()
        self.engine: Engine = create_engine(
            parsed, pool_size=POOL_SIZE, pool_pre_ping=not self.is_sqlite, connect_args=connect
        )
        if self._file is not None:
            event.listen(self.engine, "do_connect", self._file.before_connecting)
            event.listen(self.engine, "connect", self._file.prepare)
            event.listen(self.engine, "begin", _begin_sqlite)
        # SQLite's readers see one state by themselves.
        one_state = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(**one_state)
        self._writer = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction for several reads of one state. Raises: StoreUnavailable; StoreDamaged."""
        with self._transaction("read", self._reader) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block and undone by an exception.

        Raises: StoreUnavailable; StoreDamaged; sqlalchemy's IntegrityError for a constraint.
        """
        with self._transaction("write", self._writer) as connection:
            yield connection

    @contextmanager
    def _transaction(self, access: Access, engine: Engine) -> Iterator[Connection]:
        with self._counted(access), self._failures():
            self._require_file()
            with engine.begin() as connection:
                yield connection
            self._require_file()  # it may have gone meanwhile, and what went with it must not be acknowledged

    def _require_file(self) -> None:
        if self._file is not None:
            self._file.require()

    @contextmanager
    def _counted(self, access: Access) -> Iterator[None]:
        start, failed = perf_counter(), False
        try:
            with tracing.repeated(f"store {access}", {}):
                yield
        except (StoreUnavailable, StoreDamaged):
            failed = True
            raise
        finally:
            if self._metrics is not None:
                self._metrics.transaction(access, perf_counter() - start, failed=failed)

    def require_sound(self) -> None:
        """Raises: StoreDamaged when damage of a SQLite file was seen since this began: it may be anywhere in it.

        PostgreSQL is not judged by one page: what else is in it is served, by all servers of it.
        """
        if self._damage is not None:
            raise self._damage

    def tell_damage(self, err: StoreDamaged) -> None:
        """Take note of damage that was seen in what was read."""
        if self.is_sqlite:
            self._damage = err

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Take note of damage that is found in what was read. Raises: StoreDamaged."""
        try:
            yield
        except StoreDamaged as err:
            self.tell_damage(err)
            raise

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeoutError, sqlite3.Error) as err:
            if complaint := _damage(err):
                raise self._damaged(complaint) from err
            if isinstance(err, OperationalError | InterfaceError | PoolTimeoutError | sqlite3.OperationalError):
                _logger.warning("the database cannot be used: %s", err)
                raise StoreUnavailable() from err
            raise
        except StoreDamaged as err:  # found in what was read
            self.tell_damage(err)
            raise
        except EarwitnessError:
            raise
        except Exception as err:
            # A row that reads like no row of ours: a defect, unless SQLite finds that the file is not as it wrote it.
            if complaint := self._check():
                raise self._damaged(complaint) from err
            raise

    def _damaged(self, complaint: str) -> StoreDamaged:
        err = StoreDamaged(complaint)
        self.tell_damage(err)
        return err

    def _check(self) -> str:
        """What SQLite finds wrong with its file; nothing of PostgreSQL."""
        if not self.is_sqlite:
            return ""
        try:
            with self._reader.connect() as connection:
                found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        except (DBAPIError, PoolTimeoutError, sqlite3.Error) as err:
            return _damage(err)
        return "" if found == "ok" else " ".join(found.split())

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def now_us(connection: Connection) -> ColumnElement[int]:
    """The time by the database's clock, in microseconds since 1970.

    PostgreSQL has its own, and the processes that share it may each have another; SQLite has the asking process's.
    """
    if connection.dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
    return literal(time_ns() // 1000, BigInteger)


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


class _File:
    """A SQLite database's file: that which the first connection opened, or none.

    SQLite itself would write on to a file that was deleted, or make an empty one in its place.
    """

    def __init__(self, path: Path) -> None:
        """Makes the file's folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._inode: tuple[int, int] | None = None

    def before_connecting(self, *of_sqlalchemy: Any) -> None:
        """Raises: as `require`, where the driver would make an empty file."""
        self.require()

    def prepare(self, connection: sqlite3.Connection, record: Any) -> None:
        """What a new connection needs."""
        # The driver's own transactions begin late and commit at DDL: ours are begun by `_begin_sqlite`.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",  # what was acknowledged survives a power cut, too
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        self._inode = self._found()

    def require(self) -> None:
        """Raises: sqlite3.OperationalError when the file is gone, or another one is in its place."""
        if self._inode is not None and self._found() != self._inode:
            raise sqlite3.OperationalError(
                f"{self._path} is not the file that was opened; put that back, or start the service again with this one"
            )

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads before it writes cannot wait for another writer: take the lock at once.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _damage(err: Exception) -> str:
    """What a database complains of that cannot read what it wrote; nothing for anything else that may go wrong."""
    of_driver = getattr(err, "orig", err)
    code, state = getattr(of_driver, "sqlite_errorcode", 0), getattr(of_driver, "sqlstate", "")
    damaged = (
        (code & 0xFF) in _DAMAGED_SQLITE
        or state in _DAMAGED_POSTGRESQL
        # The driver's own complaint of text that is none.
        or (isinstance(of_driver, sqlite3.OperationalError) and "Could not decode to UTF-8" in str(of_driver))
    )
    return " ".join(str(of_driver).split()) if damaged else ""
