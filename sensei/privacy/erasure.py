"""Erasure and export of a learner: all tables that name learners, and files.

The transaction that deletes first writes a tombstone (`sensei.privacy.tombstones`). From then on,
queued or reimported events of the learner are refused. An interrupted erasure can be repeated.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Engine,
    FromClause,
    Table,
    column,
    delete,
    func,
    insert,
    inspect,
    select,
    table,
)

from sensei.app_state import RETRAINING_DUE
from sensei.errors import StorageUnavailable
from sensei.events import rules
from sensei.events.merged_ids import merged_ids
from sensei.privacy import audit_log, tombstones
from sensei.privacy.suppression import ErasedEntry, add_entries
from sensei.storage import database
from sensei.storage.sqlite_copy import automatic_copies, remove_unfinished
from sensei.storage.tables import (
    AppStateRow,
    Base,
    ErasedLearner,
    LearnerRow,
    ServingState,
    UserInteraction,
)

_WAIT_SECONDS = 5.0
_SEARCHED = 20  # for more names at once, rewriting the file is faster than searching it

# Closing a file releases all locks that the process holds on it, SQLite's own included. The next
# process to close the database would then remove the journal that this process still writes to,
# and those writes would be lost (sqlite.org/howtocorrupt.html, 2.2). A separate process therefore
# reads the file.
_SEARCHER = """
import mmap, sys
names = sys.stdin.buffer.read().split(b"\\0")
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    print(any(data.find(name) >= 0 for name in names))
"""


def personal_tables() -> list[Table]:
    """Return the tables whose rows name a learner, in `user_id`."""
    return [table for table in Base.metadata.sorted_tables if "user_id" in table.columns]


def export(
    engine: Engine,
    user_id: str,
    suppression: Path | None = None,
    by: audit_log.Actor | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return everything the database holds about a learner: rows by table, by column name.

    The rows of a merged learner under all ids are included.

    Args:
        engine: engine of the log.
        user_id: id of the learner.
        suppression: file that outlives a restored backup, see `sensei.privacy.suppression`; its key
            is used if the database has none.
        by: the actor, for the audit log, which is written first.

    Raises:
        StorageUnavailable: the database or the suppression list cannot be read, or the audit log
            cannot be written.
    """
    with database.write_transaction(engine) as connection:
        key = tombstones.ensure_key(connection, suppression)
        subject = tombstones.digest(key, user_id)
        audit_log.record(connection, audit_log.EXPORT, by, subject=subject)
    with database.read_connection(engine) as connection:
        names = merged_ids(connection, [user_id]).all_of([user_id])
        return {
            str(table.name): [_plain(row) for row in connection.execute(_theirs(table, names))]
            for table in personal_tables()
        }


def _theirs(table: Table, user_ids: Collection[str]) -> Any:
    return select(table).where(table.c.user_id.in_(user_ids)).order_by(*table.primary_key)


def _plain(row: Any) -> dict[str, Any]:
    """Return columns as JSON values; metadata as a parsed object."""
    values = {str(name): value for name, value in row._mapping.items()}  # not SQLAlchemy's names
    if isinstance(values.get("metadata"), str):
        values["metadata"] = orjson.loads(values["metadata"])
    for name, value in values.items():
        if rules.is_nested_deeper(
            value, rules.MAX_LEVELS
        ):  # an older row: the JSON writer limits nesting
            values[name] = json.dumps(value)
    return values


def erase(
    engine: Engine,
    user_id: str,
    folders: Sequence[Path],
    suppression: Path | None = None,
    by: audit_log.Actor | None = None,
) -> dict[str, int]:
    """Erase a learner; see `erase_all`."""
    return erase_all(engine, [user_id], folders, suppression, by)


def erase_all(
    engine: Engine,
    user_ids: Collection[str],
    folders: Sequence[Path],
    suppression: Path | None = None,
    by: audit_log.Actor | None = None,
) -> dict[str, int]:
    """Erase learners; writes about them are refused afterwards, even if they were never seen.

    A merged learner is erased under all ids.

    Args:
        engine: engine of the log.
        user_ids: ids of the learners.
        folders: folders with data derived from the log, such as extracts and caches; all their
            content is removed.
        suppression: file that outlives a restored backup, see `sensei.privacy.suppression`; it is
            written before anything is deleted. None: only the database records the erasure.
        by: the actor, for the audit log.

    Returns:
        Rows deleted by table.

    Raises:
        StorageUnavailable: some data may remain; repeat the erasure.
    """
    now = datetime.now(UTC)
    with database.write_transaction(engine) as connection:
        tombstones.exclude_writers(connection)
        key = tombstones.ensure_key(connection, suppression)
        user_ids = sorted(merged_ids(connection, user_ids).all_of(user_ids))
        user_ids = [*user_ids, *_normal_forms(connection, user_ids)]
        digests = {user_id: tombstones.digest(key, user_id) for user_id in user_ids}
        for digest in digests.values():
            audit_log.record(connection, audit_log.ERASE, by, subject=digest)
        if suppression is not None:
            add_entries(suppression, [ErasedEntry(key, digest, now) for digest in digests.values()])
        for user_id, tombstone in digests.items():
            _bury(connection, user_id, tombstone, now)
            _flag_champion(connection, user_id, now)
        counts = {
            str(table.name): sum(_delete(connection, table, user_id) for user_id in user_ids)
            for table in reversed(personal_tables())
        }
    empty(folders)
    if database.is_sqlite(engine.url):
        _scrub(engine, user_ids)
        file = Path(str(engine.url.database))
        remove_unfinished(file)
        for copy in automatic_copies(file):
            try:
                _erase_in_copy(copy, user_ids)
            except StorageUnavailable as error:
                if not any(word in str(error) for word in ("malformed", "not a database")):
                    raise
                for part in ("", "-wal", "-shm"):  # damaged, so it may hold the learner for ever
                    Path(f"{copy}{part}").unlink(missing_ok=True)
    return counts


