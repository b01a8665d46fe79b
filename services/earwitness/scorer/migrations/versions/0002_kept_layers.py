"""The layers that the rows of a reference hold."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column, empty for references of one layer alone, as those of before are."""
    op.add_column("reference", sa.Column("kept_layers", sa.Text, nullable=True))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("reference", "kept_layers")
