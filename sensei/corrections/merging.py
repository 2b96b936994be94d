"""Merging of two learners who are one person; see `superseding`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, select, update

from sensei.corrections.merged_ids import MergedIds
from sensei.corrections.superseding import (
    CORRECT,
    MERGE,
    STORED_COLUMNS,
    UNDO,
    StoredRow,
    current_version,
    insert_row,
    insert_superseding,
    invalidate,
    lock_learners,
    stored_of_columns,
    supersede,
)
from sensei.errors import InvalidInput
from sensei.events import event_ids, quarantine, rules
from sensei.privacy import audit_log, tombstones
from sensei.storage import database
from sensei.storage.sql import signs
from sensei.storage.tables import CorrectionRow, LearnerRow, MergedLearner, Quarantined

_CHUNK = 5_000  # rows per statement: databases limit its parameters


class MergeResult(NamedTuple):
    """Number of rows that moved, and of events whose id stood for another event of the learner.

    Such an event counts under a new id; a correction of it under the former id is refused.
    """

    moved: int
    clashes: int = 0


def merge_learners(
    engine: Engine,
    former: str,
    into: str,
    by: audit_log.Actor | None = None,
    suppression: Path | None = None,
) -> MergeResult:
    """Make two learners one: all events of `former`, later ones too, count for `into`.

    The events are appended again under `into` with their ids, their corrections and their place
    in quarantine; the old rows are superseded.

    Returns:
        The numbers of rows; 0 if the two were merged before.

    Raises:
        InvalidInput: the two are the same learner, one is not in the log, or `into` has not the
            normal form of ids. A normal form of `former` need not be in the log.
        LearnerErased: one of them was erased.
        StorageUnavailable: nothing was written.
    """
    now, actor = datetime.now(UTC), by or audit_log.process_owner()
    with database.write_transaction(engine) as connection:
        tombstones.exclude_writers(connection)
        merged = lock_learners(connection, {former, into})
        if merged.into.get(former) == merged.present(into) != former:
            return MergeResult(0)
        _refuse_unmergeable(connection, former, into, merged)
        into = merged.present(into)
        result = _move_rows(connection, former, into, actor, now)
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
        audit_log.record(connection, audit_log.MERGED, actor, subject=subject, rows=result.moved)
    return result


def _refuse_unmergeable(connection: Connection, former: str, into: str, merged: MergedIds) -> None:
    if former in merged.into:
        raise InvalidInput(
            f"learner: expected one who was not merged, got {former!r}, who was merged into "
            f"{merged.into[former]!r}; name that one"
        )
    if merged.present(into) == former:
        raise InvalidInput(f"learner: expected two learners, got {former!r} twice; name another")
    into = merged.present(into)
    if into != rules.appearance(into):
        raise InvalidInput(
            f"learner: expected an id in normal form to remain, got {into!a}; name "
            f"{rules.appearance(into)!a} as the one that remains"
        )
    for name in (former, into):
        query = select(LearnerRow.user_id).where(LearnerRow.user_id == name)
        is_new_spelling = name != former and name == rules.appearance(former)
        if not is_new_spelling and connection.execute(query).scalar() is None:
            raise InvalidInput(
                f"learner: expected one of the log, got {name!r}; check the spelling"
            )


def _move_rows(
    connection: Connection, former: str, into: str, actor: audit_log.Actor, now: datetime
) -> MergeResult:
    rows = _rows_of(connection, former)
    stored = {row.row.event_id: row for row in _rows_of(connection, into)}
    first_of = _first_versions(connection, former, rows)
    twins = {
        row.id: stored[row.row.event_id]
        for row in rows
        if first_of[row.id] == row.id
        and row.row.event_id in stored
        and _is_same(connection, row, stored[row.row.event_id])
    }
    key_of: dict[int, int] = {}
    copied: set[int] = set()
    clashes = 0
    for row in rows:
        if first_of[row.id] in twins:
            key_of[row.id] = twins[first_of[row.id]].id
            continue
        moved = row.row._replace(user_id=into)
        if moved.event_id in stored:  # two events of two accounts under one id
            moved = moved._replace(event_id=event_ids.superseding_id(moved.event_id, former))
            clashes += first_of[row.id] == row.id
        arrival = row.id if row.arrival is None else row.arrival
        key_of[row.id] = insert_row(connection, moved, row.import_id, arrival, now)
        copied.add(row.id)
    _copy_corrections(connection, former, into, key_of, copied)
    for twin in twins.values():
        superseding = _settle_twin(connection, former, twin, actor, now)
        key_of.update(superseding)
        copied.update(superseding)
    _copy_quarantine(connection, key_of, copied)
    for row in rows:
        supersede(connection, row, key_of[row.id], MERGE, None, actor, now)
    return MergeResult(len(rows), clashes)


def _first_versions(
    connection: Connection, user_id: str, rows: Sequence[StoredRow]
) -> dict[int, int]:
    """Map the key of each row of a learner to the key of its event's first version."""
    query = select(CorrectionRow.replaced_by, CorrectionRow.interaction_id).where(
        CorrectionRow.user_id == user_id, CorrectionRow.replaced_by.is_not(None)
    )
    superseded_by = dict(connection.execute(query).tuples().all())
    first_of: dict[int, int] = {}
    for row in rows:  # by key, so a superseded row is before the one that supersedes it
        first_of[row.id] = first_of.get(superseded_by.get(row.id, row.id), row.id)
    return first_of


def _is_same(connection: Connection, row: StoredRow, other: StoredRow) -> bool:
    """Tell if two first versions under one event id are equal, or what counts for them is."""
    if _content(row) == _content(other):
        return True
    versions = [
        current_version(connection, first.row.user_id, first.row.event_id) for first in (row, other)
    ]
    contents = [
        _content(version.stored)
        for version in versions
        if version is not None and version.removed_by is None
    ]
    return len(contents) == 2 and contents[0] == contents[1]


def _content(stored: StoredRow) -> tuple[object, ...]:
    return stored.row[2:]


def _settle_twin(
    connection: Connection, former: str, twin: StoredRow, actor: audit_log.Actor, now: datetime
) -> dict[int, int]:
    """Let an event of both learners count in one version.

    The corrections of the remaining learner win. Without any, or if only an undone import removed
    the event there, what counts for the former learner counts.

    Returns:
        Key of the former learner's row -> key of the row that was appended for it, if any.
    """
    theirs = current_version(connection, former, twin.row.event_id)
    ours = current_version(connection, twin.row.user_id, twin.row.event_id)
    assert theirs is not None, "the first version is stored"
    assert ours is not None, "the twin is stored"
    is_corrected = ours.stored.id != twin.id or ours.removed_by is not None
    if theirs.removed_by == UNDO or (is_corrected and ours.removed_by != UNDO):
        return {}
    if theirs.removed_by is not None:
        supersede(connection, ours.stored, None, theirs.removed_by, "merged", actor, now)
        return {}
    if ours.removed_by is None and _content(theirs.stored) == _content(ours.stored):
        return {}
    wanted = theirs.stored.row._replace(user_id=twin.row.user_id)
    key = insert_superseding(connection, ours.stored, wanted, now)
    supersede(connection, ours.stored, key, CORRECT, "merged", actor, now)
    return {theirs.stored.id: key}


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
