"""What the columns of both services' tables hold, and how constraints are named."""

from datetime import UTC, datetime, timedelta
from secrets import randbits

from sqlalchemy import BigInteger, Integer, String

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
Key = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself in INTEGER columns only."""
Name = String(63).with_variant(String(63, collation="C"), "postgresql")
"""Ordered by code point on every database: pages are cut by name."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_KEY_RANDOM_BITS = 12
"""Beside 51 bits of microseconds: 63 in all, until 2091."""


def new_key() -> int:
    """A key for a new row, later ones being greater, that no row had before, not even one that a restore took away.

    The numbers that a database gives by itself are those of lost rows again once it is restored: whoever still knows a
    lost row by its number would take another one for it.
    """
    return (microseconds(datetime.now(UTC)) - microseconds(_KEY_EPOCH)) << _KEY_RANDOM_BITS | randbits(_KEY_RANDOM_BITS)


def microseconds(time: datetime) -> int:
    """What a column `..._us` holds of a time: microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def time_of(microseconds: int) -> datetime:
    """The time in a column `..._us`."""
    return _EPOCH + timedelta(microseconds=microseconds)
