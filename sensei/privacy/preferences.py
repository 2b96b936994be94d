"""What a learner prefers: by what he does, and by his own word."""

from sqlalchemy import Engine, select, text, update

from sensei.privacy import tombstones
from sensei.storage import database, revisions
from sensei.storage.tables import LearnerRow


def kinds(engine: Engine, user_id: str) -> dict[str, int]:
    """How many valid events of each kind a learner has.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = text(
        "SELECT interaction_type, COUNT(*) FROM valid_interactions WHERE user_id = :user GROUP BY 1"
    )
    with database.read_connection(engine) as connection:
        return dict(row._tuple() for row in connection.execute(query, {"user": user_id}))


def style_override(engine: Engine, user_id: str) -> str | None:
    """The format that a learner chose, None where he left it to what is observed.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    with database.read_connection(engine) as connection:
        query = select(LearnerRow.style_override).where(LearnerRow.user_id == user_id)
        found: str | None = connection.execute(query).scalar()
    return found


def set_style_override(engine: Engine, user_id: str, style: str | None) -> None:
    """Keep a learner's choice, also of one who did nothing yet; None takes it back.

    It raises the learner's revision, so that whoever keeps his state reads it anew.

    Raises:
        LearnerErased: the learner was erased.
        StorageUnavailable: nothing was written.
    """
    with database.write_transaction(engine) as connection:
        tombstones.refuse_erased(connection, [user_id])
        revisions.raise_revisions(connection, [user_id])
        connection.execute(
            update(LearnerRow).where(LearnerRow.user_id == user_id).values(style_override=style)
        )
