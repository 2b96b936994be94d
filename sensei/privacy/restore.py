"""Restore of a backup, with a copy of the old database; later erasures are applied again.

The restored content is prepared next to an SQLite database and then takes its name. The database
is therefore always either the old or the new one. On PostgreSQL it is replaced in one transaction.
The caller stops the service first. `sensei.privacy.reapply` lists the erasures and revocations
that are applied again.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from sensei.errors import InvalidInput, SenseiError, StorageUnavailable
from sensei.privacy.erasure import empty
from sensei.privacy.reapply import Unapplied, complete_list, reapply
from sensei.settings import Settings
from sensei.storage import database, postgres_tools, revisions
from sensei.storage.backup import (
    POSTGRESQL,
    SQLITE,
    TABLES,
    VIEWS,
    Content,
    back_up,
    connect_read_only,
)
from sensei.storage.locks import exclusive_lock
from sensei.storage.sqlite_copy import (
    MODE,
    copy_name,
    copy_sqlite,
    prune_copies,
    stamp,
    sync_file,
    sync_folder,
    unfinished_copy,
)

JOBS = ("train", "promotion")
"""Jobs that write more than the database; none may run during a restore.

See `sensei.storage.locks`.
"""


@dataclass(frozen=True)
class Restored:
    """Outcome of a restore.

    Attributes:
        before: content that was replaced; None if there was none, or it could not be read.
        content: current content of the database.
        replaced: path of the copy of the replaced database; None if there was none.
        reapplied: erasures and revocations that the backup did not have.
        unread: reason why the replaced database could not be read; None if it could.
    """

    before: Content | None
    content: Content
    replaced: Path | None
    reapplied: Unapplied
    unread: str | None


def restore(settings: Settings, file: Path, force: bool = False) -> Restored:
    """Replace the database with a backup.

    Args:
        settings: settings with the database, the suppression list and the folders.
        file: a backup of `sensei.storage.backup.back_up`, or a copy of an SQLite database.
        force: continue although others are connected to PostgreSQL.

    Raises:
        InvalidInput: the file is not a backup of such a database.
        StorageUnavailable: others use the database, or a step failed. Unless the message says
            otherwise, nothing was changed.
    """
    engine = database.connect(settings.log_url)
    is_sqlite = database.is_sqlite(engine.url)
    _check_kind(file, SQLITE if is_sqlite else POSTGRESQL)
    if is_sqlite:
        target = Path(str(engine.url.database))
        if target.exists() and target.samefile(file):
            raise InvalidInput(f"file: expected a backup, got {file} itself; name another file")
        _check_sqlite(file)
        target.parent.mkdir(parents=True, exist_ok=True)
    else:
        postgres_tools.verify_dump(file)
        database.refuse_unknown(postgres_tools.dumped_migration(file))
        _refuse_connected(engine, force)
    try:
        with ExitStack() as places, database.storage_errors(engine):
            for job in JOBS:
                places.enter_context(exclusive_lock(engine, job, patience=0))
            before, unread = _before(engine, settings)
            if is_sqlite:
                replaced, reapplied = _replace_sqlite(engine, file, settings)
            else:
                replaced, reapplied = _replace_postgres(engine, file, settings, before)
            empty((settings.runs, settings.evaluations))
            with database.read_connection(engine) as connection:
                return Restored(before, Content.of(connection), replaced, reapplied, unread)
    finally:
        engine.dispose()


def _check_kind(file: Path, expected: bytes) -> None:
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(SQLITE))
    except OSError as error:
        raise InvalidInput(
            f"file: expected a backup at {file}, got {error.strerror!r}; check the path"
        ) from error
    if begin.startswith(expected):
        return
    kinds = {SQLITE: "an SQLite database", POSTGRESQL: "a PostgreSQL dump"}
    got = next((kind for first, kind in kinds.items() if begin.startswith(first)), "another file")
    raise InvalidInput(
        f"file: expected {kinds[expected]}, as the database in use is one, got {got}; name a file "
        "that `sensei db backup` wrote, or set SENSEI_DATABASE_URL to the database that it is for"
    )


def _check_sqlite(file: Path) -> None:
    """Refuse a file that is damaged, is not a database of this software, or has a newer schema."""
    backup = connect_read_only(file)
    try:
        with backup.connect() as connection:
            names = set(inspect(connection).get_table_names())
            current = MigrationContext.configure(connection).get_current_revision()
        problem = "" if "user_interactions" in names else "a database without user_interactions"
    except DBAPIError as error:
        current, problem = None, str(error.orig)
    finally:
        backup.dispose()
    if problem:
        raise InvalidInput(
            f"file: expected a whole backup of the log, got {problem!r}; use another one"
        )
    database.refuse_unknown(current)


def _before(engine: Engine, settings: Settings) -> tuple[Content | None, str | None]:
    """Return the content to be replaced; its erasures and revocations are added to the list."""
    file = engine.url.database
    if database.is_sqlite(engine.url) and not Path(str(file)).exists():
        return None, None
    try:
        with database.read_connection(engine) as connection:
            content = Content.of(connection)
        complete_list(engine, settings.suppression)
    except StorageUnavailable as error:  # a damaged database is a reason for a restore
        return None, str(error)
    finally:
        engine.dispose()
    return content if content.rows else None, None


def _prepare(url: str, settings: Settings) -> Unapplied:
    """Bring restored content to the current schema, erasures and revocations."""
    database.upgrade(url, copy=False)
    engine = database.connect(url)
    try:
        reapplied = reapply(engine, settings.suppression, ())
        if not reapplied.is_older:
            with database.write_transaction(engine) as connection:
                revisions.raise_all(connection)
    finally:
        engine.dispose()
    return reapplied


# SQLite


def _replace_sqlite(
    engine: Engine, file: Path, settings: Settings
) -> tuple[Path | None, Unapplied]:
    target = Path(str(engine.url.database))
    with _only_user(target), unfinished_copy(copy_name(target, "restoring")) as part:
        part.unlink()  # the copy refuses an existing target
        try:
            copy_sqlite(file, part)
        except sqlite3.OperationalError:
            raise  # error of the folder, such as a full disk
        except sqlite3.DatabaseError as error:
            raise InvalidInput(
                f"file: expected a whole backup of the log, got {str(error)!r}; use another one"
            ) from error
        reapplied = _prepare(f"sqlite:///{part}", settings)
        with closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        sync_file(part)
        replaced = _set_aside(target)
        part.replace(target)
        sync_folder(target.parent)
    prune_copies(target, "replaced")
    return replaced, reapplied


@contextmanager
def _only_user(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on a database file; a damaged file cannot be locked.

    A process with a WAL-mode database holds a shared lock while the database is open. Leaving WAL
    mode requires the exclusive lock.

    Raises:
        StorageUnavailable: another process has the file open; nothing was changed.
    """
    if not file.exists():
        yield
        return
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise StorageUnavailable(
                    f"restore: expected no process to use {file}, got one that has it open; "
                    "stop the service, runs and `sensei up`, then repeat"
                ) from error
        yield


