"""The audit log: erasures, exports, and changes of keys or of the served version.

Each entry has the actor, the time and the origin. A learner appears only as the keyed digest of
`sensei.privacy.tombstones`, so the entries survive an erasure. Every entry is written in the
transaction of its act. An act that writes nothing else (an export) is recorded before it starts.
"""

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from sensei.storage import database
from sensei.storage.tables import AuditEntry

EXPORT, ERASE = "learner exported", "learner erased"
VOIDED, CORRECTED = "event voided", "event corrected"
UNDONE, MERGED = "import undone", "learners merged"
KEY_CREATED, KEY_REVOKED = "key created", "key revoked"
PROMOTED, ROLLED_BACK = "version promoted", "version rolled back"
TRIAL_STARTED, TRIAL_STOPPED = "trial started", "trial stopped"


@dataclass(frozen=True)
class Actor:
    """Person or key that performs an act.

    Attributes:
        name: `key ID`, `no key`, or `user NAME` for an account of the operating system.
        origin: origin of the act: `HTTP ADDRESS` or `host NAME`.
    """

    name: str
    origin: str


@dataclass(frozen=True)
class Entry:
    """Audit log entry of one act.

    Attributes:
        at: time of the act, UTC.
        actor: name of the actor; see `Actor`.
        action: one of the constants of this module.
        subject: the keyed digest of a learner, hex; None if the act concerns no learner.
        detail: further facts of the act: key id and role, model and versions.
        origin: origin of the act; see `Actor`.
    """

    at: datetime
    actor: str
    action: str
    origin: str
    subject: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def process_owner() -> Actor:
    """Return the account of this process: the actor of the command line and of Prefect's worker."""
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
    subject: str | None = None,
    **detail: Any,
) -> None:
    """Write an entry in the transaction of the act.

    Args:
        connection: connection in a writing transaction.
        action: one of the constants of this module.
        by: the actor; by default the owner of the process.
        subject: keyed digest of the learner that the act concerns, if any.
        detail: further facts of the act, as JSON values.
    """
    actor = by or process_owner()
    entry = Entry(datetime.now(UTC), actor.name, action, actor.origin, subject, detail)
    connection.execute(insert(AuditEntry).values(**vars(entry)))


def newest(engine: Engine, limit: int) -> Sequence[Entry]:
    """Return at most `limit` newest entries, newest first.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    table = AuditEntry.__table__
    columns = [table.c[name] for name in Entry.__dataclass_fields__]
    query = select(*columns).order_by(table.c.id.desc()).limit(limit)
    with database.read_connection(engine) as connection:
        return [Entry(**row) for row in connection.execute(query).mappings()]
