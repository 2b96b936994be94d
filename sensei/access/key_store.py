"""API keys in the database: created, revoked and read, but never changed otherwise."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine, insert, select, update

from sensei.access.keys import PREFIX, ROLES, Key
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.privacy import audit_log
from sensei.privacy.suppression import Revocation, add_entries
from sensei.storage import database
from sensei.storage.tables import ApiKey

HAD_KEYS = "had-keys"
"""Name of a marker file in SENSEI_HOME, written with the first key.

If this file exists and the database has no key, the service lets nobody in.
"""


def remember(home: Path) -> None:
    """Write the marker file of a home with keys; it outlives a lost or replaced database.

    Raises:
        StorageUnavailable: the file cannot be written.
    """
    mark = home / HAD_KEYS
    if mark.exists():
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        mark.write_text(
            "This home has keys of the service: if the database shows none, all requests are "
            "refused.\nRemove this file to open the service of this home to its own account "
            "again.\n"
        )
        mark.chmod(0o600)
    except OSError as error:
        raise StorageUnavailable(
            f"keys: expected to write {mark}, got {error.strerror}; make the folder writable"
        ) from error


def has_mark(home: Path) -> bool:
    """Tell if this home ever had a key."""
    return (home / HAD_KEYS).exists()


def create(engine: Engine, role: str, now: datetime | None = None) -> tuple[Key, str]:
    """Create a key.

    Args:
        engine: engine of the database.
        role: one of `ROLES`.
        now: time of creation; the current time by default.

    For an SQLite file, `remember` writes the marker file into the same folder.

    Returns:
        The stored key, and the key's text, which cannot be read again later.

    Raises:
        InvalidInput: there is no such role.
        StorageUnavailable: nothing was written.
    """
    if role not in ROLES:
        raise InvalidInput(f"role: expected {' or '.join(ROLES)}, got {role!r}; name one of them")
    key_id = secrets.token_hex(4)
    secret_key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    digest = sha256(secret_key.encode()).hexdigest()
    key = Key(key_id, role, digest, now or datetime.now(UTC))
    with database.write_transaction(engine) as connection:
        row = {"key_id": key_id, "role": role, "digest": digest, "created_at": key.created_at}
        connection.execute(insert(ApiKey).values(**row))
        audit_log.record(connection, audit_log.KEY_CREATED, key=key_id, role=role)
        if database.is_sqlite(engine.url) and engine.url.database:
            remember(Path(engine.url.database).parent)  # first: no key may exist without it
    return key, secret_key


def revoke(
    engine: Engine, key_id: str, now: datetime | None = None, suppression: Path | None = None
) -> None:
    """Revoke a key; its row stays.

    Args:
        engine: engine of the database.
        key_id: id of the key.
        now: time of revocation; the current time by default.
        suppression: file that outlives a restored backup, see `sensei.privacy.suppression`.

    Raises:
        InvalidInput: no valid key has this id.
        StorageUnavailable: nothing was written.
    """
    now = now or datetime.now(UTC)
    with database.write_transaction(engine) as connection:
        named = update(ApiKey).where(ApiKey.key_id == key_id, ApiKey.revoked_at.is_(None))
        revoked_count = connection.execute(named.values(revoked_at=now)).rowcount
        if revoked_count:
            audit_log.record(connection, audit_log.KEY_REVOKED, key=key_id)
        if revoked_count and suppression is not None:
            add_entries(suppression, [Revocation(key_id, now)])
    if not revoked_count:
        raise InvalidInput(
            f"key: expected the id of a valid key, got {key_id!r}; see `sensei keys list`"
        )


def read(engine: Engine) -> Sequence[Key]:
    """Return all keys, oldest first, revoked ones included.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    columns = (
        ApiKey.key_id,
        ApiKey.role,
        ApiKey.digest,
        ApiKey.created_at,
        ApiKey.revoked_at,
    )
    with database.read_connection(engine) as connection:
        rows = connection.execute(select(*columns).order_by(ApiKey.created_at, ApiKey.key_id))
        return [Key(*row) for row in rows]
