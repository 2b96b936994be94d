"""The database behind the log: engine, migrations, and its errors as sentences."""

import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.pq import TransactionStatus
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

from sensei.errors import InvalidInput, SchemaMismatch, StorageUnavailable
from sensei.storage.database_file import DatabaseFile
from sensei.storage.sqlite_copy import copy_name, copy_sqlite, prune_copies

if sys.platform != "win32":
    import fcntl

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MILLISECONDS = 2000  # maximum wait for another writer; then StorageUnavailable is raised
_FILE = "database_file"  # the execution option that holds an engine's file
NETWORK = {
    "connect_timeout": "5",  # seconds
    "keepalives_idle": "5",  # seconds of silence until a keepalive probe is sent
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",  # milliseconds until sent data must be acknowledged
}
"""Default parameters of connections to PostgreSQL; those in the address take precedence."""


class Deadlines(NamedTuple):
    """Longest waits for PostgreSQL, in seconds.

    Attributes:
        lock: maximum wait for a lock that another connection holds.
        statement: maximum duration of a statement; one second more for a silent server.
    """

    lock: float
    statement: float


PATIENT = Deadlines(lock=30, statement=3600)
"""Deadlines of runs and commands."""

STEADY = Deadlines(lock=2, statement=30)
"""Deadlines of background work in the service."""

PROMPT = Deadlines(lock=2, statement=4)
"""Deadlines of database calls that a request waits for.

The request's own deadline is shorter, but the thread may wait until these deadlines.
"""


class Answering(psycopg.Connection[Any]):
    """Connection with its own deadline for a silent server: stopped, or cut off.

    The server's own limits (`statement_timeout`, `lock_timeout`) cannot help in that case. TCP
    limits do not help either, because the server's machine still acknowledges what it receives.
    """

    answer_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer until the deadline, then close the connection.

        Raises:
            psycopg.OperationalError: no answer came in time, or the connection failed.
        """
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # the answer may still come, but nobody waits for it
            raise


def connect(url: str, deadlines: Deadlines = PATIENT, file: DatabaseFile | None = None) -> Engine:
    """Return an engine for SQLite or PostgreSQL; open no connection yet.

    Args:
        url: URL of the database.
        deadlines: deadlines for PostgreSQL; SQLite waits at most `BUSY_MILLISECONDS` for a lock.
        file: SQLite file that several engines of a process share. By default the engine keeps to
            the file that it opens first, until it is disposed of.

    Raises:
        InvalidInput: the address names neither database.
    """
    parsed = _parse(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if not is_sqlite(parsed):
        parsed = parsed.update_query_dict(NETWORK | dict(parsed.query))
        postgres = create_engine(parsed, pool_pre_ping=True)
        event.listen(postgres, "do_connect", _connect_postgres)
        event.listen(postgres, "connect", partial(_prepare_postgres, deadlines))
        return postgres
    opened = file or DatabaseFile(str(parsed.database))
    engine = create_engine(parsed, execution_options={_FILE: opened})
    event.listen(engine, "do_connect", lambda *_: opened.check())
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "connect", lambda *_: opened.pin())
    event.listen(engine, "begin", _begin_sqlite)
    if file is None:
        event.listen(engine, "engine_disposed", lambda _: opened.close())
    return engine


def database_file(url: str) -> DatabaseFile | None:
    """Return SQLite's file for several engines to share; None for PostgreSQL."""
    parsed = _parse(url)
    return DatabaseFile(str(parsed.database)) if is_sqlite(parsed) else None


def file_of(engine: Engine) -> DatabaseFile | None:
    """Return the SQLite file of an engine; None for PostgreSQL."""
    file: DatabaseFile | None = engine.get_execution_options().get(_FILE)
    return file


