"""What the references of a sweep kept when it was made, which its targets in quantiles are of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates the table, of which sweeps of before have no rows."""
    op.create_table(
        "sweep_real",
        sa.Column("sweep_key", _KEY, nullable=False),
        sa.Column("objective", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sweep_key", "objective", name="pk_sweep_real"),
        sa.ForeignKeyConstraint(["sweep_key"], ["sweep.key"], name="fk_sweep_real_sweep", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("sweep_real")
