"""Large values in a database, read piece by piece, so that nobody has to hold a whole one."""

import sqlite3
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Column, ColumnElement, Connection, func, literal_column, select

from earwitness.storage.database import Database


@dataclass(frozen=True, eq=False)
class LargeValue:
    """The bytes in `column` of the one row `where` something holds. Every method is a transaction of its own."""

    database: Database
    column: Column[bytes]
    where: ColumnElement[bool]

    def byte_count(self) -> int | None:
        """How many there are; None when the row, or what is in it, is gone."""
        with self.database.reading() as connection:
            found = connection.execute(select(func.length(self.column)).where(self.where)).scalar_one_or_none()
            return cast(int | None, found)

    def read(self, start: int, count: int) -> bytes | None:
        """`count` bytes from `start` on, fewer at the end; None when they are gone."""
        with self.database.reading() as connection:
            if self.database.is_sqlite:
                return self._read_sqlite(connection, start, count)
            piece = func.substring(self.column, start + 1, count)
            return cast(bytes | None, connection.execute(select(piece).where(self.where)).scalar_one_or_none())

    def _read_sqlite(self, connection: Connection, start: int, count: int) -> bytes | None:
        # Its substr() would read the whole value for every piece.
        table = self.column.table
        rowid: ColumnElement[int] = literal_column("rowid")
        query = select(rowid).select_from(table).where(self.where & self.column.is_not(None))
        key = connection.execute(query).scalar_one_or_none()
        if key is None:
            return None
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        with driver.blobopen(table.name, self.column.name, key, readonly=True) as blob:
            blob.seek(min(start, len(blob)))
            return blob.read(count)
