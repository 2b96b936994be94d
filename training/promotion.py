"""Promotions: the ledger is the truth, the serving pointer and the MLflow alias follow it.

A promotion is a `pending` line, then the pointer, then the aliases, then `done`. Every step after
the first may be repeated, so a crash anywhere is mended by carrying on from the pending line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, text, update

from sensei.database import reading, writing
from sensei.errors import InvalidInput, PromotionRefused
from sensei.log import Log
from sensei.tables import Promotion
from training.registry import Registry

PENDING, DONE = "pending", "done"


@dataclass(frozen=True)
class Move:
    """What is to happen to one model that the bundle holds.

    Attributes:
        model: `recommendation` or `difficulty`.
        expected: the champion the decision was made against; None where there was none.
        version: the one in the bundle; where it is the expected champion, that one is kept.
        reason: why, as JSON; the gate's figures, or the words of a person.
    """

    model: str
    expected: str | None
    version: str
    reason: Mapping[str, Any] = field(default_factory=dict)


def champion(log: Log, model: str) -> str | None:
    """Version that the ledger names champion, also while its promotion is pending."""
    with reading(log.engine) as connection:
        return _champion(connection, model)


def promote(
    log: Log,
    registry: Registry,
    moves: Sequence[Move],
    bundle: str,
    decided_by: str,
    now: datetime,
) -> None:
    """Make versions champions and have serving load the bundle that holds them; all or none.

    Args:
        log: its database holds ledger and pointer.
        registry: holds the versions.
        moves: one for each model in the bundle, kept or new: a bundle made before another
            promotion would otherwise take that one back.
        bundle: digest of the bundle with these versions.
        decided_by: who or what decided: `gate`, or a person's name.
        now: time of the decision.

    Raises:
        InvalidInput: a version is not in the registry, a model is named twice, or none changes.
        PromotionRefused: another promotion came first; nothing was changed.
        StorageUnavailable: a store cannot be written; `reconcile` finishes what was begun.
    """
    _check_moves(registry, moves)
    reconcile(log, registry, now)
    with writing(log.engine) as connection:
        _lock(connection)
        _check_expected(connection, moves)
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
            if move.version != move.expected:
                connection.execute(insert(Promotion).values(line))
    reconcile(log, registry, now)


def reconcile(log: Log, registry: Registry, now: datetime) -> int:
    """Finish promotions that a crash left pending: pointer, aliases, `done`.

    Returns:
        How many lines of the ledger were finished.
    """
    waiting = select(Promotion.id, Promotion.model, Promotion.to_version, Promotion.bundle)
    with reading(log.engine) as connection:
        lines = connection.execute(
            waiting.where(Promotion.status == PENDING).order_by(Promotion.id)
        ).all()
    if not lines:
        return 0
    # promote() finishes what is pending before it adds lines: all of these are of one promotion
    log.set_pointer(lines[-1].bundle)
    for line in lines:
        registry.crown(line.model, line.to_version)
    with writing(log.engine) as connection:
        connection.execute(
            update(Promotion)
            .where(Promotion.id.in_([line.id for line in lines]), Promotion.status == PENDING)
            .values(status=DONE, finished_at=now)
        )
    return len(lines)


def _lock(connection: Connection) -> None:
    """One promotion at a time; SQLite's write transaction already is exclusive."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE promotions IN SHARE ROW EXCLUSIVE MODE"))


def _champion(connection: Connection, model: str) -> str | None:
    latest = (
        select(Promotion.to_version)
        .where(Promotion.model == model, Promotion.status.in_((PENDING, DONE)))
        .order_by(Promotion.id.desc())
        .limit(1)
    )
    return connection.execute(latest).scalar()


def _check_moves(registry: Registry, moves: Sequence[Move]) -> None:
    if len({move.model for move in moves}) != len(moves):
        raise InvalidInput("promotion: expected one version per model, got two; promote one")
    if all(move.version == move.expected for move in moves):
        raise InvalidInput("promotion: expected a new version, got only champions; nothing to do")
    for move in moves:
        if not registry.exists(move.model, move.version):
            raise InvalidInput(
                f"version: expected one of {move.model} in the registry, got {move.version}; "
                "list them with `sensei models`"
            )


def _check_expected(connection: Connection, moves: Sequence[Move]) -> None:
    """Compare-and-swap: the ledger must stand as it did when the decision was made."""
    expected = {move.model: move.expected for move in moves}
    named = connection.execute(select(Promotion.model).distinct()).scalars()
    for model in sorted({*named, *expected}):
        current, before = _champion(connection, model), expected.get(model)
        if current != before:
            raise PromotionRefused(
                f"{model}: expected champion {before or 'none'}, got {current or 'none'}; "
                "compare the version with the new champion, then promote again"
            )
    if connection.execute(select(Promotion.id).where(Promotion.status == PENDING)).first():
        raise PromotionRefused(
            "promotion: expected no other under way, got a pending one; repeat in a moment"
        )
