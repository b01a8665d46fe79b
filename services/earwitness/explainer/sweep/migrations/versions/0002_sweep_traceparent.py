"""The span of the call that made a sweep, which the spans of its runs link to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column, empty for sweeps of before."""
    op.add_column("sweep", sa.Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("sweep", "traceparent")
