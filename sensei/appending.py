"""Appending to the log inside a transaction: insert, recognise repeats, raise revisions."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, select, text, tuple_

from sensei.checking import CANONICAL, BadRow
from sensei.tables import UserInteraction, to_microseconds

PAYLOAD = ("interaction_type", "topic_id", "score", "duration_seconds", "timestamp", "metadata")
"""What must be the same where an event id comes a second time."""

_STORED = ", ".join((*CANONICAL.names, "received_at"))
_CHUNK = 20_000  # rows that are Python objects at a time: bounds the memory of an insert
_KEYS = 5_000  # keys looked up at a time: databases bound the parameters of a statement
_COPY_FROM = 1_000  # PostgreSQL: from so many rows on, COPY is faster than inserts


def append(connection: Connection, table: pa.Table, now: datetime) -> tuple[int, list[BadRow]]:
    """Insert the rows that are not there yet and raise the revision of their learners.

    Args:
        connection: in a writing transaction.
        table: rows as `checking.CANONICAL`.
        now: time of receipt.

    Returns:
        How many rows were inserted, and those whose event id is there with another payload.
    """
    if not table.num_rows:
        return 0, []
    # Rows of a learner side by side: their index entries fall on the same pages.
    table = table.sort_by([("user_id", "ascending"), ("timestamp", "ascending")])
    if connection.dialect.name == "postgresql" and table.num_rows >= _COPY_FROM:
        inserted = _copy(connection, table, now)
    else:
        inserted = _insert(connection, table, now)
    if inserted:
        raise_revisions(connection, table["user_id"].unique().to_pylist())
    conflicts = _conflicts(connection, table) if inserted < table.num_rows else []
    return inserted, conflicts


def raise_revisions(connection: Connection, user_ids: Sequence[str]) -> None:
    """Count one more write for each learner; makes those never seen."""
    if user_ids:
        # Sorted, so that two writers of the same learners cannot wait for each other.
        connection.execute(
            text(
                "INSERT INTO learners (user_id, revision) VALUES (:user_id, 1) ON CONFLICT "
                "(user_id) DO UPDATE SET revision = learners.revision + 1"
            ),
            [{"user_id": user_id} for user_id in sorted(user_ids)],
        )


def _insert(connection: Connection, table: pa.Table, now: datetime) -> int:
    sign = "?" if connection.dialect.name == "sqlite" else "%s"
    values = ", ".join([sign] * len(CANONICAL))
    cursor = connection.connection.cursor()
    _begin(connection)
    inserted = 0
    for columns in _chunks(table):
        cursor.executemany(  # the columns' names are ours, the values are bound
            f"INSERT INTO user_interactions ({_STORED}) VALUES ({values}, {to_microseconds(now)}) "  # noqa: S608
            "ON CONFLICT (user_id, event_id) DO NOTHING",
            list(zip(*columns, strict=True)),
        )
        inserted += cursor.rowcount
    return inserted


def _copy(connection: Connection, table: pa.Table, now: datetime) -> int:
    cursor: Any = connection.connection.cursor()
    names = ", ".join(CANONICAL.names)
    cursor.execute(
        "CREATE TEMP TABLE incoming ON COMMIT DROP AS "  # noqa: S608
        f"SELECT {names} FROM user_interactions LIMIT 0"
    )
    with cursor.copy(f"COPY incoming ({names}) FROM STDIN") as copy:
        for columns in _chunks(table):
            for row in zip(*columns, strict=True):
                copy.write_row(row)
    cursor.execute(
        f"INSERT INTO user_interactions ({_STORED}) SELECT {names}, {to_microseconds(now)} "  # noqa: S608
        "FROM incoming ON CONFLICT (user_id, event_id) DO NOTHING"
    )
    inserted = int(cursor.rowcount)
    cursor.execute("DROP TABLE incoming")  # a transaction may append more than once
    return inserted


def _begin(connection: Connection) -> None:
    """Begin now: a raw cursor does not tell SQLAlchemy that work has started."""
    if not connection.in_transaction():
        connection.begin()


def _chunks(table: pa.Table) -> Iterator[list[list[Any]]]:
    """The columns as Python lists, some rows at a time, times in microseconds."""
    times = table["timestamp"].cast(pa.int64())
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", times)
    for start in range(0, table.num_rows, _CHUNK):
        yield [column.to_pylist() for column in table.slice(start, _CHUNK).columns]


def _conflicts(connection: Connection, table: pa.Table) -> list[BadRow]:
    """The rows whose event id is stored with another payload."""
    conflicts = []
    for start in range(0, table.num_rows, _KEYS):
        rows = table.slice(start, _KEYS).to_pylist()
        stored = _stored(connection, [(row["user_id"], row["event_id"]) for row in rows])
        for row in rows:
            there = stored[row["user_id"], row["event_id"]]
            different = [name for name in PAYLOAD if row[name] != there[name]]
            if different:
                conflicts.append(BadRow(row, _conflict(row["event_id"], different[0])))
    return conflicts


def _stored(
    connection: Connection, keys: list[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    event = UserInteraction.__table__.c
    columns = [event[name] for name in ("user_id", "event_id", *PAYLOAD)]
    query = select(*columns).where(tuple_(event.user_id, event.event_id).in_(keys))
    found = connection.execute(query).mappings()
    return {(row["user_id"], row["event_id"]): dict(row) for row in found}


def _conflict(event_id: str, field: str) -> str:
    return (
        f"event_id: expected the payload first sent as {event_id}, got another {field}; "
        "give a new event its own id"
    )
