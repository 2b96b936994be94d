"""Corrections of single events: they are voided, or get new values; see `superseding`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from sqlalchemy import Connection, Engine

from sensei.corrections.merged_ids import MergedIds, merged_ids
from sensei.corrections.superseding import (
    CORRECT,
    UNDO,
    VOID,
    CurrentVersion,
    current_version,
    has_clash,
    insert_superseding,
    invalidate,
    lock_learners,
    supersede,
)
from sensei.errors import InvalidInput
from sensei.events import append
from sensei.events.append import EventRow
from sensei.privacy import audit_log, tombstones
from sensei.storage import database
from sensei.storage.tables import to_datetime

CHANGEABLE = (
    "interaction_type",
    "topic_id",
    "score",
    "duration_seconds",
    "timestamp",
    "metadata",
)
"""Fields that a correction may change."""


@dataclass(frozen=True)
class Correction:
    """Order to void an event, or to give some of its fields new values.

    Attributes:
        user_id: id of the learner.
        event_id: id under which the event was first sent.
        changes: new values by field (`CHANGEABLE`); None voids the event.
        reason: reason in words, for the record.
    """

    user_id: str
    event_id: str
    changes: Mapping[str, object] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class CorrectionResult:
    """Result of one correction.

    Attributes:
        event: content of the event now, under its first id; None if it is void or unknown.
        is_known: False if no such event is stored.
        is_new: True if this call changed something.
    """

    event: EventRow | None
    is_known: bool = True
    is_new: bool = False


def correct(
    engine: Engine,
    orders: Sequence[Correction],
    by: audit_log.Actor | None = None,
    suppression: Path | None = None,
) -> list[CorrectionResult]:
    """Carry out corrections in one transaction; an order that was carried out before does nothing.

    Args:
        engine: engine of the log.
        orders: the corrections, in their order.
        by: the actor, for the audit log.
        suppression: see `tombstones.ensure_key`.

    Returns:
        The result of each order.

    Raises:
        InvalidInput: a new value breaks a rule, or an id stands for two events since learners
            were merged; nothing was written.
        LearnerErased: a learner was erased; nothing was written.
        StorageUnavailable: nothing was written.
    """
    now, actor = datetime.now(UTC), by or audit_log.process_owner()
    with database.write_transaction(engine) as connection:
        merged = lock_learners(connection, {order.user_id for order in orders})
        results = [_carry_out(connection, order, merged, actor, now) for order in orders]
        changed = {
            order.user_id: order
            for order, result in zip(orders, results, strict=True)
            if result.is_new
        }
        invalidate(connection, changed)
        key = tombstones.ensure_key(connection, suppression) if changed else ""
        for order, result in zip(orders, results, strict=True):
            if result.is_new:
                subject = tombstones.digest(key, merged.present(order.user_id))
                action = audit_log.VOIDED if order.changes is None else audit_log.CORRECTED
                audit_log.record(connection, action, actor, subject=subject)
    return results


def _carry_out(
    connection: Connection,
    order: Correction,
    merged: MergedIds,
    actor: audit_log.Actor,
    now: datetime,
) -> CorrectionResult:
    present = merged.present(order.user_id)
    if present != order.user_id and has_clash(connection, merged, present, order.event_id):
        raise InvalidInput(
            f"event_id: expected an id of one event, got {order.event_id!r}, which was another "
            "event of the learner they were merged into; send the correction under the present "
            "user_id, with the event_id that an export shows"
        )
    current = current_version(connection, present, order.event_id)
    if current is None:
        return CorrectionResult(None, is_known=False)
    stored, removed_by = current
    if order.changes is None:
        if removed_by != VOID:  # an undone import may be imported again, so it is not enough
            supersede(connection, stored, None, VOID, order.reason, actor, now)
        return CorrectionResult(None, is_new=removed_by != VOID)
    wanted = _changed(stored.row, order.changes, now)
    is_new = removed_by is not None or wanted != stored.row
    if is_new:
        key = insert_superseding(connection, stored, wanted, now)
        supersede(connection, stored, key, CORRECT, order.reason, actor, now)
    return CorrectionResult(wanted._replace(event_id=order.event_id), is_new=is_new)


def _changed(row: EventRow, changes: Mapping[str, object], now: datetime) -> EventRow:
    """Return a row with new values, under the id of the learner as it is stored.

    Raises:
        InvalidInput: a value breaks its rule, or no field that may change is named.
    """
    unknown = sorted(changes.keys() - {*CHANGEABLE})
    if unknown or not changes:
        raise InvalidInput(
            f"{unknown[0] if unknown else 'correction'}: expected one of {', '.join(CHANGEABLE)}, "
            "got another field or none; send new values of these"
        )
    stored: dict[str, object] = {
        "interaction_type": row.interaction_type,
        "topic_id": row.topic_id,
        "score": row.score,
        "duration_seconds": row.duration_seconds,
        "timestamp": to_datetime(row.timestamp),
        "metadata": None if row.metadata is None else orjson.loads(row.metadata),
    }
    # Older releases stored ids that the rule refuses or changes, so a valid id is checked.
    event = {"user_id": "learner", "event_id": row.event_id, **stored, **changes}
    (pending,) = append.entries([append.parse(event)], now)
    return pending.row._replace(user_id=row.user_id)


def settle_superseded(
    connection: Connection, rows: Iterable[EventRow], import_id: int | None, now: datetime
) -> tuple[list[EventRow], list[EventRow]]:
    """Compare events that are sent again with what counts instead of the first version.

    Events whose import was undone are brought back, as they are sent.

    Args:
        connection: connection in a writing transaction.
        rows: checked rows whose stored rows are superseded.
        import_id: the new import, if any.
        now: time of receipt.

    Returns:
        The rows that were brought back, and those that are the content that counts already.
    """
    actor, restored, unchanged = audit_log.process_owner(), [], []
    for row in rows:
        current = current_version(connection, row.user_id, row.event_id)
        if (
            current is not None
            and current.removed_by == UNDO
            and not has_clash(
                connection, merged_ids(connection, [row.user_id]), row.user_id, row.event_id
            )
        ):
            stored = current.stored._replace(import_id=import_id)
            key = insert_superseding(connection, stored, row, now)
            supersede(connection, stored, key, CORRECT, "sent again", actor, now)
            restored.append(row)
        elif _counts(current, row):
            unchanged.append(row)
    invalidate(connection, {row.user_id for row in restored})
    return restored, unchanged


def _counts(current: CurrentVersion | None, row: EventRow) -> bool:
    return (
        current is not None
        and current.removed_by is None
        and current.stored.row == row._replace(event_id=current.stored.row.event_id)
    )
