"""Manual promotion and rollback by a reviewer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sensei.errors import InvalidInput, PromotionRefused
from sensei.events.log import Log
from training.release import ledger
from training.release.ledger import DONE, ROLLBACK, LedgerEntry, PlannedPromotion
from training.release.promote import promote
from training.tracking.registry import CHALLENGER, Registry


@dataclass(frozen=True)
class ManualPromotion:
    """Result of a manual promotion or rollback.

    Attributes:
        moves: model, previous champion and new version of each change.
        bundle: digest of the serving bundle.
    """

    moves: tuple[PlannedPromotion, ...]
    bundle: str

    def __str__(self) -> str:
        return "; ".join(
            f"{move.model}: version {move.version} is champion"
            + (f" in place of {move.expected}" if move.expected else ", the first one")
            for move in self.moves
        )


def promote_version(
    log: Log,
    registry: Registry,
    folder: Path,
    model: str,
    version: str,
    reviewer: str,
    reason: str,
    now: datetime,
) -> ManualPromotion:
    """Make a version champion by a reviewer's decision.

    Args:
        log: its database holds ledger and pointer.
        registry: holds the versions.
        folder: folder of the bundles.
        model: `recommendation` or `difficulty`.
        version: its number, or `challenger`.
        reviewer: name of the person, for the ledger.
        reason: in the person's words; may be empty.
        now: time of the decision.

    Raises:
        InvalidInput: there is no reviewer or no such version, or the version is champion already.
        IncompatibleBundle: no usable bundle of the version exists; nothing was changed.
        PromotionRefused: another promotion came first; nothing was changed.
        StorageUnavailable: a store cannot be written; `reconcile` completes a started promotion.
    """
    who = _named(reviewer)
    expected = ledger.champions(_done(log)).get(model)
    move = PlannedPromotion(
        model, expected, number_of(registry, model, version), {"reason": reason.strip()}
    )
    return ManualPromotion((move,), promote(log, registry, folder, [move], who, now))


def roll_back(
    log: Log,
    registry: Registry,
    folder: Path,
    models: Sequence[str],
    reviewer: str,
    reason: str,
    now: datetime,
) -> ManualPromotion:
    """Make the previous champions champions again.

    Args:
        log: its database holds ledger and pointer.
        registry: holds the versions.
        folder: folder of the bundles.
        models: models to roll back together; empty for those of the last promotion.
        reviewer: name of the person, for the ledger.
        reason: in the person's words; may be empty.
        now: time of the decision.

    Raises:
        InvalidInput: there is no reviewer.
        IncompatibleBundle: no usable bundle of the previous version exists; nothing was changed.
        PromotionRefused: there is no previous champion, or another promotion came first; nothing
            was changed.
        StorageUnavailable: a store cannot be written; `reconcile` completes a started promotion.
    """
    who = _named(reviewer)
    lines = _done(log)
    names = models or ledger.last_changed(lines)
    if not names:
        raise PromotionRefused(
            "rollback: expected a champion, got none yet; a rollback needs an earlier one"
        )
    why = {"reason": reason.strip(), "action": ROLLBACK}
    moves = [_back(lines, model, why) for model in names]
    return ManualPromotion(tuple(moves), promote(log, registry, folder, moves, who, now))


def _back(lines: Sequence[LedgerEntry], model: str, why: Mapping[str, str]) -> PlannedPromotion:
    current, before = ledger.champions(lines).get(model), ledger.predecessor(lines, model)
    if before is None:
        raise PromotionRefused(
            f"{model}: expected a champion before {current or 'the first'}, got none; "
            "a rollback needs an earlier one"
        )
    return PlannedPromotion(model, current, before, why)


def _named(reviewer: str) -> str:
    if not reviewer.strip():
        raise InvalidInput(
            "reviewer: expected the name of the person who decides, got none; "
            "the ledger records it with the decision"
        )
    return reviewer.strip()


def _done(log: Log) -> list[LedgerEntry]:
    """Return the completed entries, so that repeating an interrupted command has the same start."""
    return [line for line in ledger.read(log) if line.status == DONE]


def number_of(registry: Registry, model: str, version: str) -> str:
    """Return the number of a version, given as a number or as `challenger`.

    Raises:
        InvalidInput: the model has no challenger.
    """
    if version != CHALLENGER:
        return version
    waiting = registry.challenger(model)
    if waiting is None:
        raise InvalidInput(
            f"version: expected a challenger of {model}, got none; "
            "name a number, as `sensei models` lists them"
        )
    return waiting
