"""Superseded rows: the row that counts for an event, and its replacement by another one.

No row is changed. A row of `corrections` supersedes an interaction, with another interaction or
with nothing, and the view `valid_interactions` leaves superseded rows out. The superseding row
takes the turn of the first one among events of one time (`arrival`). See docs/decisions/0018.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, insert, select

from sensei.corrections.merged_ids import MergedIds, merged_ids
from sensei.events import event_ids
from sensei.events.append import EventRow
from sensei.privacy import audit_log, tombstones
from sensei.storage.revisions import raise_revisions
from sensei.storage.sql import signs
from sensei.storage.tables import CorrectionRow, LearnerRow, to_microseconds

VOID, CORRECT, MERGE, UNDO = "void", "correct", "merge", "undo"
"""Actions of corrections."""

STORED_COLUMNS = (*EventRow._fields, "import_id", "arrival")
"""Columns of a row that a superseding row takes over or replaces."""


class StoredRow(NamedTuple):
    """Row of the log with its key; `arrival` is None if it supersedes no other row."""

    id: int
    row: EventRow
    import_id: int | None
    arrival: int | None


class CurrentVersion(NamedTuple):
    """Last row of an event's corrections, and the action that left nothing in its place."""

    stored: StoredRow
    removed_by: str | None


def lock_learners(connection: Connection, user_ids: Collection[str]) -> MergedIds:
    """Lock learners against other writers, and return their former ids.

    Raises:
        LearnerErased: one of them was erased.
    """
    tombstones.join_writers(connection)
    merged = merged_ids(connection, user_ids)
    names = merged.all_of(user_ids)
    tombstones.refuse_erased(connection, names)
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        query = select(LearnerRow.user_id).where(LearnerRow.user_id.in_(sorted(names)))
        connection.execute(query.order_by(LearnerRow.user_id).with_for_update())
    return merged


def invalidate(connection: Connection, user_ids: Collection[str]) -> None:
    """Raise revisions of learners, under all their ids, by two.

    A reader may take one more write for one more event.
    """
    names = merged_ids(connection, user_ids).all_of(user_ids)
    raise_revisions(connection, names)
    raise_revisions(connection, names)


def current_version(connection: Connection, user_id: str, event_id: str) -> CurrentVersion | None:
    """Follow the corrections of an event to its last row; None if no such event is stored."""
    stored = _stored(connection, "user_id = {sign} AND event_id = {sign}", user_id, event_id)
    while stored is not None:
        query = (
            select(CorrectionRow.action, CorrectionRow.replaced_by)
            .where(CorrectionRow.interaction_id == stored.id)
            .order_by(CorrectionRow.id.desc())
            .limit(1)
        )
        newest = connection.execute(query).first()
        if newest is None:
            return CurrentVersion(stored, None)
        if newest.replaced_by is None:
            return CurrentVersion(stored, newest.action)
        stored = _stored(connection, "id = {sign}", newest.replaced_by)
    return None


def has_clash(connection: Connection, merged: MergedIds, user_id: str, event_id: str) -> bool:
    """Tell if an event id stood for other events of those who were merged into a learner.

    Args:
        connection: connection to the log.
        merged: former ids of the learner.
        user_id: present id of the learner.
        event_id: id under which the events were first sent.
    """
    names = (former for former, into in merged.into.items() if into == user_id)
    ids = (event_ids.superseding_id(event_id, former) for former in names)
    where = "user_id = {sign} AND event_id = {sign}"
    return any(_stored(connection, where, user_id, new_id) is not None for new_id in ids)


def _stored(connection: Connection, where: str, *values: object) -> StoredRow | None:
    cursor = connection.connection.cursor()
    condition = where.format(sign=signs(connection, 1))
    cursor.execute(
        f"SELECT id, {', '.join(STORED_COLUMNS)} FROM user_interactions WHERE {condition}",  # noqa: S608
        values,
    )
    columns: Any = cursor.fetchone()
    return None if columns is None else stored_of_columns(columns)


def stored_of_columns(columns: Sequence[Any]) -> StoredRow:
    """Return a row of a query for `id` and `STORED_COLUMNS`."""
    key, *values, import_id, arrival = columns
    return StoredRow(key, EventRow._make(values), import_id, arrival)


def insert_superseding(
    connection: Connection, stored: StoredRow, wanted: EventRow, now: datetime
) -> int:
    """Append the row that supersedes a stored one; return its key."""
    content = orjson.dumps(wanted[2:]).decode()
    row = wanted._replace(event_id=event_ids.superseding_id(stored.row.event_id, content))
    arrival = stored.id if stored.arrival is None else stored.arrival
    return insert_row(connection, row, stored.import_id, arrival, now)


def insert_row(
    connection: Connection, row: EventRow, import_id: int | None, arrival: int, now: datetime
) -> int:
    """Append a row that stands for an earlier one; return its key."""
    cursor, columns = connection.connection.cursor(), ", ".join([*STORED_COLUMNS, "received_at"])
    cursor.execute(
        f"INSERT INTO user_interactions ({columns}) "  # noqa: S608 - our own names
        f"VALUES ({signs(connection, len(STORED_COLUMNS) + 1)}) RETURNING id",
        (*row, import_id, arrival, to_microseconds(now)),
    )
    row_of_key: Any = cursor.fetchone()
    return int(row_of_key[0])


def supersede(
    connection: Connection,
    stored: StoredRow,
    replaced_by: int | None,
    action: str,
    reason: str | None,
    actor: audit_log.Actor,
    now: datetime,
) -> None:
    """Record that a row counts no more, and the key of the row that counts instead, if any."""
    connection.execute(
        insert(CorrectionRow).values(
            user_id=stored.row.user_id,
            interaction_id=stored.id,
            replaced_by=replaced_by,
            action=action,
            reason=reason,
            actor=actor.name,
            created_at=now,
        )
    )
