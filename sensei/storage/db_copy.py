"""Copy of a database to another one, such as from SQLite to PostgreSQL."""

from sqlalchemy import func, insert, select, text

from sensei.errors import InvalidInput
from sensei.storage import database
from sensei.storage.tables import Base

_CHUNK = 5_000


def copy_database(from_url: str, to_url: str) -> dict[str, int]:
    """Copy every table into an empty database, in one transaction; the source is only read.

    Args:
        from_url: URL of the source, at the newest migration.
        to_url: URL of the target; created and migrated if absent.

    Returns:
        Rows copied by table.

    Raises:
        InvalidInput: the target holds rows already.
        StorageUnavailable: one of the two does not answer.
    """
    source = database.connect(from_url)
    database.check(source)
    database.upgrade(to_url)
    target = database.connect(to_url)
    counts = {}
    with (
        database.read_connection(source) as old,
        database.write_transaction(target) as new,
    ):
        for table in Base.metadata.sorted_tables:
            if new.execute(select(func.count()).select_from(table)).scalar():
                raise InvalidInput(
                    f"db copy: expected an empty database, got rows in {table.name}; "
                    "name a new database"
                )
            counts[table.name] = 0
            for chunk in old.execute(select(table)).mappings().partitions(_CHUNK):
                new.execute(insert(table), [dict(row) for row in chunk])
                counts[table.name] += len(chunk)
            if new.dialect.name == "postgresql" and "id" in table.columns:
                new.execute(text(_next_key(table.name)))
    source.dispose()
    target.dispose()
    return counts


def _next_key(table: str) -> str:
    """Return the SQL that sets PostgreSQL's next key after the copied keys."""
    return (
        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), MAX(id)) "  # noqa: S608
        f"FROM {table} HAVING COUNT(*) > 0"
    )
