"""The SQLite file that a process has open, compared with the one at its path.

An open file follows a rename and outlives its removal: without this, what is written after the
file was moved is acknowledged and lost. And who opens another file beside the journal (`-wal`)
of the first one damages it. Only `stat` is used: closing a file gives up SQLite's locks on it.
"""

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from urllib.parse import quote

from sensei.errors import StorageUnavailable

Identity = tuple[int, int] | None
"""Device and inode; None of what is absent."""

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
RETURN = "put back what was opened, or restart to use what is there"
logger = logging.getLogger(__name__)


class DatabaseFile:
    """File, journal and shared memory of a database, as they were first opened; for any thread.

    Args:
        path: of the file.

    Attributes:
        trouble: what `look` last found, in a sentence; None where all is in its place.
    """

    def __init__(self, path: str) -> None:
        self.trouble: str | None = None
        self._path = path
        self._paths = tuple(Path(path + end) for end in ("", "-wal", "-shm"))
        self._opened: tuple[Identity, ...] | None = None
        # SQLite keeps journal and shared memory as long as a connection is open: this one is.
        self._connection: sqlite3.Connection | None = None
        self._is_saved = self._is_damaged = False
        self._lock = Lock()
        self._closed = Event()

    def pin(self) -> None:
        """Remember what is there from the first time on; a connection to it was just made.

        Raises:
            sqlite3.Error: it cannot be opened.
        """
        with self._lock:
            if self._opened is None:
                name = f"file:{quote(self._path)}?mode=rw"
                self._connection = sqlite3.connect(name, 0.0, uri=True, check_same_thread=False)
                self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
                self._opened = self._at_path()

    def check(self) -> None:
        """Hold that what was opened is in its place.

        Raises:
            StorageUnavailable: it is not.
        """
        self.look()
        self.refuse()

    def refuse(self) -> None:
        """Hold that it was in its place when it was last looked at: costs next to nothing.

        Raises:
            StorageUnavailable: it was not.
        """
        if self.trouble is not None:
            raise StorageUnavailable(self.trouble)

    def look(self) -> None:
        """Compare; where another file took the place, keep the journal from damaging it."""
        opened = self._opened
        if opened is None or self._is_damaged:
            return
        there = self._at_path()
        trouble = None if there == opened else _sentence(opened, there)
        if trouble != self.trouble:
            logger.warning(trouble or "log: its file is in its place again")
            self._is_saved = False
        self.trouble = trouble
        if trouble and not self._is_saved:
            with self._lock:
                self._save()

    def note(self, error: BaseException) -> None:
        """Remember an error of SQLite that says that the file is damaged: that does not pass."""
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
        if code is not None and code & 0xFF in DAMAGED:  # the rest is an extended code
            self._is_damaged = True
            self.trouble = (
                "log: expected a whole file, got a damaged one; restore a backup, restart"
            )

    def watch(self, seconds: float) -> None:
        """Look so often, in the background, until `close`."""

        def forever() -> None:
            while not self._closed.wait(seconds):
                self.look()

        Thread(target=forever, daemon=True, name="database file").start()

    def close(self) -> None:
        """Give the connection back, and forget what was opened."""
        self._closed.set()
        with self._lock:
            connection, self._connection = self._connection, None
            self._opened = self.trouble = None
            self._is_damaged = False
        if connection is not None:
            connection.close()

    def _at_path(self) -> tuple[Identity, ...]:
        return tuple(map(_identity, self._paths))

    def _save(self) -> None:
        """Move the journal into the file that it belongs to; clear it away from another one."""
        if self._connection is None or self._opened is None:
            return
        try:
            row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            logger.warning("log: its journal is not in its file: %s", error)
            return
        self._is_saved = row[0] == 0  # else somebody reads or writes: at the next look
        if self._is_saved and _identity(self._paths[0]) not in (None, self._opened[0]):
            for path, identity in zip(self._paths[1:], self._opened[1:], strict=True):
                if _identity(path) == identity:
                    with suppress(OSError):
                        path.unlink()


def _identity(path: Path) -> Identity:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sentence(opened: tuple[Identity, ...], there: tuple[Identity, ...]) -> str:
    if opened[0] != there[0]:
        got = "another" if there[0] else "none"
        return f"log: expected the file that was opened, got {got} at its path; {RETURN}"
    return "log: expected the journal that was opened (-wal, -shm), got none or another; restart"