def _parse(url: str) -> URL:
    """Parse the address; an error must not show it, as it may contain a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        got = "an invalid address"
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
    """Tell if the URL names an SQLite file."""
    return url.get_backend_name() == "sqlite"


def _connect_postgres(
    _dialect: Any, _record: Any, arguments: Sequence[Any], named: dict[str, Any]
) -> Answering:
    return Answering.connect(*arguments, **named)


def _prepare_postgres(deadlines: Deadlines, connection: Answering, _record: Any) -> None:
    # Not in the address (`options`): poolers such as PgBouncer refuse that.
    connection.answer_seconds = deadlines.statement + 1
    autocommit, connection.autocommit = connection.autocommit, True
    connection.execute(
        f"SET lock_timeout = {int(1000 * deadlines.lock)}; "
        f"SET statement_timeout = {int(1000 * deadlines.statement)}"
    )
    connection.autocommit = autocommit


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins transactions explicitly
    for pragma in (
        f"busy_timeout = {BUSY_MILLISECONDS}",
        "page_size = 8192",  # a third more rows per second than 4096; applies to a new file only
        "journal_mode = WAL",
        "synchronous = FULL",  # acknowledged means durable
        "cache_size = -64000",
        "foreign_keys = ON",
        "secure_delete = ON",  # erased content is overwritten, not only unlinked
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer locks at once: upgrading a read lock later can fail without waiting.
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def detached(engine: Engine) -> PoolProxiedConnection:
    """Return a connection detached from the pool; each statement is its own transaction.

    Raises:
        StorageUnavailable: the database does not answer.
    """
    refuse_moved(engine)
    with storage_errors(engine):
        connection = engine.raw_connection()
        connection.detach()
        if not is_sqlite(engine.url):
            connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
    return connection


@contextmanager
def read_connection(engine: Engine) -> Iterator[Connection]:
    """Open a connection in a transaction that writes nothing.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    refuse_moved(engine)
    with storage_errors(engine), engine.connect() as connection:
        yield connection


def refuse_moved(engine: Engine) -> None:
    """Refuse to continue if SQLite's file was not in its place at the last check.

    Raises:
        StorageUnavailable: the file was not in its place.
    """
    if file := file_of(engine):
        file.refuse()


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a connection in a transaction: commit at the end, roll back on any error.

    Raises:
        StorageUnavailable: the database cannot be written; or SQLite's file was moved meanwhile,
            and the file at its path lacks what was written.
    """
    file = file_of(engine)
    if file:
        file.check()
    with (
        storage_errors(engine),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        yield connection
    if file:
        file.check()


@contextmanager
def storage_errors(engine: Engine) -> Iterator[None]:
    """Translate a database's own errors into one sentence with the next step.

    Raises:
        StorageUnavailable: the database failed.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error, OSError) as error:
        if file := file_of(engine):
            file.note(error)
        raise unavailable(engine.url, error) from error


@contextmanager
def write_queue(engine: Engine) -> Iterator[None]:
    """Queue for SQLite's lock, among processes that write little and often.

    SQLite itself lets waiting writers try again after pauses of up to 100 ms. A writer that returns
    at once overtakes all sleeping ones. Here the system wakes the waiting process, and a process
    that dies leaves the queue.

    Raises:
        StorageUnavailable: the folder of the database cannot be written.
    """
    if sys.platform == "win32" or not is_sqlite(engine.url):
        yield
        return
    with storage_errors(engine), Path(f"{engine.url.database}-turn").open("a") as line:
        fcntl.flock(line, fcntl.LOCK_EX)
        yield


def unavailable(url: URL, error: BaseException) -> StorageUnavailable:
    """Return the error to raise for a database error."""
    message = str(getattr(error, "orig", error)).strip()
    line, step = _telling(message or type(error).__name__, url)
    return StorageUnavailable(
        f"database: expected {url.render_as_string()} to answer, got {line!r}; {step}"
    )


