"""Imports: each run of `sensei import` has an id, by which it can be undone."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, text, update

from sensei.corrections.superseding import UNDO, invalidate
from sensei.errors import InvalidInput
from sensei.privacy import audit_log, tombstones
from sensei.storage import database
from sensei.storage.tables import ImportRow, to_microseconds


def begin_import(engine: Engine, paths: Sequence[Path]) -> int:
    """Record the start of an import of files; return its id.

    Raises:
        StorageUnavailable: the database cannot be written.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    row = {
        "source": ", ".join(path.name for path in paths),
        "digest": digest.hexdigest(),
        "actor": audit_log.process_owner().name,
        "created_at": datetime.now(UTC),
        "rows": 0,
    }
    with database.write_transaction(engine) as connection:
        return int(
            connection.execute(insert(ImportRow).values(row).returning(ImportRow.id)).scalar_one()
        )


def count_rows(connection: Connection, import_id: int, rows: int) -> None:
    """Add to the number of events that an import added."""
    theirs = update(ImportRow).where(ImportRow.id == import_id)
    connection.execute(theirs.values(rows=ImportRow.rows + rows))


def newest_imports(engine: Engine, limit: int) -> list[ImportRow]:
    """Return at most `limit` newest imports, newest first.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = select(ImportRow.__table__).order_by(ImportRow.id.desc()).limit(limit)
    with database.read_connection(engine) as connection:
        return [ImportRow(**row) for row in connection.execute(query).mappings()]


def undo_import(engine: Engine, import_id: int, by: audit_log.Actor | None = None) -> int:
    """Void every event that an import added; a repeat voids nothing more.

    Events that were corrected since, and those of learners who were merged since, are included.

    Returns:
        Number of voided events.

    Raises:
        InvalidInput: there is no such import.
        StorageUnavailable: nothing was written.
    """
    now, actor = datetime.now(UTC), by or audit_log.process_owner()
    with database.write_transaction(engine) as connection:
        tombstones.exclude_writers(connection)
        query = select(ImportRow.id).where(ImportRow.id == import_id)
        if connection.execute(query).scalar() is None:
            raise InvalidInput(
                f"import: expected the id of an import, got {import_id}; "
                "`sensei import` showed it, and `sensei import list` shows all"
            )
        theirs = (
            "FROM user_interactions WHERE import_id = :import_id AND NOT EXISTS "
            "(SELECT 1 FROM corrections WHERE interaction_id = user_interactions.id)"
        )
        values = {"import_id": import_id}
        users = connection.execute(text(f"SELECT DISTINCT user_id {theirs}"), values)
        names = users.scalars().all()
        voided = connection.execute(
            text(
                "INSERT INTO corrections (user_id, interaction_id, action, actor, created_at) "
                f"SELECT user_id, id, :action, :actor, :now {theirs}"
            ),
            values | {"action": UNDO, "actor": actor.name, "now": to_microseconds(now)},
        ).rowcount
        if voided:
            invalidate(connection, names)
            audit_log.record(connection, audit_log.UNDONE, actor, import_id=import_id, rows=voided)
    return voided
