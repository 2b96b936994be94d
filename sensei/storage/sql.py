"""SQL that SQLite and PostgreSQL both accept."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite

from sensei.storage.tables import Base


def signs(through: Connection | Engine, count: int) -> str:
    """Return `count` placeholders for values in a statement of the driver."""
    return ", ".join(["?" if through.dialect.name == "sqlite" else "%s"] * count)


def insert_or_ignore_sql(
    table: str, columns: Sequence[str], source: str, unique: Sequence[str]
) -> str:
    """Return a statement of the driver that inserts the rows that are not stored yet.

    Args:
        table: name of the table.
        columns: names of the columns to fill.
        source: `VALUES (...)` or a query, with these columns in this order.
        unique: columns that identify a row; a stored row with equal ones stays unchanged.
    """
    names, identity = ", ".join(columns), ", ".join(unique)
    return f"INSERT INTO {table} ({names}) {source} ON CONFLICT ({identity}) DO NOTHING"


def insert_or_ignore(
    connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert the rows that are not stored yet; values are converted as the table declares.

    Args:
        connection: connection in a writing transaction.
        table: class of the table.
        rows: values by column; a row that breaks a unique key of the table is ignored.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), [dict(row) for row in rows])
