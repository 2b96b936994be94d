"""Backups of the log's database, taken while it is in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, func, inspect, select, text

from sensei.storage import database, postgres_tools
from sensei.storage.sqlite_copy import copy_sqlite, publish, read_only, unfinished_copy
from sensei.storage.tables import ApiKey, Base

SQLITE, POSTGRESQL = b"SQLite format 3\0", b"PGDMP"
"""First bytes of a backup of SQLite and of PostgreSQL."""

VIEWS = ("valid_interactions",)
TABLES = tuple(table.name for table in Base.metadata.sorted_tables)


@dataclass(frozen=True)
class Content:
    """Content of a database.

    Attributes:
        rows: number of rows by table.
        keys: ids of the valid keys.
    """

    rows: Mapping[str, int]
    keys: frozenset[str]

    @classmethod
    def of(cls, connection: Connection) -> "Content":
        """Count rows and keys of a database; tables absent in an older schema are left out."""
        if connection.dialect.name == "postgresql":  # counting and dumping may take long
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute(text(f"SET LOCAL {limit} = 0"))
        present = set(inspect(connection).get_table_names())
        rows = {
            table.name: int(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
            )
            for table in Base.metadata.sorted_tables
            if table.name in present
        }
        valid = select(ApiKey.key_id).where(ApiKey.revoked_at.is_(None))
        keys = connection.execute(valid).scalars() if ApiKey.__tablename__ in present else ()
        return cls(rows, frozenset(keys))


@dataclass(frozen=True)
class Backup:
    """Backup that was written and verified."""

    file: Path
    size: int
    content: Content


def back_up(url: str, file: Path) -> Backup:
    """Write a backup; others can read and write meanwhile.

    Args:
        url: URL of the database.
        file: path of the backup, which must not exist yet; afterwards it is complete and verified,
            or absent.

    Raises:
        InvalidInput: the file exists, or there is no database.
        StorageUnavailable: the backup could not be made.
    """
    engine = database.connect(url)
    try:
        database.check_file(engine)
        with database.storage_errors(engine):
            content = (_sqlite if database.is_sqlite(engine.url) else _postgres)(engine, file)
    finally:
        engine.dispose()
    return Backup(file, file.stat().st_size, content)


def _sqlite(engine: Engine, file: Path) -> Content:
    copy_sqlite(Path(str(engine.url.database)), file)
    backup = connect_read_only(file)
    try:
        with backup.connect() as connection:
            return Content.of(connection)
    finally:
        backup.dispose()


def connect_read_only(file: Path) -> Engine:
    """Return a read-only engine for an SQLite backup."""
    return create_engine("sqlite://", creator=lambda: read_only(file), poolclass=NullPool)


def _postgres(engine: Engine, file: Path) -> Content:
    with unfinished_copy(file) as part:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            snapshot = str(connection.execute(text("SELECT pg_export_snapshot()")).scalar())
            content = Content.of(connection)
            present = [*content.rows, "alembic_version", *VIEWS]
            postgres_tools.dump(engine, present, snapshot, part)
        postgres_tools.verify_dump(part)
        publish(part, file)
    return content
