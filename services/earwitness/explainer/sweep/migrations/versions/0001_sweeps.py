"""Sweeps with their blocks, trajectories, results and rankings."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Creates the five tables."""
    op.create_table(
        "sweep",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("sweep_id", _NAME, nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("model", _NAME, nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.Column("block_rows", sa.Integer, nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        sa.Column("error", sa.LargeBinary, nullable=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("row_steps_done", sa.BigInteger, nullable=False),
        sa.Column("row_step_count", sa.BigInteger, nullable=False),
        sa.Column("results_done", sa.Integer, nullable=False),
        sa.Column("result_count", sa.Integer, nullable=False),
        sa.Column("row_steps_per_second", sa.Double, nullable=False),
        sa.Column("waiting_for", sa.Text, nullable=False),
        sa.Column("search_us", sa.BigInteger, nullable=False),
        sa.Column("create_time_us", sa.BigInteger, nullable=False),
        sa.Column("update_time_us", sa.BigInteger, nullable=False),
        sa.Column("end_time_us", sa.BigInteger, nullable=True),
        sa.Column("lease", sa.String(36), nullable=True),
        sa.Column("lease_end_us", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_sweep"),
        sa.UniqueConstraint("sweep_id", name="uq_sweep_sweep_id"),
        sa.UniqueConstraint("request_id", name="uq_sweep_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sweep_state_key", "sweep", ["state", "key"])
    _create_part("sweep_block", ["number"], row_steps_done=sa.BigInteger(), state=None)
    _create_part("sweep_curve", ["block", "first_step"], body=sa.LargeBinary())
    _create_part("sweep_result", ["number"], rows=sa.LargeBinary(), tensors=sa.LargeBinary())
    _create_part("sweep_ranking", ["objective"], body=sa.LargeBinary())


def _create_part(table: str, numbers: list[str], **columns: sa.types.TypeEngine[Any] | None) -> None:
    """A table of parts of a sweep; a column of None is bytes that may be dropped."""
    op.create_table(
        table,
        sa.Column("sweep_key", _KEY, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False, autoincrement=False) for name in numbers),
        *(sa.Column(name, kind or sa.LargeBinary, nullable=kind is None) for name, kind in columns.items()),
        sa.PrimaryKeyConstraint("sweep_key", *numbers, name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["sweep_key"], ["sweep.key"], name=f"fk_{table}_sweep", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Drops them with all they hold."""
    for table in ("sweep_ranking", "sweep_result", "sweep_curve", "sweep_block", "sweep"):
        op.drop_table(table)
