"""Erased learners are remembered by a keyed digest, in a table that holds no name."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; `learners.tombstone` was stored with the name that it had to hide."""
    op.create_table(
        "erased",
        sa.Column("tombstone", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tombstone"),
    )
    op.drop_column("learners", "tombstone")
