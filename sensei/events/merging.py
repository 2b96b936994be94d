"""Merging of two learners who are one person; see `superseding`."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, update

from sensei.errors import InvalidInput
from sensei.events import event_ids, quarantine
from sensei.events.merged_ids import MergedIds
from sensei.events.superseding import (
    MERGE,
    STORED_COLUMNS,
    StoredRow,
    insert_row,
    invalidate,
    lock_learners,
    stored_of_columns,
    supersede,
)
from sensei.privacy import audit_log, tombstones
from sensei.storage import database
from sensei.storage.sql import signs
from sensei.storage.tables import CorrectionRow, LearnerRow, MergedLearner, Quarantined

_CHUNK = 5_000  # rows per statement: databases limit its parameters


def merge_learners(
    engine: Engine,
    former: str,
    into: str,
    by: audit_log.Actor | None = None,
    suppression: Path | None = None,
) -> int:
    """Make two learners one: all events of `former`, later ones too, count for `into`.

    The events are appended again under `into` with their ids, their corrections and their place
    in quarantine; the old rows are superseded.

    Returns:
        Number of events that moved; 0 if the two were merged before.

    Raises:
        InvalidInput: the two are the same learner, or `former` is not in the log.
        LearnerErased: one of them was erased.
        StorageUnavailable: nothing was written.
    """
    now, actor = datetime.now(UTC), by or audit_log.process_owner()
    with database.write_transaction(engine) as connection:
        tombstones.exclude_writers(connection)
        merged = lock_learners(connection, {former, into})
        if merged.into.get(former) == merged.present(into) != former:
            return 0
        _refuse_unmergeable(connection, former, into, merged)
        into = merged.present(into)
        moved = _move_rows(connection, former, into, actor, now)
        connection.execute(
            update(MergedLearner)
            .where(MergedLearner.into_user_id == former)
            .values(into_user_id=into)
        )
        row = {"user_id": former, "into_user_id": into, "created_at": now}
        connection.execute(insert(MergedLearner).values(row))
        invalidate(connection, merged.all_of([former, into]))
        _keep_style(connection, former, into)
        subject = tombstones.digest(tombstones.ensure_key(connection, suppression), into)
        audit_log.record(connection, audit_log.MERGED, actor, subject=subject, rows=moved)
    return moved


def _refuse_unmergeable(connection: Connection, former: str, into: str, merged: MergedIds) -> None:
    if former in merged.into:
        raise InvalidInput(
            f"learner: expected one who was not merged, got {former!r}, who was merged into "
            f"{merged.into[former]!r}; name that one"
        )
    if merged.present(into) == former:
        raise InvalidInput(f"learner: expected two learners, got {former!r} twice; name another")
    query = select(LearnerRow.user_id).where(LearnerRow.user_id == former)
    if connection.execute(query).scalar() is None:
        raise InvalidInput(f"learner: expected one of the log, got {former!r}; check the spelling")


def _move_rows(
    connection: Connection, former: str, into: str, actor: audit_log.Actor, now: datetime
) -> int:
    rows = _rows_of(connection, former)
    stored = {row.row.event_id: row for row in _rows_of(connection, into)}
    key_of: dict[int, int] = {}
    copied: set[int] = set()
    for row in rows:
        moved = row.row._replace(user_id=into)
        same = stored.get(moved.event_id)
        if same is not None and same.row == moved:
            key_of[row.id] = same.id
            continue
        if same is not None:  # two events of two accounts under one id
            moved = moved._replace(event_id=event_ids.superseding_id(moved.event_id, former))
        arrival = row.id if row.arrival is None else row.arrival
        key_of[row.id] = insert_row(connection, moved, row.import_id, arrival, now)
        copied.add(row.id)
    _copy_corrections(connection, former, into, key_of, copied)
    _copy_quarantine(connection, key_of, copied)
    for row in rows:
        supersede(connection, row, key_of[row.id], MERGE, None, actor, now)
    return len(rows)


def _rows_of(connection: Connection, user_id: str) -> list[StoredRow]:
    """Return all rows of a learner in order of their keys, superseded ones too."""
    cursor = connection.connection.cursor()
    cursor.execute(
        f"SELECT id, {', '.join(STORED_COLUMNS)} FROM user_interactions "  # noqa: S608 - our own names
        f"WHERE user_id = {signs(connection, 1)} ORDER BY id",
        (user_id,),
    )
    return [stored_of_columns(columns) for columns in cursor.fetchall()]


def _copy_corrections(
    connection: Connection, former: str, into: str, key_of: Mapping[int, int], copied: set[int]
) -> None:
    table = CorrectionRow.__table__
    query = select(table).where(table.c.user_id == former).order_by(table.c.id)
    copies = [
        {name: value for name, value in row.items() if name != "id"}
        | {
            "user_id": into,
            "interaction_id": key_of[row["interaction_id"]],
            "replaced_by": key_of.get(row["replaced_by"]),
        }
        for row in connection.execute(query).mappings().all()
        if row["interaction_id"] in copied
    ]
    if copies:
        connection.execute(insert(CorrectionRow), copies)


def _copy_quarantine(
    connection: Connection, key_of: Mapping[int, int], copied: Collection[int]
) -> None:
    ids = sorted(copied)
    for start in range(0, len(ids), _CHUNK):
        query = select(Quarantined).where(
            Quarantined.interaction_id.in_(ids[start : start + _CHUNK])
        )
        for entry in connection.execute(query).all():
            reasons = {key_of[entry.interaction_id]: entry.reason}
            quarantine.take_out(connection, reasons, entry.expectation, entry.source)


def _keep_style(connection: Connection, former: str, into: str) -> None:
    """Let the present id have the style that was chosen under the former one, if it has none."""
    query = select(LearnerRow.style_override).where(LearnerRow.user_id == former)
    style = connection.execute(query).scalar()
    connection.execute(
        update(LearnerRow)
        .where(LearnerRow.user_id == into, LearnerRow.style_override.is_(None))
        .values(style_override=style)
    )
