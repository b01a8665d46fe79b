"""References, their segments and versions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Creates the three tables."""
    op.create_table(
        "reference",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("reference_id", _NAME, nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("model", _NAME, nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.Column("layer", sa.String(200), nullable=False),
        sa.Column("unit_count", sa.Integer, nullable=False),
        sa.Column("feature_profile", sa.String(200), nullable=False),
        sa.Column("selection", sa.String(6), nullable=False),
        sa.Column("unit", sa.Integer, nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("create_time_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_reference"),
        sa.UniqueConstraint("reference_id", name="uq_reference_reference_id"),
        sa.UniqueConstraint("request_id", name="uq_reference_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "segment",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("reference_key", _KEY, nullable=False),
        sa.Column("shard_id", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("body", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_segment"),
        sa.ForeignKeyConstraint(["reference_key"], ["reference.key"], name="fk_segment_reference", ondelete="CASCADE"),
        sa.UniqueConstraint("reference_key", "shard_id", name="uq_segment_reference_key_shard_id"),
        sa.CheckConstraint("(version IS NULL) = (body IS NOT NULL)", name="ck_segment_counted_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_segment_reference_key_version_row_count", "segment", ["reference_key", "version", "row_count"])
    op.create_table(
        "version",
        sa.Column("reference_key", _KEY, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("selected_count", sa.BigInteger, nullable=False),
        sa.Column("unit_minimum", sa.Double, nullable=True),
        sa.Column("unit_maximum", sa.Double, nullable=True),
        sa.Column("create_time_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("frozen", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("reference_key", "number", name="pk_version"),
        sa.ForeignKeyConstraint(["reference_key"], ["reference.key"], name="fk_version_reference", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Drops them with all they hold."""
    for table in ("version", "segment", "reference"):
        op.drop_table(table)
