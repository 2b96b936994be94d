"""Tombstones of erased learners: keyed digests that block queued writes about them.

The key is a fact of the database, created with the first erasure. Without the key, nobody can test
names against a digest.
"""

import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

import orjson
from sqlalchemy import Connection

from sensei.errors import LearnerErased
from sensei.privacy.suppression import read_list
from sensei.storage.sql import insert_or_ignore, signs
from sensei.storage.tables import AppStateRow

_KEY = "erasure_key"
_LOCK = 7_366_729  # any number that nobody else locks in this database
_CHUNK = 5_000  # names per statement: databases limit its parameters


def ensure_key(connection: Connection, suppression: Path | None) -> str:
    """Return the key of this database in hex; store one first if there is none.

    Args:
        connection: connection in a writing transaction.
        suppression: the suppression list; a database without a key adopts the key of its last
            erasure. A random key is created if there is no list, or if it has no erasure.

    Raises:
        StorageUnavailable: the suppression list cannot be read.
    """
    key = key_of(connection)
    if key is None:
        listed = read_list(suppression).erasures if suppression else ()
        key = listed[-1].key if listed else secrets.token_hex(32)
        insert_or_ignore(connection, AppStateRow, [{"name": _KEY, "value": key}])
        key = key_of(connection)
        assert key is not None, "it was stored a line above"
    return key


def digest(key: str, user_id: str) -> str:
    """Return the tombstone of a learner under a key in hex."""
    return hmac.digest(bytes.fromhex(key), user_id.encode(), "sha256").hex()


def erased(connection: Connection, user_ids: Iterable[str]) -> set[str]:
    """Return the erased ones among some learners; call it before writing about them.

    No erasure starts until the transaction of `connection` ends. A later erasure therefore includes
    what the transaction writes.
    """
    join_writers(connection)
    key = key_of(connection)
    if key is None:
        return set()
    names = {digest(key, user_id): user_id for user_id in user_ids}
    cursor, erased_ids, digests = connection.connection.cursor(), set(), list(names)
    for start in range(0, len(digests), _CHUNK):
        chunk = digests[start : start + _CHUNK]
        values = signs(connection, len(chunk))
        cursor.execute(f"SELECT tombstone FROM erased WHERE tombstone IN ({values})", chunk)  # noqa: S608
        erased_ids |= {names[tombstone] for (tombstone,) in cursor.fetchall()}
    return erased_ids


def refuse_erased(connection: Connection, user_ids: Iterable[str]) -> None:
    """Refuse to write about erased learners; see `erased`.

    Raises:
        LearnerErased: at least one of them was erased.
    """
    if erased(connection, user_ids):
        raise LearnerErased(
            "user_id: expected a learner who was not erased, got an erased one; "
            "give a new account a new id"
        )


def join_writers(connection: Connection) -> None:
    """Let no erasure or merge start until the transaction ends; wait for one that runs.

    Call it before former ids of learners are read: a merge that commits in between would be missed.
    """
    _lock(connection, "pg_advisory_xact_lock_shared")


def exclude_writers(connection: Connection) -> None:
    """Exclude all writers about learners until the transaction ends; wait for those that write."""
    _lock(connection, "pg_advisory_xact_lock")


def _lock(connection: Connection, function: str) -> None:
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        connection.connection.cursor().execute(f"SELECT {function}({_LOCK})")


def key_of(connection: Connection) -> str | None:
    """Return the key of this database in hex; None before the first erasure."""
    cursor = connection.connection.cursor()  # the driver's own: every single write calls this
    cursor.execute(f"SELECT value FROM facts WHERE name = '{_KEY}'")  # noqa: S608
    row = cursor.fetchone()
    if row is None:
        return None
    value = row[0] if connection.dialect.name == "postgresql" else orjson.loads(row[0])
    return str(value)
