"""The database behind the log: engine, migrations, and its errors in words."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    PoolProxiedConnection,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from sensei.database_file import DatabaseFile
from sensei.errors import InvalidInput, StorageUnavailable

if sys.platform != "win32":
    import fcntl

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MILLISECONDS = 2000  # a writer waits this long for another one, then the caller is told
_FILE = "database_file"  # the execution option that holds an engine's file
CONNECT_SECONDS = 5  # a server that does not answer is said to be so, not waited for


def connect(url: str, file: DatabaseFile | None = None) -> Engine:
    """An engine for SQLite or PostgreSQL; opens no connection yet.

    Args:
        url: of the database.
        file: what several engines of a process hold to be SQLite's file; by default the engine
            holds to what it opens first, until it is disposed of.

    Raises:
        InvalidInput: the address names neither.
    """
    parsed = _parse(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if not is_sqlite(parsed):
        if "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
        return create_engine(parsed, pool_pre_ping=True)
    held = file or DatabaseFile(str(parsed.database))
    engine = create_engine(parsed, execution_options={_FILE: held})
    event.listen(engine, "do_connect", lambda *_: held.check())
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "connect", lambda *_: held.pin())
    event.listen(engine, "begin", _begin_sqlite)
    if file is None:
        event.listen(engine, "engine_disposed", lambda _: held.close())
    return engine


def database_file(url: str) -> DatabaseFile | None:
    """SQLite's file, for several engines to hold to; None of PostgreSQL."""
    parsed = _parse(url)
    return DatabaseFile(str(parsed.database)) if is_sqlite(parsed) else None


def file_of(engine: Engine) -> DatabaseFile | None:
    """SQLite's file that an engine holds to; None of PostgreSQL."""
    found: DatabaseFile | None = engine.get_execution_options().get(_FILE)
    return found


