"""Copies of an SQLite database in use: consistent, verified, durable, for the owner only."""

import errno
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sensei.errors import InvalidInput, StorageUnavailable
from sensei.pruning import beyond_newest

KEPT = 3
"""Number of automatic copies to keep of each kind, newest first."""

MODE = 0o600
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database by SQLite's online backup; writers can continue meanwhile.

    Args:
        source: a database file, in use or not.
        target: a file that does not exist yet; afterwards it is complete, or absent.

    Raises:
        InvalidInput: the target exists.
        StorageUnavailable: the copy is damaged.
        sqlite3.Error: the source cannot be read, or the target cannot be written.
        OSError: the target cannot be written.
    """
    with unfinished_copy(target) as part:
        with closing(read_only(source)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, without a separate journal
            verify(new, target)
        publish(part, target)


def read_only(source: Path) -> sqlite3.Connection:
    """Open a read-only connection; a file without a journal may be in a read-only folder."""
    unused = "" if Path(f"{source}-wal").exists() else "&immutable=1"
    writable = os.access(source.parent, os.W_OK)
    mode = "mode=ro" if writable else f"mode=ro{unused}"
    return sqlite3.connect(f"file:{quote(str(source))}?{mode}", uri=True)


def verify(connection: sqlite3.Connection, file: Path) -> None:
    """Check that SQLite finds no damage.

    Raises:
        StorageUnavailable: the database is damaged.
    """
    outcome = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if outcome != "ok":
        raise StorageUnavailable(
            f"database: expected {file} to be whole, got {outcome!r}; use another copy"
        )


@contextmanager
def unfinished_copy(target: Path) -> Iterator[Path]:
    """Create an empty file next to a target, to write and then publish; remove it at the end.

    Raises:
        InvalidInput: the target exists.
        OSError: the folder cannot be written.
    """
    _refuse_existing(target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))
    try:
        yield part
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{part}{suffix}").unlink(missing_ok=True)


def publish(part: Path, target: Path) -> None:
    """Give a finished file its name, durably; never overwrite an existing file.

    Raises:
        InvalidInput: the target exists.
        OSError: the target cannot be written.
    """
    sync_file(part)
    try:
        os.link(part, target)
    except FileExistsError:
        _refuse_existing(target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _refuse_existing(target)
        part.rename(target)
    sync_folder(target.parent)


def sync_file(file: Path) -> None:
    """Flush a file's content to disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk: a new or renamed file then survives a power failure."""
    if sys.platform == "win32":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise InvalidInput(
            f"file: expected a new name, got {target}, which exists; name another one"
        )


def copy_name(database: Path, kind: str) -> Path:
    """Return an unused name for an automatic copy, next to the database."""
    return database.with_name(f"{database.name}.{kind}.{stamp()}.backup")


def stamp() -> str:
    """Return the current time in UTC, formatted for file names."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"


def automatic_copies(database: Path, kind: str = "*") -> list[Path]:
    """Return the automatic copies of a database, newest first."""
    return beyond_newest(database.parent.glob(f"{database.name}.{kind}.backup"), 0, _copied_at)


def _copied_at(copy: Path) -> str:
    """Return the time in a copy's name; the file's own may be that of the copied database."""
    return copy.name.split(".")[-2]


def prune_copies(database: Path, kind: str) -> None:
    """Remove all but the newest copies of a kind."""
    for copy in automatic_copies(database, kind)[KEPT:]:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


def remove_unfinished(database: Path) -> None:
    """Remove automatic copies that a crash left incomplete."""
    for part in database.parent.glob(f".{database.name}.*.backup.*"):
        part.unlink(missing_ok=True)
