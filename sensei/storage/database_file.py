"""The SQLite file that a process has open, compared with the file at its path.

An open file follows a rename and survives its removal. Without this check, writes after the file
was moved would be acknowledged and lost. A process that opens another file next to the first one's
journal (`-wal`) damages it. Only `stat` is used, as closing a file releases SQLite's locks on it.
"""

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from urllib.parse import quote

from sensei.errors import StorageUnavailable

Identity = tuple[int, int] | None
"""Device and inode; None for an absent file."""

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
RETURN = "put back the opened file, or restart to use the present one"
logger = logging.getLogger(__name__)


class DatabaseFile:
    """File, journal and shared memory of a database, as first opened; usable by any thread.

    Args:
        path: path of the file.

    Attributes:
        trouble: problem that the last `look` found, as a sentence; None if all files are in place.
    """

    def __init__(self, path: str) -> None:
        self.trouble: str | None = None
        self._path = path
        self._paths = tuple(Path(path + end) for end in ("", "-wal", "-shm"))
        self._opened: tuple[Identity, ...] | None = None
        # SQLite keeps journal and shared memory while a connection is open; this one stays open.
        self._connection: sqlite3.Connection | None = None
        self._is_saved = self._is_damaged = False
        self._lock = Lock()
        self._closed = Event()

    def pin(self) -> None:
        """Remember the files at the first call; a connection to them was just made.

        Raises:
            sqlite3.Error: the file cannot be opened.
        """
        with self._lock:
            if self._opened is None:
                name = f"file:{quote(self._path)}?mode=rw"
                self._connection = sqlite3.connect(name, 0.0, uri=True, check_same_thread=False)
                self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
                self._opened = self._at_path()

    def check(self) -> None:
        """Check that the opened files are in their place.

        Raises:
            StorageUnavailable: they are not.
        """
        self.look()
        self.refuse()

    def refuse(self) -> None:
        """Refuse if the last look found a problem; costs next to nothing.

        Raises:
            StorageUnavailable: the files were not in their place, or are damaged.
        """
        if self.trouble is not None:
            raise StorageUnavailable(self.trouble)

    def look(self) -> None:
        """Compare the files; if another file took the place, keep the journal from damaging it."""
        with self._lock:  # an error that `note` remembers meanwhile is not overwritten
            opened = self._opened
            if opened is None or self._is_damaged:
                return
            present = self._at_path()
            trouble = None if present == opened else _sentence(opened, present)
            if trouble != self.trouble:
                logger.warning(trouble or "log: its file is back at its path")
                self._is_saved = False
            self.trouble = trouble
            if trouble and not self._is_saved:
                self._save()

    def note(self, error: BaseException) -> None:
        """Remember an SQLite error that reports a damaged file, as damage is permanent."""
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
        if code is not None and code & 0xFF in DAMAGED:  # the rest is an extended code
            with self._lock:
                self._is_damaged = True
                self.trouble = (
                    "log: expected a whole file, got a damaged one; restore a backup, restart"
                )

    def watch(self, seconds: float) -> None:
        """Run `look` every `seconds` seconds in the background, until `close`."""

        def forever() -> None:
            while not self._closed.wait(seconds):
                self.look()

        Thread(target=forever, daemon=True, name="database file").start()

    def close(self) -> None:
        """Close the connection, and forget the opened files."""
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
        """Move the journal into its own file; remove it from next to another file."""
        if self._connection is None or self._opened is None:
            return
        try:
            row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            logger.warning("log: its journal is not in its file: %s", error)
            return
        self._is_saved = row[0] == 0  # otherwise somebody reads or writes: retried at the next look
        if self._is_saved and _identity(self._paths[0]) not in (None, self._opened[0]):
            for path, identity in zip(self._paths[1:], self._opened[1:], strict=True):
                if _identity(path) == identity:
                    with suppress(OSError):
                        path.unlink()


def _identity(path: Path) -> Identity:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _sentence(opened: tuple[Identity, ...], present: tuple[Identity, ...]) -> str:
    if opened[0] != present[0]:
        got = "another" if present[0] else "none"
        return f"log: expected the file that was opened, got {got} at its path; {RETURN}"
    return "log: expected the journal that was opened (-wal, -shm), got none or another; restart"
