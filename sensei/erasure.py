"""Erasing a learner, and exporting what is held of one: all tables that name learners, and files.

First comes a tombstone (`sensei.tombstones`), in the transaction that deletes: from then on what
is still queued, or comes again in a file, is refused. An erasure that was cut off is repeated.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Table, delete, func, insert, select

from sensei import audit_log, database, rules, tombstones
from sensei.errors import StorageUnavailable
from sensei.facts import RETRAINING_DUE
from sensei.tables import Base, Erased, Fact, Learner, ServingState, UserInteraction

_WAIT_SECONDS = 5.0

# Closing a file gives up all locks that the process has on it, SQLite's own too: the next process
# that left would remove the journal into which this one goes on writing, and the writes were lost
# (sqlite.org/howtocorrupt.html, 2.2). A process of its own looks into the file.
_SEARCHER = """
import mmap, sys
names = sys.stdin.buffer.read().split(b"\\0")
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    print(any(data.find(each) >= 0 for each in names))
"""


def personal_tables() -> list[Table]:
    """The tables whose rows name a learner, in `user_id`."""
    return [table for table in Base.metadata.sorted_tables if "user_id" in table.columns]


def export(
    engine: Engine, user_id: str, by: audit_log.Actor | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Everything the database holds of a learner: rows by table, each as its columns say.

    Args:
        engine: the log's database.
        user_id: the learner.
        by: who asks, for the audit log, which is written first.

    Raises:
        StorageUnavailable: the database cannot be read, or the audit log cannot be written.
    """
    with database.writing(engine) as connection:
        audit_log.record(connection, audit_log.EXPORT, by, learner=user_id)
    with database.reading(engine) as connection:
        return {
            str(table.name): [_plain(row) for row in connection.execute(_theirs(table, user_id))]
            for table in personal_tables()
        }


def _theirs(table: Table, user_id: str) -> Any:
    return select(table).where(table.c.user_id == user_id).order_by(*table.primary_key)


def _plain(row: Any) -> dict[str, Any]:
    """Columns as JSON has them; metadata as the object it is."""
    found = {str(name): value for name, value in row._mapping.items()}  # not SQLAlchemy's names
    if isinstance(found.get("metadata"), str):
        found["metadata"] = orjson.loads(found["metadata"])
    for name, value in found.items():
        if rules.is_nested_deeper(
            value, rules.MAX_LEVELS
        ):  # an older row: JSON's writer has limits
            found[name] = json.dumps(value)
    return found


def erase(
    engine: Engine, user_id: str, folders: Sequence[Path], by: audit_log.Actor | None = None
) -> dict[str, int]:
    """Erase a learner; one who was never seen may not be written about afterwards either.

    Args:
        engine: the log's database.
        user_id: the learner.
        folders: what lies in them is made from the log and removed whole: extracts, caches.
        by: who asks, for the audit log.

    Returns:
        Rows deleted by table.

    Raises:
        StorageUnavailable: something may remain; repeat it.
    """
    now = datetime.now(UTC)
    with database.writing(engine) as connection:
        tombstones.exclude_writers(connection)
        audit_log.record(connection, audit_log.ERASE, by, learner=user_id)
        _bury(connection, user_id, now)
        _flag_champion(connection, user_id, now)
        counts = {
            str(table.name): connection.execute(
                delete(table).where(table.c.user_id == user_id)
            ).rowcount
            for table in reversed(personal_tables())
        }
    _empty(folders)
    if database.is_sqlite(engine.url):
        _scrub(engine, user_id)
    return counts


def _bury(connection: Connection, user_id: str, now: datetime) -> None:
    """Leave the tombstone, with the learner's revision: the sum of all must never fall."""
    known = select(Learner.revision).where(Learner.user_id == user_id)
    revision = (connection.execute(known).scalar() or 0) + 1
    tombstone = tombstones.digest(connection, user_id)
    earlier = connection.execute(
        delete(Erased).where(Erased.tombstone == tombstone).returning(Erased.revision)
    ).scalar()
    row = {"tombstone": tombstone, "revision": revision + (earlier or 0), "erased_at": now}
    connection.execute(insert(Erased), row)


def _flag_champion(connection: Connection, user_id: str, now: datetime) -> None:
    """Mark the bundle that serves where it may have learnt from the learner."""
    serving = connection.execute(select(ServingState.bundle, ServingState.updated_at)).first()
    first = connection.execute(
        select(func.min(UserInteraction.received_at)).where(UserInteraction.user_id == user_id)
    ).scalar()
    if serving is not None and first is not None and first < serving.updated_at:
        connection.execute(delete(Fact).where(Fact.name == RETRAINING_DUE))
        value = {
            "bundle": serving.bundle,
            "since": now.isoformat(),
            "reason": "a learner was erased",
        }
        connection.execute(insert(Fact).values(name=RETRAINING_DUE, value=value))


def _empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        for each in folder.iterdir() if folder.is_dir() else ():
            try:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageUnavailable(
                    f"erase: expected to remove {each}, got {error.strerror}; make it writable"
                ) from error


def _scrub(engine: Engine, user_id: str) -> None:
    """Let the files of SQLite hold the name no more, where the rows were neither.

    Deleted content is overwritten (`secure_delete`), but the journal holds the old pages until it
    is emptied; and an older file may hold rows that were deleted otherwise.
    """
    _empty_journal(engine)
    spelled = {user_id, json.dumps(user_id)[1:-1]}  # as text, and as JSON columns escape it
    if _file_holds(engine, spelled):
        with database.storage(engine), engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None, "the pool gave it out"
            raw.execute("VACUUM")
        _empty_journal(engine)


def _empty_journal(engine: Engine) -> None:
    """Move the journal into the file and cut it off; waits for whoever still reads old pages."""
    until = time.monotonic() + _WAIT_SECONDS
    with database.storage(engine), engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None, "the pool gave it out"
        while raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until:
                raise StorageUnavailable(
                    "erase: expected the old pages of the log to be free, got a reader of them; "
                    "repeat it when the run that reads has ended"
                )
            time.sleep(0.05)


def _file_holds(engine: Engine, names: Iterable[str]) -> bool:
    """Whether the bytes of SQLite's file hold one of the names."""
    found = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-I", "-S", "-c", _SEARCHER, str(engine.url.database)],
        input="\0".join(names).encode(),  # no argument: those are for all to see
        capture_output=True,
    )
    if found.returncode:
        said = found.stderr.decode().strip().splitlines()[-1:]
        raise database.unavailable(engine.url, RuntimeError(*said))
    return found.stdout.strip() == b"True"
