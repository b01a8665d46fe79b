"""The tables of the store; `migrations/` creates and changes them.

reference 1─n segment   one per shard, never counted twice; its body is dropped once a version holds it
          1─n version   immutable
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from earwitness.storage.columns import NAMING_CONVENTION, Key, Name

metadata = MetaData(naming_convention=NAMING_CONVENTION)


def _reference_key(*, primary_key: bool = False) -> Column[int]:
    return Column(
        "reference_key", Key, ForeignKey("reference.key", ondelete="CASCADE"), nullable=False, primary_key=primary_key
    )


reference = Table(
    "reference",
    metadata,
    Column("key", Key, primary_key=True),
    Column("reference_id", Name, nullable=False, unique=True),
    Column("request_id", String(36), nullable=False, unique=True),
    Column("model", Name, nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("layer", String(200), nullable=False),
    Column("unit_count", Integer, nullable=False),
    Column("feature_profile", String(200), nullable=False),
    Column("selection", String(6), nullable=False),
    Column("unit", Integer, nullable=False),
    Column("k", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("create_time_us", BigInteger, nullable=False),
    Column("kept_layers", Text, nullable=True),
    sqlite_autoincrement=True,
)

segment = Table(
    "segment",
    metadata,
    Column("key", Key, primary_key=True),
    _reference_key(),
    Column("shard_id", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("version", Integer, nullable=True),
    Column("body", LargeBinary, nullable=True),
    UniqueConstraint("reference_key", "shard_id"),
    CheckConstraint("(version IS NULL) = (body IS NOT NULL)", name="counted_once"),
    # Counts are read from this alone, without touching the rows that hold the bodies.
    Index(None, "reference_key", "version", "row_count"),
    sqlite_autoincrement=True,
)

version = Table(
    "version",
    metadata,
    _reference_key(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("row_count", BigInteger, nullable=False),
    Column("selected_count", BigInteger, nullable=False),
    Column("unit_minimum", Double, nullable=True),
    Column("unit_maximum", Double, nullable=True),
    Column("create_time_us", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("frozen", LargeBinary, nullable=False),
)
