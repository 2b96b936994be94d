"""The catalogue as the boundary: retired and replaced topics, and the events that count."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and let the view follow the catalogue.

    It leaves out events on topics that the catalogue does not have, and counts events on a replaced
    topic for its replacement. Without a catalogue every event counts.
    """
    op.add_column(
        "topics", sa.Column("retired", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("topics", sa.Column("replaced_by", sa.BigInteger(), nullable=True))
    op.execute("DROP VIEW valid_interactions")
    op.execute(
        "CREATE VIEW valid_interactions AS SELECT id, event_id, user_id, interaction_type, "
        "COALESCE((SELECT topics.replaced_by FROM topics "
        "WHERE topics.topic_id = user_interactions.topic_id), topic_id) AS topic_id, "
        "score, duration_seconds, timestamp, item_id, difficulty, received_at, metadata, "
        "COALESCE(arrival, id) AS arrival FROM user_interactions WHERE NOT EXISTS "
        "(SELECT 1 FROM quarantine WHERE quarantine.interaction_id = user_interactions.id) "
        "AND NOT EXISTS "
        "(SELECT 1 FROM corrections WHERE corrections.interaction_id = user_interactions.id) "
        "AND (topic_id IN (SELECT topics.topic_id FROM topics) "
        "OR NOT EXISTS (SELECT 1 FROM topics))"
    )
