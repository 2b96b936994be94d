"""Corrections: what was wrong is superseded, never changed; imports and merged learners."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and columns; the view leaves out superseded rows."""
    op.create_table(
        "corrections",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("interaction_id", sa.BigInteger(), nullable=False),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_corrections_interaction_id"), "corrections", ["interaction_id"], unique=False
    )
    op.create_index(op.f("ix_corrections_user_id"), "corrections", ["user_id"], unique=False)
    op.create_table(
        "imports",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "merged_learners",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("into_user_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_index(
        op.f("ix_merged_learners_into_user_id"), "merged_learners", ["into_user_id"], unique=False
    )
    op.execute("DROP VIEW valid_interactions")
    for name in ("import_id", "arrival"):
        op.add_column("user_interactions", sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute(
        "CREATE VIEW valid_interactions AS SELECT id, event_id, user_id, interaction_type, "
        "topic_id, score, duration_seconds, timestamp, item_id, difficulty, received_at, metadata, "
        "COALESCE(arrival, id) AS arrival FROM user_interactions WHERE NOT EXISTS "
        "(SELECT 1 FROM quarantine WHERE quarantine.interaction_id = user_interactions.id) "
        "AND NOT EXISTS "
        "(SELECT 1 FROM corrections WHERE corrections.interaction_id = user_interactions.id)"
    )
