"""Decisions of a person: promote this version, go back to the one before."""

import shutil
from datetime import UTC, datetime

import pytest

from sensei.errors import IncompatibleBundle, InvalidInput, PromotionRefused, StorageUnavailable
from training.release import ledger
from training.release.bundles import bundle_with
from training.release.ledger import PlannedPromotion
from training.release.manual_promotion import ManualDecision, change_champions
from training.release.promote import promote

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def log_url(sqlite_url):
    """SQLite only: decisions are the same on each backend; the ledger's own tests use both."""
    return sqlite_url


def _promote(kept, version, model="recommendation", reviewer="Ann", reason="looks right"):
    decision = ManualDecision(reviewer, reason, (model,), version)
    return change_champions(kept.log, kept.registry, kept.folder, decision, NOW)


def _back(kept, *models, reviewer="Ann"):
    decision = ManualDecision(reviewer, "complaints", models)
    return change_champions(kept.log, kept.registry, kept.folder, decision, NOW)


def test_the_challenger_becomes_champion_and_the_ledger_names_reviewer_and_reason(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    changed = _promote(kept, "challenger", reviewer=" Ann ")
    assert kept.agree() == {"recommendation": second}
    assert str(changed) == f"recommendation: version {second} is champion in place of {first}"
    last = ledger.read(kept.log)[-1]
    assert (last.decided_by, last.reason) == ("Ann", {"reason": "looks right"})
    assert last.bundle == changed.bundle


def test_a_waiting_version_is_promoted_with_the_champions_promoted_since(kept):
    waiting = kept.version("difficulty")
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    kept.promote(first, second)
    _promote(kept, waiting, "difficulty")
    assert kept.agree() == {"recommendation": second, "difficulty": waiting}


@pytest.mark.parametrize("reviewer", ["", "  "])
def test_nobody_decides_nothing(kept, reviewer):
    version = kept.version("recommendation")
    with pytest.raises(InvalidInput, match="reviewer: expected the name"):
        _promote(kept, version, reviewer=reviewer)
    with pytest.raises(InvalidInput, match="reviewer: expected the name"):
        _back(kept, reviewer=reviewer)
    assert kept.agree() == {}


def test_what_cannot_become_champion_is_refused_with_the_reason(kept):
    first = kept.version("recommendation")
    kept.promote(None, first)
    with pytest.raises(InvalidInput, match="expected a challenger of recommendation, got none"):
        _promote(kept, "challenger")
    with pytest.raises(InvalidInput, match=f"{first}, which is champion already"):
        _promote(kept, first)
    with pytest.raises(InvalidInput, match="in the registry, got 999"):
        _promote(kept, "999")
    bare = kept.version("recommendation", packaged=False)
    with pytest.raises(IncompatibleBundle, match=f"recommendation {bare}: expected its bundle"):
        _promote(kept, bare)
    assert kept.agree() == {"recommendation": first}
    assert len(ledger.read(kept.log)) == 1


def test_going_back_twice_leads_to_the_one_before_not_forward_again(kept):
    first, second, third = (kept.version("recommendation") for _ in range(3))
    kept.promote(None, first)
    before = kept.promote(first, second)
    kept.promote(second, third)
    assert _back(kept, "recommendation").bundle == before
    assert kept.agree() == {"recommendation": second}
    assert ledger.read(kept.log)[-1].is_rollback
    assert ledger.read(kept.log)[-1].decided_by == "Ann"
    _back(kept)
    assert kept.agree() == {"recommendation": first}
    with pytest.raises(PromotionRefused, match=f"expected a champion before {first}, got none"):
        _back(kept)
    _promote(kept, third)
    _back(kept)
    assert kept.agree() == {"recommendation": first}


def test_what_changed_together_goes_back_together_unless_one_is_named(kept):
    predecessors = {model: kept.version(model) for model in ("recommendation", "difficulty")}
    new = {model: kept.version(model) for model in predecessors}
    for day, versions, earlier in ((1, predecessors, {}), (2, new, predecessors)):
        moves = [
            PlannedPromotion(model, earlier.get(model), version)
            for model, version in versions.items()
        ]
        decided_at = NOW.replace(day=day)
        promote(kept.log, kept.registry, kept.folder, moves, "gate", decided_at)
    _back(kept, "difficulty")
    assert kept.agree() == predecessors | {"recommendation": new["recommendation"]}
    _promote(kept, new["difficulty"], "difficulty")
    _back(kept)
    assert kept.agree() == predecessors | {"recommendation": new["recommendation"]}
    _back(kept, "recommendation")
    assert kept.agree() == predecessors


def test_without_any_champion_there_is_nothing_to_go_back_to(kept):
    for models in ((), ("difficulty",)):
        with pytest.raises(PromotionRefused, match="a rollback needs an earlier one"):
            _back(kept, *models)


def test_a_missing_bundle_is_reported_before_anything_is_written(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    kept.promote(first, second)
    removed = bundle_with(kept.log, kept.registry, kept.folder, {"recommendation": first})
    shutil.rmtree(kept.folder / removed)
    with pytest.raises(IncompatibleBundle, match=f"recommendation {first}: expected its bundle"):
        _back(kept)
    assert kept.agree() == {"recommendation": second}
    assert len(ledger.read(kept.log)) == 2


@pytest.mark.parametrize("decide", ["promote", "roll back"])
def test_a_decision_that_was_cut_off_is_finished_by_taking_it_again(kept, monkeypatch, decide):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    if decide == "roll back":
        kept.promote(first, second)

    def take():
        return _promote(kept, second) if decide == "promote" else _back(kept)

    def unreachable(*_):
        raise StorageUnavailable("MLflow")

    with monkeypatch.context() as broken:
        broken.setattr(kept.registry, "crown", unreachable)
        with pytest.raises(StorageUnavailable):
            take()
    assert take().bundle == kept.log.pointer()
    assert kept.agree() == {"recommendation": second if decide == "promote" else first}
