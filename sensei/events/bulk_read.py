"""Bulk reads of the log: SQL rows become an Arrow table."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
from sqlalchemy import Engine

from sensei.event_fields import FIELDS, FieldType
from sensei.events.rules_arrow import ARROW_TYPES
from sensei.storage import database

LARGE = 50_000
"""Number of rows from which on a separate reader process is faster on SQLite.

Starting the process takes a fifth of a second.
"""

_STORED = ARROW_TYPES | {FieldType.TIME: pa.int64()}

TYPES = {field.name: _STORED[field.type] for field in FIELDS} | {"arrival": pa.int64()}
"""Readable columns of the log and their types; times are in microseconds since 1970."""

_ARRIVAL = "arrival"
_CHUNK = 50_000

# connectorx has its own SQLite library. Two of them on one file in one process release each other's
# locks and lose writes (sqlite.org/howtocorrupt.html, 2.2.1), so it runs in a separate process.
# There, Arrow works without NumPy, whose import would take longer than reading 100,000 rows.
_READER = """
import sys
sys.modules["numpy"] = None
import connectorx, pyarrow.ipc as ipc
rows = connectorx.read_sql(sys.argv[1], sys.argv[2], return_type="arrow_stream")
with ipc.new_file(sys.argv[3], rows.schema) as file:
    for batch in rows:
        file.write_batch(batch)
"""


def read(engine: Engine, columns: Sequence[str], where: str, large: int = LARGE) -> pa.Table:
    """Read columns of the valid interactions.

    Args:
        engine: engine of the database.
        columns: names from `TYPES`.
        where: conditions in SQL that contain numbers only; empty for all rows.
        large: number of rows of the log from which on a separate process reads SQLite.

    Returns:
        The rows in order of arrival, typed as `TYPES`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    unknown = set(columns) - set(TYPES)
    if unknown:
        raise ValueError(
            f"columns: expected columns of the log, got {sorted(unknown)}; name others"
        )
    names = list(dict.fromkeys([*columns, _ARRIVAL]))
    query = f"SELECT {', '.join(names)} FROM valid_interactions"  # noqa: S608 - names from TYPES
    if where:
        query += f" WHERE {where}"
    if not database.is_sqlite(engine.url):
        table = _connectorx(engine, query)
    elif _greatest_id(engine) < large:
        table = fetch(engine, query, pa.schema({name: TYPES[name] for name in names}))
    else:
        table = _reader(engine, query)
    in_order = _by_arrival(table.cast(pa.schema({name: TYPES[name] for name in names})))
    return in_order.select(list(columns))


def _by_arrival(table: pa.Table) -> pa.Table:
    """Sort the rows by arrival; databases return rows of a large table in no fixed order."""
    arrival = table[_ARRIVAL].to_numpy()
    if (arrival[1:] < arrival[:-1]).any():
        return table.take(pa.array(np.argsort(arrival, kind="stable")))
    return table


def _greatest_id(engine: Engine) -> int:
    with database.read_connection(engine) as connection:
        key = connection.exec_driver_sql("SELECT MAX(id) FROM user_interactions").scalar()
    return key or 0


def fetch(engine: Engine, query: str, schema: pa.Schema) -> pa.Table:
    """Return the rows of a query without parameters, read with the database driver's cursor.

    Args:
        engine: engine of the database.
        query: SQL that both databases accept.
        schema: names and types of its columns, in their order.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    batches = []
    with database.read_connection(engine) as connection:
        cursor = connection.connection.cursor()
        cursor.execute(query)
        while rows := cursor.fetchmany(_CHUNK):
            batches.append(
                pa.record_batch(
                    [
                        pa.array(values, kind)
                        for values, kind in zip(zip(*rows, strict=True), schema.types, strict=True)
                    ],
                    schema=schema,
                )
            )
    return pa.Table.from_batches(batches, schema)


def _connectorx(engine: Engine, query: str) -> pa.Table:
    import connectorx

    try:
        return connectorx.read_sql(database.arrow_url(engine.url), query, return_type="arrow")
    except RuntimeError as error:
        raise database.unavailable(engine.url, error) from error


def _reader(engine: Engine, query: str) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.arrow"
        ended = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, "-c", _READER, database.arrow_url(engine.url), query, str(file)],
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            last_line = ended.stderr.strip().splitlines()[-1:]
            raise database.unavailable(engine.url, RuntimeError(*last_line))
        return ipc.open_file(pa.memory_map(str(file))).read_all()  # mapped pages outlive the file
