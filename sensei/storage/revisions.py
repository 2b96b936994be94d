"""Revisions: the number of writes per learner, raised by every writer, read before every answer."""

import os
import struct
import sys
import time
from collections.abc import Collection, Sequence
from typing import Any, cast

import orjson
from sqlalchemy import Connection, Engine, PoolProxiedConnection, update

from sensei.errors import StorageUnavailable
from sensei.storage import database
from sensei.storage.sql import signs
from sensei.storage.tables import LearnerRow

if sys.platform != "win32":
    import fcntl

_SINCE = 1_577_836_800  # 2020-01-01 UTC, in seconds since 1970


class Revisions:
    """Reader of revisions over one open connection: SQLAlchemy's pool costs ten times more.

    For one thread at a time; each read is its own transaction.

    Args:
        engine: engine of the database; the first read connects to it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sqlite = database.is_sqlite(engine.url)
        self._connection: PoolProxiedConnection | None = None
        self._execute: Any = None
        self._shm: int | None = None

    def of(self, user_ids: Sequence[str]) -> dict[str, int]:
        """Return the number of writes per learner; those never seen are left out.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        was_open = self._connection is not None
        try:
            return self._read(user_ids)
        except StorageUnavailable:
            self.close()
            if not was_open:
                raise
        return self._read(user_ids)  # the open connection may have been cut

    def of_now(self, user_ids: Sequence[str]) -> dict[str, int]:
        """Do the same as `of` over the open connection, at once or not at all.

        Raises:
            StorageUnavailable: the database cannot be read now.
        """
        if self._shm is not None and _is_locked(self._shm):
            raise StorageUnavailable("database: expected to read at once, got a lock; wait for it")
        return self._read(user_ids)

    def without_waiting(self) -> "Revisions | None":
        """Open a reader of its own that fails at once while SQLite is locked; None on PostgreSQL.

        Such a read takes some microseconds, so an event loop may do it.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        if not self._sqlite or sys.platform != "linux":
            return None
        reader = Revisions(self._engine)
        reader.of([""])
        reader._shm = _open_shm(f"{self._engine.url.database}-shm")
        with database.storage_errors(self._engine):
            reader._execute("PRAGMA busy_timeout = 0")
        return reader

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with database.storage_errors(self._engine):
                connection.close()

    def _read(self, user_ids: Sequence[str]) -> dict[str, int]:
        places = signs(self._engine, len(user_ids))
        # One row, because SQLite releases and takes Python's global lock again at each row.
        columns = "json_group_object(user_id, revision)" if self._sqlite else "user_id, revision"
        query = f"SELECT {columns} FROM learners WHERE user_id IN ({places})"  # noqa: S608
        database.refuse_moved(self._engine)
        with database.storage_errors(self._engine):
            if self._connection is None:
                self._connection = database.detached(self._engine)
                self._execute = cast("Any", self._connection.dbapi_connection).execute
            rows = self._execute(query, user_ids).fetchall()
        return dict(orjson.loads(rows[0][0]) if self._sqlite else rows)


_SHM: dict[tuple[int, int], int] = {}
"""Device and inode of a `-shm` file -> descriptor.

Never closed: closing one descriptor of a file drops all POSIX locks of the process on it, those of
SQLite too.
"""

_FLOCK = "@hhqqi4x"
_READ_LOCKS = (122, 6)
"""First byte and number of the locks that stop readers: recovery and the read marks (wal.c)."""


def _open_shm(file: str) -> int | None:
    try:
        status = os.stat(file)  # noqa: PTH116
        key = status.st_dev, status.st_ino
        if key not in _SHM:
            _SHM[key] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    return _SHM[key]


def _is_locked(descriptor: int) -> bool:
    """Tell if another process excludes readers; then SQLite itself tries for up to 10 seconds."""
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, *_READ_LOCKS, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def raise_revisions(connection: Connection, user_ids: Collection[str]) -> None:
    """Count one more write for each learner; create the rows of those never seen."""
    if user_ids:
        # Sorted, so two writers of the same learners cannot deadlock.
        connection.connection.cursor().executemany(
            f"INSERT INTO learners (user_id, revision) VALUES ({signs(connection, 1)}, 1) "  # noqa: S608
            "ON CONFLICT (user_id) DO UPDATE SET revision = learners.revision + 1",
            [(user_id,) for user_id in sorted(user_ids)],
        )


def raise_all(connection: Connection) -> None:
    """Raise all revisions above any that was ever seen, after older content was restored.

    Everything cached by a revision, of a learner or of the whole log, becomes invalid. The step is
    the number of seconds since 2020, as no learner has had a write per second.
    """
    step = int(time.time()) - _SINCE
    connection.execute(update(LearnerRow).values(revision=LearnerRow.revision + step))


def conflict(event_id: str) -> str:
    """Return the sentence about an event id that came with two payloads."""
    return (
        f"event_id: expected the payload first sent with it, got another for {event_id!r}; "
        "give a new event a new id, or send a correction"
    )