def _set_aside(file: Path) -> Path | None:
    """Give the present database a second name, and move its journal to that name."""
    if not file.exists():
        return None
    replaced = copy_name(file, "replaced")
    try:
        os.link(file, replaced)
    except OSError:  # a file system without links
        file.rename(replaced)
    replaced.chmod(MODE)
    for suffix in ("-wal", "-shm"):
        journal = Path(f"{file}{suffix}")
        if journal.exists():  # of a damaged file: the next one must not read it
            journal.rename(f"{replaced}{suffix}")
    return replaced


# PostgreSQL


def _replace_postgres(
    engine: Engine, file: Path, settings: Settings, before: Content | None
) -> tuple[Path | None, Unapplied]:
    replaced = None
    if before is not None:
        settings.replaced.mkdir(parents=True, exist_ok=True)
        replaced = back_up(settings.log_url, settings.replaced / f"replaced.{stamp()}.dump").file
    postgres_tools.load_dump(engine, file, [*TABLES, "alembic_version"], VIEWS)
    try:
        return replaced, _prepare(settings.log_url, settings)
    except SenseiError as error:
        raise StorageUnavailable(
            f"restore: the backup is in place, but expected it to be brought up to date, got: "
            f"{error}; then run `sensei db upgrade` and `sensei db reapply`"
        ) from error


def _refuse_connected(engine: Engine, force: bool) -> None:
    """Refuse to continue while others are connected: their caches would stay outdated.

    Raises:
        StorageUnavailable: others are connected and `force` is false.
    """
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND usename IS NOT NULL AND pid <> pg_backend_pid() "
        "AND coalesce(backend_type, 'client backend') = 'client backend'"  # null: another user's
    )
    with database.read_connection(engine) as connection:
        count = connection.execute(others).scalar_one()
    engine.dispose()
    if count and not force:
        raise StorageUnavailable(
            f"restore: expected no other connection to the database, got {count} connections; "
            "stop the service and runs on all machines, then repeat, or add --force"
        )
