"""Manual promotion and rollback by a reviewer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sensei.errors import InvalidInput, PromotionRefused
from sensei.events.log import Log
from training.release import ledger
from training.release.ledger import DONE, ROLLBACK, LedgerEntry, PlannedPromotion
from training.release.promote import promote
from training.tracking.registry import CHALLENGER, Registry


@dataclass(frozen=True)
class ManualDecision:
    """Decision of a reviewer to promote a version or to roll back.

    Attributes:
        reviewer: name of the person, for the ledger.
        reason: in the person's words; may be empty.
        model_names: the model to promote, or the models to roll back together; empty to roll back
            those of the last promotion.
        version: number of the version to promote, or `challenger`; None for a rollback.
    """

    reviewer: str
    reason: str
    model_names: tuple[str, ...] = ()
    version: str | None = None

    def numbered(self, registry: Registry) -> "ManualDecision":
        """Replace `challenger` by its number, because a promotion removes that alias.

        Raises:
            InvalidInput: the model has no challenger.
        """
        if self.version != CHALLENGER:
            return self
        (model_name,) = self.model_names
        challenger = registry.challenger(model_name)
        if challenger is None:
            raise InvalidInput(
                f"version: expected a challenger of {model_name}, got none; "
                "name a number, as `sensei models` lists them"
            )
        return replace(self, version=challenger)


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


def change_champions(
    log: Log, registry: Registry, folder: Path, decision: ManualDecision, now: datetime
) -> ManualPromotion:
    """Carry out a reviewer's decision; a repeated call after an interruption completes it.

    Args:
        log: its database holds ledger and pointer.
        registry: holds the versions.
        folder: folder of the bundles.
        decision: a promotion or a rollback.
        now: time of the decision.

    Raises:
        InvalidInput: there is no reviewer or no such version, or the version is champion already.
        IncompatibleBundle: no usable bundle of a version exists; nothing was changed.
        PromotionRefused: there is no previous champion, or another promotion came first; nothing
            was changed.
        StorageUnavailable: a store cannot be written; `reconcile` completes a started promotion.
    """
    reviewer = decision.reviewer.strip()
    if not reviewer:
        raise InvalidInput(
            "reviewer: expected the name of the person who decides, got none; "
            "the ledger records it with the decision"
        )
    # only completed entries, so that repeating an interrupted decision has the same start
    lines = [line for line in ledger.read(log) if line.status == DONE]
    moves = _moves(decision.numbered(registry), lines)
    return ManualPromotion(moves, promote(log, registry, folder, moves, reviewer, now))


def _moves(decision: ManualDecision, lines: Sequence[LedgerEntry]) -> tuple[PlannedPromotion, ...]:
    reason = {"reason": decision.reason.strip()}
    if decision.version is not None:
        (model_name,) = decision.model_names
        expected = ledger.champions(lines).get(model_name)
        return (PlannedPromotion(model_name, expected, decision.version, reason),)
    model_names = decision.model_names or ledger.last_changed(lines)
    if not model_names:
        raise PromotionRefused(
            "rollback: expected a champion, got none yet; a rollback needs an earlier one"
        )
    reason["action"] = ROLLBACK
    return tuple(_back(lines, model_name, reason) for model_name in model_names)


def _back(
    lines: Sequence[LedgerEntry], model_name: str, reason: Mapping[str, str]
) -> PlannedPromotion:
    current = ledger.champions(lines).get(model_name)
    predecessor = ledger.predecessor(lines, model_name)
    if predecessor is None:
        raise PromotionRefused(
            f"{model_name}: expected a champion before {current or 'the first'}, got none; "
            "a rollback needs an earlier one"
        )
    return PlannedPromotion(model_name, current, predecessor, reason)
