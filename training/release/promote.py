"""Promotions: the ledger has precedence; the serving pointer and the MLflow alias follow it.

A promotion writes a `pending` entry, then the pointer, then the aliases, then `done`. Every step
after the first is idempotent, so a promotion that crashed is continued from its pending entry.
Promotions and repairs hold one lock, because the alias is in another store than the ledger. Each
promotion ends a running A/B test, because the compared champion no longer serves.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from sensei import ab_test_state
from sensei.errors import InvalidInput
from sensei.events.log import Log
from sensei.storage.locks import exclusive_lock
from training.release import bundles, ledger
from training.release.ledger import PENDING, LedgerEntry, PlannedPromotion
from training.tracking.registry import Registry


def one_at_a_time(log: Log) -> AbstractContextManager[None]:
    """Return the lock for changes of a champion."""
    return exclusive_lock(log.engine, "promotion")


def promote(
    log: Log,
    registry: Registry,
    folder: Path,
    moves: Sequence[PlannedPromotion],
    decided_by: str,
    now: datetime,
) -> str:
    """Make versions champions and have serving load them together with the other champions.

    A repeated call after an interruption completes the same promotion.

    Args:
        log: its database holds ledger and pointer.
        registry: holds the versions.
        folder: folder of the bundles.
        moves: the models that change; all of them or none.
        decided_by: `gate`, or a person's name.
        now: time of the decision.

    Returns:
        Digest of the serving bundle.

    Raises:
        InvalidInput: a version is not in the registry, a model is named twice, or none changes.
        IncompatibleBundle: no usable bundle of one of the versions exists; nothing was changed.
        PromotionRefused: another promotion came first; nothing was changed.
        StorageUnavailable: a store cannot be written; `reconcile` completes a started promotion.
    """
    _check_moves(registry, moves)
    with one_at_a_time(log):
        interrupted = finish(log, registry, now)
        if {(line.model, line.from_version, line.to_version) for line in interrupted} == {
            (move.model, move.expected, move.version) for move in moves
        }:
            return interrupted[0].bundle
        return promote_alone(log, registry, folder, moves, decided_by, now)


def promote_alone(
    log: Log,
    registry: Registry,
    folder: Path,
    moves: Sequence[PlannedPromotion],
    decided_by: str,
    now: datetime,
) -> str:
    """Promote without taking the lock; the caller holds it, and no promotion is pending."""
    bundle = bundles.bundle_with(log, registry, folder, {m.model: m.version for m in moves})
    ledger.open_lines(log, moves, bundle, decided_by, now)
    finish(log, registry, now)
    return bundle


def finish(log: Log, registry: Registry, now: datetime) -> list[LedgerEntry]:
    """Complete a pending promotion, if there is one; the caller holds the lock.

    Returns:
        Its entries of the ledger.
    """
    pending = [line for line in ledger.read(log) if line.status == PENDING]
    if pending:
        log.set_pointer(pending[-1].bundle)
        ab_test_state.end(log)
        for line in pending:
            _crown(registry, line)
        ledger.close_lines(log, pending, now)
    return pending


def _crown(registry: Registry, line: LedgerEntry) -> None:
    """Move the alias, unless a person has moved it since: that is a later decision."""
    bearer = registry.champion(line.model)
    is_expected_bearer = bearer in (None, line.from_version, line.to_version)
    if is_expected_bearer and registry.exists(line.model, line.to_version):
        registry.crown(line.model, line.to_version)


def _check_moves(registry: Registry, moves: Sequence[PlannedPromotion]) -> None:
    if not moves:
        raise InvalidInput("promotion: expected a version, got none; name one")
    if len({move.model for move in moves}) != len(moves):
        raise InvalidInput("promotion: expected one version per model, got two; promote one")
    for move in moves:
        if not registry.exists(move.model, move.version):
            raise InvalidInput(
                f"version: expected one of {move.model} in the registry, got {move.version}; "
                "list them with `sensei models`"
            )
        if move.version == move.expected:
            raise InvalidInput(
                f"version: expected another one of {move.model} than the champion, got "
                f"{move.version}, which is champion already; nothing to do"
            )
