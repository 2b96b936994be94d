"""One index of the log less: a learner's events are found by the key (user_id, event_id)."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the index: no query used it, and every row that was written paid for it."""
    op.drop_index("ix_user_interactions_user_time", "user_interactions")
