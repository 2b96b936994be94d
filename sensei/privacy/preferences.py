"""Preferences of a learner: event counts by kind, and the format they chose."""

from sqlalchemy import Engine, select, text, update

from sensei.corrections.merged_ids import PRESENT_ID, merged_ids
from sensei.privacy import tombstones
from sensei.storage import database, revisions
from sensei.storage.tables import LearnerRow


def kinds(engine: Engine, user_id: str) -> dict[str, int]:
    """Return the number of a learner's valid events per kind.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = text(
        "SELECT interaction_type, COUNT(*) FROM valid_interactions "  # noqa: S608 - our own SQL
        f"WHERE user_id = {PRESENT_ID.format(':user')} GROUP BY 1"
    )
    with database.read_connection(engine) as connection:
        return dict(row._tuple() for row in connection.execute(query, {"user": user_id}))


def style_override(engine: Engine, user_id: str) -> str | None:
    """Return the format that a learner chose; None if they left the choice to observation.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    with database.read_connection(engine) as connection:
        present = merged_ids(connection, [user_id]).present(user_id)
        query = select(LearnerRow.style_override).where(LearnerRow.user_id == present)
        style: str | None = connection.execute(query).scalar()
    return style


def set_style_override(engine: Engine, user_id: str, style: str | None) -> None:
    """Store a learner's choice, even before their first event; None removes it.

    It raises the learner's revision, so caches of their state read it again.

    Raises:
        LearnerErased: the learner was erased.
        StorageUnavailable: nothing was written.
    """
    with database.write_transaction(engine) as connection:
        tombstones.join_writers(connection)
        merged = merged_ids(connection, [user_id])
        names, present = merged.all_of([user_id]), merged.present(user_id)
        tombstones.refuse_erased(connection, names)
        revisions.raise_revisions(connection, names)
        connection.execute(
            update(LearnerRow).where(LearnerRow.user_id == present).values(style_override=style)
        )
