"""The suppression list: erased learners and revoked keys, in a file outside the database.

A restored backup knows nothing of later erasures and revocations; this file does. It is only
appended to. Learners are listed by the keyed digests of `sensei.privacy.tombstones`, with their
key: a backup that is older than the first erasure holds no key of its own.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensei.errors import StorageUnavailable

FILE = "suppression.jsonl"
"""Name of the file under `SENSEI_HOME`."""

MODE = 0o600
"""Only the owner may read the file: with the key, names can be tried on the digests."""


@dataclass(frozen=True)
class Erasure:
    """An erased learner.

    Attributes:
        key: the key of the digest, in hex.
        tombstone: the digest, in hex.
        at: time of the erasure, UTC.
    """

    key: str
    tombstone: str
    at: datetime


@dataclass(frozen=True)
class Revocation:
    """A revoked key of the service.

    Attributes:
        key_id: names the key.
        at: time of the revocation, UTC.
    """

    key_id: str
    at: datetime


@dataclass(frozen=True)
class Suppressed:
    """The list as it was read; `damaged` counts lines that cannot be read."""

    erasures: tuple[Erasure, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    damaged: int = 0


def read_list(file: Path) -> Suppressed:
    """Read the list; one that does not exist is empty.

    Raises:
        StorageUnavailable: the file cannot be read.
    """
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return Suppressed()
    except OSError as error:
        raise _unavailable(file, "to read", error) from error
    entries = [_entry(line) for line in lines if line.strip()]
    return Suppressed(
        tuple(entry for entry in entries if isinstance(entry, Erasure)),
        tuple(entry for entry in entries if isinstance(entry, Revocation)),
        entries.count(None),
    )


def add_entries(file: Path, entries: Iterable[Erasure | Revocation]) -> None:
    """Append entries; on return they are on the disk.

    Raises:
        StorageUnavailable: they may not be there.
    """
    text = "".join(json.dumps(_line(entry)) + "\n" for entry in entries)
    if not text:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        is_new = not file.exists()
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, MODE)
        try:
            # A line that a crash cut off must not swallow the next one.
            size = os.fstat(descriptor).st_size
            os.lseek(descriptor, max(size - 1, 0), os.SEEK_SET)
            whole = os.read(descriptor, 1) in (b"", b"\n")
            _write_all(descriptor, (text if whole else "\n" + text).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(file.parent)
    except OSError as error:
        raise _unavailable(file, "to write", error) from error


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk: a new or renamed file outlives a power failure."""
    if sys.platform == "win32":  # it opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _line(entry: Erasure | Revocation) -> dict[str, str]:
    if isinstance(entry, Erasure):
        named = {"erased": entry.tombstone, "key": entry.key}
    else:
        named = {"revoked": entry.key_id}
    return named | {"at": entry.at.isoformat()}


def _entry(line: bytes) -> Erasure | Revocation | None:
    """The entry of a line; None of a damaged one."""
    try:
        fields: Any = json.loads(line)
        at = datetime.fromisoformat(fields["at"]).astimezone(UTC)
        if "revoked" in fields:
            return Revocation(str(fields["revoked"]), at)
        bytes.fromhex(fields["key"])
        return Erasure(fields["key"], fields["erased"], at)
    except (ValueError, LookupError, TypeError):
        return None


def _unavailable(file: Path, what: str, error: OSError) -> StorageUnavailable:
    return StorageUnavailable(
        f"suppression list: expected {what} {file}, got {error.strerror!r}; make it so, then repeat"
    )