def _parse(url: str) -> URL:
    """The address in its parts; an error must not show it, for it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        got = "what cannot be read as an address"
    else:
        if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
            return parsed
        if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
            return parsed
        got = f"{parsed.drivername} without a file" if is_sqlite(parsed) else parsed.drivername
    raise InvalidInput(
        f"database: expected postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE, got {got}"
        "; correct SENSEI_DATABASE_URL (or --to)"
    )


def is_sqlite(url: URL) -> bool:
    """Whether the URL names an SQLite file."""
    return url.get_backend_name() == "sqlite"


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by guessing
    for pragma in (
        f"busy_timeout = {BUSY_MILLISECONDS}",
        "page_size = 8192",  # a third more rows a second than 4096; counts for a new file only
        "journal_mode = WAL",
        "synchronous = FULL",  # acknowledged means durable
        "cache_size = -64000",
        "foreign_keys = ON",
        "secure_delete = ON",  # what is erased is overwritten, not only left out
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: upgrading a read lock later can fail without waiting.
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def detached(engine: Engine) -> PoolProxiedConnection:
    """A connection that the pool has given away; each statement is a transaction of its own.

    Raises:
        StorageUnavailable: the database does not answer.
    """
    refuse_moved(engine)
    with storage(engine):
        connection = engine.raw_connection()
        connection.detach()
        if not is_sqlite(engine.url):
            connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
    return connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that writes nothing.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    refuse_moved(engine)
    with storage(engine), engine.connect() as connection:
        yield connection


def refuse_moved(engine: Engine) -> None:
    """Hold that SQLite's file was in its place when it was last looked at.

    Raises:
        StorageUnavailable: it was not.
    """
    if file := file_of(engine):
        file.refuse()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is committed at the end, or rolled back on any error.

    Raises:
        StorageUnavailable: the database cannot be written; or SQLite's file was moved meanwhile,
            and what was written is not in the one at its path.
    """
    file = file_of(engine)
    if file:
        file.check()
    with (
        storage(engine),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        yield connection
    if file:
        file.check()


@contextmanager
def storage(engine: Engine) -> Iterator[None]:
    """Say a database's own errors in one sentence with the next step."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error, OSError) as error:
        if file := file_of(engine):
            file.note(error)
        raise unavailable(engine.url, error) from error


@contextmanager
def turn(engine: Engine) -> Iterator[None]:
    """Wait in line for SQLite's lock, among processes that write little and often.

    SQLite itself lets writers look again after pauses of up to 100 ms: one that comes back at once
    passes all who sleep. Here the system wakes who waits; a process that dies leaves the line.

    Raises:
        StorageUnavailable: the folder of the database cannot be written.
    """
    if sys.platform == "win32" or not is_sqlite(engine.url):
        yield
        return
    with storage(engine), Path(f"{engine.url.database}-turn").open("a") as line:
        fcntl.flock(line, fcntl.LOCK_EX)
        yield


def unavailable(url: URL, error: BaseException) -> StorageUnavailable:
    """The error to raise for a database error."""
    said = str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__]
    writable = "make the file and its folder writable, or choose another SENSEI_HOME"
    steps = {
        "full": "free some space, then repeat",
        "No space": "free some space, then repeat",
        "readonly": writable,
        "Read-only": writable,
        "ermission denied": writable,
        "unable to open": "make its folder writable, or choose another SENSEI_HOME",
        "locked": "another process is writing: repeat in a moment",
        "no such table": "run `sensei db upgrade`",
        "does not exist": "run `sensei db upgrade`",
        "already exists": "its tables were not made by `sensei db upgrade`: name another database",
        "not a database": "it is no SQLite file: move it away or choose another SENSEI_HOME",
        "malformed": "the file is damaged: put a copy in its place, or move it away",
    }
    otherwise = f"check {'SENSEI_HOME' if is_sqlite(url) else 'SENSEI_DATABASE_URL'}"
    step = next((step for word, step in steps.items() if word in said[0]), otherwise)
    return StorageUnavailable(
        f"database: expected {url.render_as_string()} to answer, got {said[0]!r}; {step}"
    )


def arrow_url(url: URL) -> str:
    """The URL as connectorx spells it; a socket folder stands where the host would."""
    if is_sqlite(url):
        return "sqlite://" + quote(str(Path(url.database or "").resolve()))
    folder = url.query.get("host")
    who = quote(url.username or "", safe="")
    if url.password:
        who += ":" + quote(str(url.password), safe="")
    host = quote(str(folder), safe="") if folder else str(url.host or "localhost")
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{who}@{host}{port}/{quote(url.database or '', safe='')}"


def upgrade(url: str) -> None:
    """Bring the database to the newest migration; makes it, and its folder, where absent.

    Raises:
        StorageUnavailable: it cannot be made or written, or is newer than this software.
    """
    engine = connect(url)
    with storage(engine):
        if is_sqlite(engine.url) and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    config = _config()
    try:
        with writing(engine) as connection:
            _refuse_newer(MigrationContext.configure(connection).get_current_revision())
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def check(engine: Engine) -> None:
    """Hold that the database is at the newest migration.

    Raises:
        StorageUnavailable: it is absent, older, or newer than this software.
    """
    refuse_moved(engine)
    database = engine.url.database
    if is_sqlite(engine.url) and database and not Path(database).exists():
        raise StorageUnavailable(
            f"database: expected a file at {database}, got none; run `sensei db upgrade`"
        )
    with reading(engine) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    _refuse_newer(current)
    if current != (newest := _migrations()[0]):
        raise StorageUnavailable(
            f"database: expected migration {newest}, got {current or 'none'}; "
            "run `sensei db upgrade`"
        )


def _refuse_newer(current: str | None) -> None:
    """Refuse a migration that this software does not have."""
    known = _migrations()
    if current is not None and current not in known:
        raise StorageUnavailable(
            f"database: expected a migration up to {known[0]}, got {current}; "
            "use the newer software that wrote it, or choose another SENSEI_HOME"
        )


@cache
def _migrations() -> list[str]:
    """All that this software has, the newest first."""
    return [each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
