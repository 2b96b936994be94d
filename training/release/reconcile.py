"""Reconciliation of the ledger, the serving pointer and the MLflow aliases."""

from datetime import datetime
from pathlib import Path

from sensei.errors import IncompatibleBundle
from sensei.events.log import Log
from sensei.model_name import ModelName
from training.release import ledger
from training.release.ledger import PlannedPromotion
from training.release.promote import finish, one_at_a_time, promote_alone
from training.tracking.registry import Registry

MOVED = "its alias was moved by hand in MLflow"
"""Default reason for an alias at another version than in the ledger."""

RESTORED = "it was promoted after the restored backup, according to its alias in MLflow"
"""Reason for an alias at another version than in the ledger after a backup was restored."""

UNKNOWN = "unknown"
"""Decision maker if an alias was moved by hand, because MLflow does not record the user."""


def reconcile(
    log: Log, registry: Registry, folder: Path, now: datetime, cause: str = MOVED
) -> list[str]:
    """Complete interrupted promotions, follow aliases moved by a person, and correct the pointer.

    A `champion` alias moved in MLflow becomes an entry of the ledger, and serving follows. If no
    usable bundle of that version exists, the alias is moved back. A removed alias is restored as
    well: to change the serving version, give the alias to another version.

    Args:
        log: its database holds ledger and pointer.
        registry: holds versions and aliases.
        folder: folder of the bundles.
        now: time of the decisions made here.
        cause: reason for an alias at another version than in the ledger.

    Returns:
        One sentence per action; empty if everything agreed.

    Raises:
        StorageUnavailable: a store cannot be read or written; call again.
    """
    with one_at_a_time(log):
        changes = [
            f"{line.model}: the interrupted promotion of version {line.to_version} is complete."
            for line in finish(log, registry, now)
        ]
        for model_name in ModelName:
            changes += _follow_alias(log, registry, folder, model_name, now, cause)
        return changes + _correct_pointer(log)


def _follow_alias(
    log: Log, registry: Registry, folder: Path, model_name: str, now: datetime, cause: str
) -> list[str]:
    champion, bearer = (
        ledger.champions(ledger.read(log)).get(model_name),
        registry.champion(model_name),
    )
    if bearer == champion:
        return []
    if bearer is None:
        return _put_back(registry, model_name, champion, "its alias `champion` was removed")
    reason = {"reason": f"Reconciled: {cause}."}
    move = PlannedPromotion(model_name, champion, bearer, reason)
    try:
        promote_alone(log, registry, folder, [move], UNKNOWN, now)
    except IncompatibleBundle as error:
        moved_text = f"its alias `champion` was moved to version {bearer}, which cannot serve"
        return _put_back(registry, model_name, champion, f"{moved_text} ({error})")
    return [f"{model_name}: version {bearer} is champion: {cause}."]


def _put_back(registry: Registry, model_name: str, champion: str | None, cause: str) -> list[str]:
    """Give the alias to the ledger's champion again."""
    if champion is None:
        registry.uncrown(model_name)
        return [f"{model_name}: {cause}; the alias was removed, because there is no champion."]
    if not registry.exists(model_name, champion):
        return [
            f"{model_name}: {cause}; version {champion} serves, although MLflow no longer has it."
        ]
    registry.crown(model_name, champion)
    return [f"{model_name}: {cause}; the alias is back at version {champion}, which serves."]


def _correct_pointer(log: Log) -> list[str]:
    lines = ledger.read(log)
    if not lines or lines[-1].bundle == log.pointer():
        return []
    bundle = lines[-1].bundle
    log.set_pointer(bundle)
    return [f"serving: the pointer names bundle {bundle[:12]} again, as in the ledger."]
