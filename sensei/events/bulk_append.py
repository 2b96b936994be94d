"""Bulk append inside a transaction: insert rows, detect repeats, raise revisions."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection

from sensei.event_fields import CHECKED, EVENT_KEY, PAYLOAD, RECEIVED_AT
from sensei.events.append import EventRow
from sensei.events.corrections import settle_superseded
from sensei.events.merged_ids import MergedIds, merged_ids
from sensei.events.rules_arrow import CANONICAL, BadRow
from sensei.storage.revisions import conflict, raise_revisions
from sensei.storage.sql import insert_or_ignore_sql, signs
from sensei.storage.tables import UserInteraction, to_microseconds

_NAMES = ", ".join(CANONICAL.names)
_REPEATED = frozenset(field.name for field in CHECKED if field.is_repeated)
_CHUNK = 20_000  # rows held as Python objects at a time: limits the memory of an insert
_COPY_FROM = 1_000  # PostgreSQL: from this number of rows on, COPY is faster than inserts


def append(
    connection: Connection, table: pa.Table, now: datetime, import_id: int | None = None
) -> tuple[int, list[BadRow]]:
    """Insert the rows that are not stored yet and raise the revision of their learners.

    Rows whose import was undone are brought back.

    Args:
        connection: connection in a writing transaction.
        table: rows as `rules_arrow.CANONICAL`.
        now: time of receipt.
        import_id: the import that the rows belong to, if any.

    Returns:
        Number of inserted rows, with those brought back, and the rows whose event id is stored
        with another payload.
    """
    if not table.num_rows:
        return 0, []
    merged = merged_ids(connection, table["user_id"].unique().to_pylist())
    table = _by_learner(_under_present_ids(table, merged))
    staged = connection.dialect.name == "postgresql" and table.num_rows >= _COPY_FROM
    if staged:
        _stage(connection, table)
        inserted = _insert_staged(connection, now, import_id)
    else:
        inserted = _insert(connection, table, now, import_id)
    if inserted:
        raise_revisions(connection, merged.all_of(table["user_id"].unique().to_pylist()))
    conflicts: list[BadRow] = []
    if inserted < table.num_rows:
        if not staged:
            _stage(connection, table)
        rows = _superseded(connection, table)
        restored, unchanged = settle_superseded(connection, rows, import_id, now)
        inserted += len(restored)
        conflicts = _conflicts(connection, table, {row[:2] for row in (*restored, *unchanged)})
    connection.exec_driver_sql("DROP TABLE IF EXISTS incoming")
    return inserted, conflicts


def _by_learner(table: pa.Table) -> pa.Table:
    """Group the rows by learner: their index entries then fall on the same pages."""
    learner = table["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    times = table["timestamp"].cast(pa.int64()).to_numpy()
    return table.take(pa.array(np.lexsort((times, learner))))


def _under_present_ids(table: pa.Table, merged: MergedIds) -> pa.Table:
    """Give the rows of merged learners their present ids."""
    if not merged.into:
        return table
    names = pa.array([merged.present(name) for name in table["user_id"].to_pylist()], pa.string())
    return table.set_column(table.column_names.index("user_id"), "user_id", names)


def _insert(connection: Connection, table: pa.Table, now: datetime, import_id: int | None) -> int:
    values = f"VALUES ({signs(connection, len(CANONICAL))}, {_received(now, import_id)})"
    return _execute_many(connection, _insert_new(values), table)


def _received(now: datetime, import_id: int | None) -> str:
    """Return the values of the columns `received_at` and `import_id` in SQL."""
    return f"{to_microseconds(now)}, {'NULL' if import_id is None else int(import_id)}"


def _stage(connection: Connection, table: pa.Table) -> None:
    """Put the rows into the temporary table `incoming`, each with its position."""
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE incoming AS SELECT id AS position, {_NAMES} "  # noqa: S608
        "FROM user_interactions LIMIT 0"
    )
    table = table.add_column(0, "position", pa.array(np.arange(table.num_rows)))
    if connection.dialect.name == "postgresql":
        with connection.connection.cursor().copy("COPY incoming FROM STDIN") as copy:
            for columns in _chunks(table):
                for row in zip(*columns, strict=True):
                    copy.write_row(row)
    else:
        values = signs(connection, len(table.column_names))
        _execute_many(connection, f"INSERT INTO incoming VALUES ({values})", table)  # noqa: S608


def _insert_staged(connection: Connection, now: datetime, import_id: int | None) -> int:
    received = _received(now, import_id)
    query = f"SELECT {_NAMES}, {received} FROM incoming ORDER BY position"  # noqa: S608
    return connection.exec_driver_sql(_insert_new(query)).rowcount


def _insert_new(source: str) -> str:
    columns = [*CANONICAL.names, RECEIVED_AT.name, "import_id"]
    return insert_or_ignore_sql(UserInteraction.__tablename__, columns, source, EVENT_KEY)


def _superseded(connection: Connection, table: pa.Table) -> list[EventRow]:
    """Return the staged rows whose stored row was superseded."""
    positions = connection.exec_driver_sql(
        "SELECT new.position FROM incoming AS new "
        "JOIN user_interactions AS old "
        "ON old.user_id = new.user_id AND old.event_id = new.event_id WHERE EXISTS "
        "(SELECT 1 FROM corrections WHERE corrections.interaction_id = old.id) "
        "ORDER BY new.position"
    ).scalars()
    rows = table.select(CANONICAL.names).take(pa.array(list(positions), pa.int64())).to_pylist()
    return [EventRow(**row | {"timestamp": to_microseconds(row["timestamp"])}) for row in rows]


def _conflicts(
    connection: Connection, table: pa.Table, settled: Collection[tuple[str, str]]
) -> list[BadRow]:
    """Return the staged rows whose event id is in the log with another payload.

    `settled` are event ids and learners of rows that agree with a correction.
    """
    other = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    differs = " OR ".join(f"new.{name} {other} old.{name}" for name in PAYLOAD)
    positions = connection.exec_driver_sql(
        "SELECT new.position FROM incoming AS new "  # noqa: S608
        "JOIN user_interactions AS old "
        "ON old.user_id = new.user_id AND old.event_id = new.event_id "
        f"WHERE {differs} ORDER BY new.position"
    ).scalars()
    rows = table.take(pa.array(list(positions), pa.int64())).to_pylist()
    return [
        BadRow(row, conflict(row["event_id"]))
        for row in rows
        if (row["event_id"], row["user_id"]) not in settled
    ]


def _execute_many(connection: Connection, statement: str, table: pa.Table) -> int:
    """Bind the table's rows; return the number of changed rows.

    This uses the driver's own cursor, as SQLAlchemy would create a dict per row.
    """
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    changed = 0
    for columns in _chunks(table):
        cursor.executemany(statement, list(zip(*columns, strict=True)))
        changed += cursor.rowcount
    return changed


def _chunks(table: pa.Table) -> Iterator[list[list[Any]]]:
    """Yield the columns as Python lists, `_CHUNK` rows at a time, times in microseconds."""
    times = table["timestamp"].cast(pa.int64())
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", times)
    for start in range(0, table.num_rows, _CHUNK):
        chunk = table.slice(start, _CHUNK)
        yield [_objects(chunk[name], name in _REPEATED) for name in chunk.column_names]


def _objects(column: pa.ChunkedArray, repeated: bool) -> list[Any]:
    """Return a column as Python objects; repeated text shares one object."""
    objects: list[Any]
    if repeated:
        encoded = column.combine_chunks().dictionary_encode("encode")
        texts = encoded.dictionary.to_numpy(zero_copy_only=False)
        objects = texts[encoded.indices.to_numpy()].tolist()
    else:
        objects = column.to_pylist()
    return objects
