"""The audit log: who erased, exported, changed keys or changed what serves; when and from where.

A learner stands in it as the keyed digest of `sensei.privacy.tombstones` only, so the entries
survive an erasure. Every entry is written in the transaction of its act, or before it where nothing
is written otherwise (an export).
"""

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from sensei.privacy import tombstones
from sensei.storage import database
from sensei.storage.tables import AuditEntry

EXPORT, ERASE = "learner exported", "learner erased"
KEY_CREATED, KEY_REVOKED = "key created", "key revoked"
PROMOTED, ROLLED_BACK = "version promoted", "version rolled back"
TRIAL_STARTED, TRIAL_STOPPED = "trial started", "trial stopped"


@dataclass(frozen=True)
class Actor:
    """Who acts.

    Attributes:
        name: `key ID`, `no key`, or `user NAME` for an account of the operating system.
        origin: from where: `HTTP ADDRESS` or `host NAME`.
    """

    name: str
    origin: str


@dataclass(frozen=True)
class Entry:
    """One act.

    Attributes:
        at: when, UTC.
        actor: who; see `Actor`.
        action: one of the constants of this module.
        subject: the keyed digest of a learner, hex; None for an act about no learner.
        detail: what else defines the act: key id and role, model and versions.
        origin: from where; see `Actor`.
    """

    at: datetime
    actor: str
    action: str
    origin: str
    subject: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def process_owner() -> Actor:
    """The account that runs this process: who acts by the command line, or by Prefect's worker."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        name = "unknown"
    return Actor(f"user {name}", f"host {socket.gethostname()}")


def record(
    connection: Connection,
    action: str,
    by: Actor | None = None,
    *,
    learner: str | None = None,
    **detail: Any,
) -> None:
    """Write an entry in the transaction of the act.

    Args:
        connection: in a writing transaction.
        action: one of the constants of this module.
        by: who acts; by default the owner of the process.
        learner: whom it is about; only a keyed digest is kept.
        detail: what else defines the act; JSON.
    """
    actor = by or process_owner()
    subject = None
    if learner is not None:
        subject = tombstones.digest(tombstones.ensure_key(connection), learner)
    entry = Entry(datetime.now(UTC), actor.name, action, actor.origin, subject, detail)
    connection.execute(insert(AuditEntry).values(**vars(entry)))


def newest(engine: Engine, limit: int) -> Sequence[Entry]:
    """The newest entries, newest first.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    table = AuditEntry.__table__
    columns = [table.c[name] for name in Entry.__dataclass_fields__]
    query = select(*columns).order_by(table.c.id.desc()).limit(limit)
    with database.read_connection(engine) as connection:
        return [Entry(**row) for row in connection.execute(query).mappings()]
