"""The suppression list: erased learners and revoked keys, in a file outside the database.

A restored backup lacks later erasures and revocations; this append-only file has them. Learners
are listed by the keyed digests of `sensei.privacy.tombstones`, with the digest's key. The key is
needed because a backup older than the first erasure has no key.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensei.errors import StorageUnavailable
from sensei.storage.sqlite_copy import sync_folder

FILE = "suppression.jsonl"
"""Name of the file under `SENSEI_HOME`."""

MODE = 0o600
"""File mode: only the owner may read it, as the key allows testing names against the digests."""


@dataclass(frozen=True)
class ErasedEntry:
    """Erasure of a learner.

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
    """Revocation of an API key of the service.

    Attributes:
        key_id: id of the key.
        at: time of the revocation, UTC.
    """

    key_id: str
    at: datetime


@dataclass(frozen=True)
class Suppressed:
    """The list as read from the file; `damaged` counts unreadable lines."""

    erasures: tuple[ErasedEntry, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    damaged: int = 0


def read_list(file: Path) -> Suppressed:
    """Read the list; an absent file is an empty list.

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
        tuple(entry for entry in entries if isinstance(entry, ErasedEntry)),
        tuple(entry for entry in entries if isinstance(entry, Revocation)),
        entries.count(None),
    )


def add_entries(file: Path, entries: Iterable[ErasedEntry | Revocation]) -> None:
    """Append entries and flush them to disk before the return.

    Raises:
        StorageUnavailable: the entries may not be stored.
    """
    text = "".join(json.dumps(_line(entry)) + "\n" for entry in entries)
    if not text:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        is_new = not file.exists()
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, MODE)
        try:
            # A line that a crash cut off must not merge with the next one.
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


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _line(entry: ErasedEntry | Revocation) -> dict[str, str]:
    if isinstance(entry, ErasedEntry):
        named = {"erased": entry.tombstone, "key": entry.key}
    else:
        named = {"revoked": entry.key_id}
    return named | {"at": entry.at.isoformat()}


def _entry(line: bytes) -> ErasedEntry | Revocation | None:
    """Return the entry of a line; None if the line is damaged."""
    try:
        fields: Any = json.loads(line)
        at = datetime.fromisoformat(fields["at"]).astimezone(UTC)
        if "revoked" in fields:
            return Revocation(str(fields["revoked"]), at)
        bytes.fromhex(fields["key"])
        return ErasedEntry(fields["key"], fields["erased"], at)
    except (ValueError, LookupError, TypeError):
        return None


def _unavailable(file: Path, what: str, error: OSError) -> StorageUnavailable:
    return StorageUnavailable(
        f"suppression list: expected {what} {file}, got {error.strerror!r}; make it so, then repeat"
    )