def _telling(message: str, url: URL) -> tuple[str, str]:
    """Return an error's line with a known next step, else its first line; and the step."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    steps = {**_STEPS, **(_SQLITE_STEPS if is_sqlite(url) else _postgres_steps(url))}
    for line in lines:  # the attempts to connect are listed below a heading
        for pattern, step in steps.items():
            if re.search(pattern, line):
                return line, step
    return lines[0], f"check {'SENSEI_HOME' if is_sqlite(url) else 'SENSEI_DATABASE_URL'}"


_UPGRADE = "run `sensei db upgrade`"
_SPACE = "free some space, then repeat"
_STEPS = {
    r"disk.* full|disk I/O.* full|No space": _SPACE,
    r"already exists": "its tables were not made by `sensei db upgrade`: name another database",
}
"""Pattern of an error of either database -> the next step."""

_WRITABLE = "make the file and its folder writable, or choose another SENSEI_HOME"
_SQLITE_STEPS = {
    r"readonly|Read-only|ermission denied": _WRITABLE,
    r"unable to open": "make its folder writable, or choose another SENSEI_HOME",
    r"locked": "another process is writing: repeat in a moment",
    r"no such (table|column)": _UPGRADE,
    r"not a database": "it is not an SQLite file: restore a backup, or choose another SENSEI_HOME",
    r"malformed": "the file is damaged: restore a backup with `sensei db restore FILE`",
}


def _postgres_steps(url: URL) -> dict[str, str]:
    """Return patterns of PostgreSQL errors -> the next step."""
    name, user = url.database or url.username, url.username
    return {
        r'database ".*" does not exist': (
            f"create it with `createdb {name}`, then run `sensei db upgrade`; or correct the name "
            "in SENSEI_DATABASE_URL"
        ),
        r'role ".*" does not exist': (
            f"create it with `createuser {user or 'NAME'}`, or correct the user in "
            "SENSEI_DATABASE_URL"
        ),
        r"does not exist": _UPGRADE,
        r"permission denied": "grant its user all rights on the schema and tables, then repeat",
        r"read-only transaction": "name the primary server in SENSEI_DATABASE_URL, not a standby",
        r"password authentication failed|no password supplied": (
            "correct user and password in SENSEI_DATABASE_URL"
        ),
    }


def arrow_url(url: URL) -> str:
    """Return the URL in connectorx's form; a socket folder takes the place of the host."""
    if is_sqlite(url):
        return "sqlite://" + quote(str(Path(url.database or "").resolve()))
    folder = url.query.get("host")
    who = quote(url.username or "", safe="")
    if url.password:
        who += ":" + quote(str(url.password), safe="")
    host = quote(str(folder), safe="") if folder else str(url.host or "localhost")
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{who}@{host}{port}/{quote(url.database or '', safe='')}"


def upgrade(url: str, copy: bool = True) -> Path | None:
    """Upgrade the database to the newest migration; create it and its folder if absent.

    Args:
        url: URL of the database.
        copy: copy an SQLite file next to it before a change; the newest copies are kept.

    Returns:
        The path of the copy, if one was made.

    Raises:
        StorageUnavailable: the database cannot be created or written, or is newer than this
            software.
    """
    engine = connect(url)
    with storage_errors(engine):
        if is_sqlite(engine.url) and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    config, copied = _config(), None
    try:
        with write_transaction(engine) as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            refuse_unknown(current)
            if copy and is_sqlite(engine.url) and current not in (None, _migrations()[0]):
                copied = _keep_copy(Path(str(engine.url.database)), f"migration-{current}")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return copied


def _keep_copy(file: Path, kind: str) -> Path:
    """Copy a database unchanged; the caller holds the write lock."""
    copy = copy_name(file, kind)
    copy_sqlite(file, copy)
    prune_copies(file, "migration-*")
    return copy


def is_outdated(url: str) -> str | None:
    """Return the migration of an outdated database; None if it is new or current.

    Raises:
        StorageUnavailable: the database does not answer, or is newer than this software.
    """
    engine = connect(url)
    try:
        with read_connection(engine) as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    refuse_unknown(current)
    return None if current == _migrations()[0] else current


def check(engine: Engine) -> None:
    """Check that the database is at the newest migration.

    Raises:
        StorageUnavailable: the database is absent, older, or newer than this software.
    """
    refuse_moved(engine)
    check_file(engine)
    with read_connection(engine) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    refuse_unknown(current)
    if current != (newest := _migrations()[0]):
        raise SchemaMismatch(
            f"database: expected migration {newest}, got {current or 'none'}; "
            "run `sensei db upgrade`"
        )


def check_file(engine: Engine) -> None:
    """Check that the file of an SQLite database exists, as connecting would create it.

    Raises:
        StorageUnavailable: the file does not exist.
    """
    database = engine.url.database
    if is_sqlite(engine.url) and database and not Path(database).exists():
        raise StorageUnavailable(
            f"database: expected a file at {database}, got none; run `sensei db upgrade`"
        )


def refuse_unknown(current: str | None) -> None:
    """Refuse a migration that this software does not have.

    Raises:
        SchemaMismatch: the migration is unknown.
    """
    migrations = _migrations()
    if current is not None and current not in migrations:
        raise SchemaMismatch(
            f"database: expected a migration up to {migrations[0]}, got {current}; "
            "use the newer software that wrote it, or choose another SENSEI_HOME"
        )


@cache
def _migrations() -> list[str]:
    """Return all migrations of this software, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
