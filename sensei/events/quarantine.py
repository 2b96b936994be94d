"""The quarantine: refused rows, and interactions excluded from the valid ones."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, select

from sensei.events import rules
from sensei.storage.sql import insert_or_ignore
from sensei.storage.tables import Quarantined, UserInteraction

if TYPE_CHECKING:
    from sensei.events.rules_arrow import BadRow

_CHUNK = 5_000  # rows per statement: databases limit its parameters


def store(connection: Connection, rows: "Sequence[BadRow]", source: str, now: datetime) -> int:
    """Store refused rows; a row that is stored already for the same reason is not stored again.

    Returns:
        Number of new rows.
    """
    return _insert(
        connection,
        [
            _entry(bad.row, bad.reason, bad.expectation, source, now, interaction_id=None)
            for bad in rows
        ],
    )


def take_out(
    connection: Connection, reasons: Mapping[int, str], expectation: str, source: str
) -> tuple[list[str], int]:
    """Exclude interactions from the valid ones.

    Returns:
        The learners whose interactions are named, and the number of new entries.
    """
    now = datetime.now(UTC)
    ids, entries = list(reasons), []
    for start in range(0, len(ids), _CHUNK):
        query = select(UserInteraction.__table__).where(
            UserInteraction.__table__.c.id.in_(ids[start : start + _CHUNK])
        )
        for stored in connection.execute(query).mappings():
            key = stored["id"]
            row = {name: value for name, value in stored.items() if name != "received_at"}
            entries.append(_entry(row, reasons[key], expectation, source, now, key))
    count = _insert(connection, entries)
    return sorted({entry["user_id"] for entry in entries}), count


def _entry(
    row: Mapping[str, Any],
    reason: str,
    expectation: str,
    source: str,
    now: datetime,
    interaction_id: int | None,
) -> dict[str, Any]:
    text = orjson.dumps(
        rules.cut_off(dict(row)), default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )
    key = b"\0".join([str(interaction_id).encode(), reason.encode(), text])
    return {
        "digest": hashlib.sha256(key).hexdigest(),
        "interaction_id": interaction_id,
        "user_id": _text(row.get("user_id")),
        "event_id": _text(row.get("event_id")),
        "source": source,
        "reason": reason,
        "expectation": expectation,
        "row": orjson.loads(text),
        "created_at": now,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)[: rules.MAX_TEXT].replace("\0", "")


def _insert(connection: Connection, entries: list[dict[str, Any]]) -> int:
    """Insert entries that are not stored yet; return their number."""
    count = 0
    for start in range(0, len(entries), _CHUNK):
        chunk = {entry["digest"]: entry for entry in entries[start : start + _CHUNK]}
        stored = select(Quarantined.digest).where(Quarantined.digest.in_(chunk))
        new = chunk.keys() - set(connection.execute(stored).scalars())
        if new:
            insert_or_ignore(connection, Quarantined, [chunk[digest] for digest in new])
        count += len(new)
    return count
