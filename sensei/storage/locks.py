"""Exclusive locks across processes and machines, for jobs that write more than the database."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, func, select

from sensei.errors import StorageUnavailable
from sensei.storage.database import is_sqlite, storage_errors

if sys.platform != "win32":
    import fcntl

PATIENCE_SECONDS = 60.0
"""Maximum wait for a lock, after which StorageUnavailable is raised."""

_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


@contextmanager
def exclusive_lock(
    engine: Engine,
    job: str,
    patience: float = PATIENCE_SECONDS,
    waits: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold the exclusive lock of a job; others can write to the database meanwhile.

    The system releases the lock of a process that dies: there is nothing to clean up.

    Args:
        engine: engine of the database. On SQLite the lock is on a file next to the database; on
            PostgreSQL it is a lock of the server, which covers other machines too.
        job: name of the job.
        patience: seconds to wait if another process holds the lock.
        waits: called once if another process holds the lock.

    Raises:
        StorageUnavailable: the database does not answer, or another process holds the lock for
            longer.
    """
    with storage_errors(engine):
        holder = _open(engine, job)
    with closing(holder):
        with storage_errors(engine):
            if not _taken(holder, job):
                waits()
                _wait(holder, job, patience)
        yield


def _wait(holder: Connection | IO[str], job: str, patience: float) -> None:
    until, pause = time.monotonic() + patience, _PAUSE_SECONDS
    while not _taken(holder, job):
        if time.monotonic() > until:
            raise StorageUnavailable(
                f"{job}: expected no other one to run, got one that takes more than "
                f"{patience:.0f} s; check what it waits for, then repeat"
            )
        time.sleep(pause)
        pause = min(1.2 * pause, _LONGEST_PAUSE_SECONDS)


def _open(engine: Engine, job: str) -> Connection | IO[str]:
    if is_sqlite(engine.url):
        return Path(f"{engine.url.database}-{job}").open("a")
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()  # closed at the end, not returned to the pool: that releases the lock
    return connection


def _taken(holder: Connection | IO[str], job: str) -> bool:
    if isinstance(holder, Connection):
        key = int.from_bytes(hashlib.sha256(job.encode()).digest()[:8], signed=True)
        return bool(holder.execute(select(func.pg_try_advisory_lock(key))).scalar())
    if sys.platform != "win32":
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
