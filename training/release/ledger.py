"""Ledger of promotions: champion versions with date, decision maker and reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sensei.errors import PromotionRefused
from sensei.events.log import Log
from sensei.privacy import audit_log
from sensei.storage.database import read_connection, write_transaction
from sensei.storage.tables import Promotion

PENDING, DONE = "pending", "done"
ROLLBACK = "rollback"


@dataclass(frozen=True)
class LedgerEntry:
    """Promotion of one version, pending or done.

    Attributes:
        id: position in the ledger.
        model: `recommendation` or `difficulty`.
        from_version: the previous champion; None if there was none.
        to_version: the new champion.
        bundle: digest of the bundle that serves the new champion.
        status: `pending` until the serving pointer and the alias are updated, then `done`.
        decided_by: `gate`, a person's name, or `unknown`.
        reason: `reason` in words and, if there are any, the gate's metrics; `action` is `rollback`
            for a rollback.
        created_at: time of the decision, UTC.
        finished_at: time at which the pointer and the aliases were updated; None while pending.
    """

    id: int
    model: str
    from_version: str | None
    to_version: str
    bundle: str
    status: str
    decided_by: str
    reason: Mapping[str, Any]
    created_at: datetime
    finished_at: datetime | None

    def is_of(self, model: str, version: str) -> bool:
        """Tell if the entry promotes this version."""
        return (self.model, self.to_version) == (model, version)

    @property
    def is_rollback(self) -> bool:
        """True if the entry is a rollback."""
        return self.reason.get("action") == ROLLBACK


@dataclass(frozen=True)
class PlannedPromotion:
    """Version that is to become champion.

    Attributes:
        model: `recommendation` or `difficulty`.
        expected: the champion at the time of the decision; None if there was none.
        version: its number in the registry.
        reason: the reason; see `LedgerEntry.reason`.
    """

    model: str
    expected: str | None
    version: str
    reason: Mapping[str, Any] = field(default_factory=dict)


def read(log: Log) -> list[LedgerEntry]:
    """Return all entries, oldest first."""
    with read_connection(log.engine) as connection:
        return _lines(connection)


def champions(lines: Sequence[LedgerEntry]) -> dict[str, str]:
    """Return the champion of each model; a pending promotion counts."""
    return {line.model: line.to_version for line in lines}


def predecessor(lines: Sequence[LedgerEntry], model: str) -> str | None:
    """Return the version that the champion of a model replaced; None if the champion is the first.

    After a rollback it is the version before that one: a second rollback goes back further.
    """
    completed = [line for line in lines if line.model == model and line.status == DONE]
    promotions = [
        line
        for line in completed
        if line.to_version == completed[-1].to_version and not line.is_rollback
    ]
    return promotions[-1].from_version if promotions else None


def last_changed(lines: Sequence[LedgerEntry]) -> list[str]:
    """Return the models that the last promotion changed."""
    newest = {(line.created_at, line.bundle) for line in lines[-1:]}
    changed_models = (line.model for line in lines if (line.created_at, line.bundle) in newest)
    return list(dict.fromkeys(changed_models))


def open_lines(
    log: Log, moves: Sequence[PlannedPromotion], bundle: str, decided_by: str, now: datetime
) -> None:
    """Write a pending entry for each version that becomes champion, all or none.

    Raises:
        PromotionRefused: the champion is not the expected one, or another promotion is pending.
    """
    with write_transaction(log.engine) as connection:
        _check_expected(_lines(connection), moves)
        for move in moves:
            line = {
                "model": move.model,
                "from_version": move.expected,
                "to_version": move.version,
                "bundle": bundle,
                "status": PENDING,
                "decided_by": decided_by,
                "reason": dict(move.reason),
                "created_at": now,
            }
            connection.execute(insert(Promotion).values(line))
            _audit(connection, move, decided_by)


def _audit(connection: Connection, move: PlannedPromotion, decided_by: str) -> None:
    is_rollback = move.reason.get("action") == ROLLBACK
    audit_log.record(
        connection,
        audit_log.ROLLED_BACK if is_rollback else audit_log.PROMOTED,
        model=move.model,
        version=move.version,
        before=move.expected,
        decided_by=decided_by,
    )


def close_lines(log: Log, lines: Sequence[LedgerEntry], now: datetime) -> None:
    """Mark pending entries as done."""
    with write_transaction(log.engine) as connection:
        connection.execute(
            update(Promotion)
            .where(Promotion.id.in_([line.id for line in lines]), Promotion.status == PENDING)
            .values(status=DONE, finished_at=now)
        )


def _lines(connection: Connection) -> list[LedgerEntry]:
    rows = connection.execute(select(Promotion.__table__).order_by(Promotion.id)).mappings()
    return [LedgerEntry(**row) for row in rows]


def _check_expected(lines: Sequence[LedgerEntry], moves: Sequence[PlannedPromotion]) -> None:
    """Compare-and-swap check: the ledger must be unchanged since the decision."""
    current = champions(lines)
    for move in moves:
        if current.get(move.model) != move.expected:
            raise PromotionRefused(
                f"{move.model}: expected champion {move.expected or 'none'}, got "
                f"{current.get(move.model) or 'none'}; compare the version with the new "
                "champion, then promote again"
            )
    if any(line.status == PENDING for line in lines):
        raise PromotionRefused(
            "promotion: expected no other one to run, got a pending one; repeat in a moment"
        )
