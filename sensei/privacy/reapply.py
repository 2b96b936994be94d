"""Differences between the suppression list and a database, and their reapplication."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, inspect, select, update

from sensei.privacy import tombstones
from sensei.privacy.erasure import erase_all, personal_tables
from sensei.privacy.suppression import (
    ErasedEntry,
    Revocation,
    Suppressed,
    add_entries,
    read_list,
)
from sensei.storage import database, revisions
from sensei.storage.tables import ApiKey, ErasedLearner

_CHUNK = 5_000


@dataclass(frozen=True)
class Unapplied:
    """Entries of the suppression list that a database does not reflect.

    Attributes:
        learners: ids of erased learners who are in the database.
        tombstones: erasures under the database's own key that the database does not have.
        keys: revocations of keys that are valid in the database.
        damaged: number of lines of the list that cannot be read.
    """

    learners: frozenset[str] = frozenset()
    tombstones: tuple[ErasedEntry, ...] = ()
    keys: tuple[Revocation, ...] = ()
    damaged: int = 0

    @property
    def is_older(self) -> bool:
        """True if the database is older than the list."""
        return bool(self.learners or self.tombstones or self.keys)


def unapplied(engine: Engine, file: Path) -> Unapplied:
    """Compare a database with the suppression list.

    Raises:
        StorageUnavailable: one of the two cannot be read.
    """
    listed = read_list(file)
    with database.read_connection(engine) as connection:
        return _unapplied(connection, listed)


def reapply(engine: Engine, file: Path, folders: Sequence[Path]) -> Unapplied:
    """Erase and revoke again what the suppression list names.

    Args:
        engine: engine of the database, at the newest migration.
        file: the suppression list.
        folders: see `sensei.privacy.erasure.erase_all`.

    Returns:
        The applied entries.

    Raises:
        StorageUnavailable: some entries may not be applied; repeat the call.
    """
    listed = read_list(file)
    with database.write_transaction(engine) as connection:
        tombstones.exclude_writers(connection)
        missing = _unapplied(connection, listed)
        if missing.tombstones:
            key = tombstones.ensure_key(connection, file)
            # `erase_all` buries learners who are present: until then a repeated call finds them.
            present = {tombstones.digest(key, name) for name in missing.learners}
            rows = [
                {"tombstone": entry.tombstone, "revision": 0, "erased_at": entry.at}
                for entry in missing.tombstones
                if entry.tombstone not in present
            ]
            if rows:
                connection.execute(insert(ErasedLearner), rows)
        for revocation in missing.keys:
            named = update(ApiKey).where(ApiKey.key_id == revocation.key_id)
            connection.execute(named.values(revoked_at=revocation.at))
        if missing.is_older:
            revisions.raise_all(connection)
    if missing.learners:
        erase_all(engine, missing.learners, folders, file)
    return missing


def complete_list(engine: Engine, file: Path) -> int:
    """Add erasures and revocations that only the database knows to the suppression list.

    They were made on another machine, or before there was a list.

    Returns:
        The number of added entries.

    Raises:
        StorageUnavailable: the database cannot be read, or the list cannot be written.
    """
    listed = read_list(file)
    digests = {entry.tombstone for entry in listed.erasures}
    key_ids = {entry.key_id for entry in listed.revocations}
    with database.read_connection(engine) as connection:
        if not {"erased", "api_keys"} <= set(inspect(connection).get_table_names()):
            return 0  # an older schema
        key = tombstones.key_of(connection)
        erased = connection.execute(select(ErasedLearner.tombstone, ErasedLearner.erased_at)).all()
        revoked = select(ApiKey.key_id, ApiKey.revoked_at).where(ApiKey.revoked_at.is_not(None))
        keys = connection.execute(revoked).all()
    entries: list[ErasedEntry | Revocation] = [
        ErasedEntry(key, row.tombstone, row.erased_at)
        for row in erased
        if key is not None and row.tombstone not in digests
    ]
    entries += [Revocation(*row) for row in keys if row.key_id not in key_ids]
    add_entries(file, entries)
    return len(entries)


def _unapplied(connection: Connection, listed: Suppressed) -> Unapplied:
    own = tombstones.key_of(connection) or (listed.erasures[-1].key if listed.erasures else None)
    by_digest = {entry.tombstone: entry for entry in listed.erasures if entry.key == own}
    absent = [by_digest[digest] for digest in _absent(connection, by_digest)]
    keys = {entry.key for entry in listed.erasures}
    if not absent:  # learners with a tombstone here cannot be written about
        keys.discard(own or "")
    named = {entry.tombstone for entry in listed.erasures}
    learners = (
        frozenset(
            name
            for name in _names(connection)
            if any(tombstones.digest(key, name) in named for key in keys)
        )
        if keys
        else frozenset()
    )
    return Unapplied(learners, tuple(absent), _valid_again(connection, listed), listed.damaged)


def _absent(connection: Connection, digests: Collection[str]) -> list[str]:
    """Return the digests that have no tombstone in the database, in their order."""
    stored: set[str] = set()
    rest = iter(digests)
    while chunk := list(islice(rest, _CHUNK)):
        query = select(ErasedLearner.tombstone).where(ErasedLearner.tombstone.in_(chunk))
        stored.update(connection.execute(query).scalars())
    return [digest for digest in digests if digest not in stored]


def _names(connection: Connection) -> set[str]:
    """Return the ids of all learners with a row in any table."""
    return {
        name
        for table in personal_tables()
        for name in connection.execute(select(table.c.user_id).distinct()).scalars()
        if name is not None
    }


def _valid_again(connection: Connection, listed: Suppressed) -> tuple[Revocation, ...]:
    query = select(ApiKey.key_id).where(ApiKey.revoked_at.is_(None))
    valid = set(connection.execute(query).scalars())
    revoked = {
        revocation.key_id: revocation
        for revocation in listed.revocations
        if revocation.key_id in valid
    }
    return tuple(revoked.values())