def _normal_forms(connection: Connection, user_ids: Collection[str]) -> list[str]:
    """Return the normal forms of ids that older releases stored without one.

    Later events of such a learner arrive under the normal form, so that must be refused too. A form
    that another learner has stays: they may be another person.
    """
    forms = {rules.normal_form(user_id) for user_id in user_ids} - {*user_ids}
    present = select(LearnerRow.user_id).where(LearnerRow.user_id.in_(forms))
    return sorted(forms - {*connection.execute(present).scalars()}) if forms else []


def _delete(connection: Connection, table: FromClause, user_id: str) -> int:
    theirs = delete(table).where(table.c.user_id == user_id)  # type: ignore[arg-type]
    return connection.execute(theirs).rowcount


def _erase_in_copy(file: Path, user_ids: Collection[str]) -> None:
    """Erase learners in an automatic copy; its schema may be that of an older version."""
    engine = database.connect(f"sqlite:///{file}")
    try:
        with database.write_transaction(engine) as connection:
            inspector = inspect(connection)
            for name in inspector.get_table_names():
                if "user_id" in {column["name"] for column in inspector.get_columns(name)}:
                    for user_id in user_ids:
                        _delete(connection, table(name, column("user_id")), user_id)
        _scrub(engine, user_ids)
    finally:
        engine.dispose()


def _bury(connection: Connection, user_id: str, tombstone: str, now: datetime) -> None:
    """Write the tombstone with the learner's revision: the sum of all revisions must never fall."""
    query = select(LearnerRow.revision).where(LearnerRow.user_id == user_id)
    revision = (connection.execute(query).scalar() or 0) + 1
    earlier = connection.execute(
        delete(ErasedLearner)
        .where(ErasedLearner.tombstone == tombstone)
        .returning(ErasedLearner.revision)
    ).scalar()
    row = {"tombstone": tombstone, "revision": revision + (earlier or 0), "erased_at": now}
    connection.execute(insert(ErasedLearner), row)


def _flag_champion(connection: Connection, user_id: str, now: datetime) -> None:
    """Mark the served bundle as due for retraining if it may have learnt from the learner."""
    serving = connection.execute(select(ServingState.bundle, ServingState.updated_at)).first()
    first = connection.execute(
        select(func.min(UserInteraction.received_at)).where(UserInteraction.user_id == user_id)
    ).scalar()
    if serving is not None and first is not None and first < serving.updated_at:
        connection.execute(delete(AppStateRow).where(AppStateRow.name == RETRAINING_DUE))
        value = {
            "bundle": serving.bundle,
            "since": now.isoformat(),
            "reason": "a learner was erased",
        }
        connection.execute(insert(AppStateRow).values(name=RETRAINING_DUE, value=value))


def empty(folders: Iterable[Path]) -> None:
    """Remove everything inside folders.

    Raises:
        StorageUnavailable: a file remains.
    """
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageUnavailable(
                    f"erase: expected to remove {path}, got {error.strerror}; make it writable"
                ) from error


def _scrub(engine: Engine, user_ids: Collection[str]) -> None:
    """Remove the names from the bytes of SQLite's files after their rows were deleted.

    Deleted content is overwritten (`secure_delete`), but the journal holds the old pages until it
    is emptied. An older file may also hold rows that were deleted without overwriting.
    """
    _empty_journal(engine)
    # as text, and as JSON columns escape it
    spellings = {name for user_id in user_ids for name in (user_id, json.dumps(user_id)[1:-1])}
    if len(user_ids) > _SEARCHED or _file_holds(engine, spellings):
        with database.storage_errors(engine), engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None, "the pool gave it out"
            raw.execute("VACUUM")
        _empty_journal(engine)


def _empty_journal(engine: Engine) -> None:
    """Move the journal into the file and truncate it; wait for readers of old pages.

    Raises:
        StorageUnavailable: a reader of old pages holds them for too long.
    """
    until = time.monotonic() + _WAIT_SECONDS
    with database.storage_errors(engine), engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None, "the pool gave it out"
        while raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until:
                raise StorageUnavailable(
                    "erase: expected the old pages of the log to be free, got a process that "
                    "reads them; repeat it when that run has ended"
                )
            time.sleep(0.05)


def _file_holds(engine: Engine, names: Iterable[str]) -> bool:
    """Tell if the bytes of SQLite's file contain one of the names."""
    search = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-I", "-S", "-c", _SEARCHER, str(engine.url.database)],
        input="\0".join(names).encode(),  # not an argument: arguments are visible to all users
        capture_output=True,
    )
    if search.returncode:
        last_line = search.stderr.decode().strip().splitlines()[-1:]
        raise database.unavailable(engine.url, RuntimeError(*last_line))
    return search.stdout.strip() == b"True"
