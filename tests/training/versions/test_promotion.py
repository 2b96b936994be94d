from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from sensei.database import reading, upgrade
from sensei.errors import InvalidInput, PromotionRefused
from sensei.log import open_log
from sensei.tables import Promotion
from training.promotion import Move, champion, promote, reconcile

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    upgrade(url)
    log = open_log(url)
    yield log
    log.close()


@pytest.fixture
def versions(registry, logged):
    """Three fresh versions of each model."""

    def three(model):
        uri = logged.models[model]
        return [registry.register(model, logged.run_id, uri, "", {}) for _ in range(3)]

    return {model: three(model) for model in ("recommendation", "difficulty")}


def _ledger(log):
    columns = (Promotion.model, Promotion.from_version, Promotion.to_version, Promotion.status)
    with reading(log.engine) as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(Promotion.id))]


def test_ledger_pointer_and_alias_agree_after_a_promotion(log, registry, versions):
    first, second, _ = versions["recommendation"]
    assert champion(log, "recommendation") is None
    move = Move("recommendation", None, first, {"gain": 0.01})
    promote(log, registry, [move], "aaa", "gate", NOW)
    assert champion(log, "recommendation") == first == registry.champion("recommendation")
    assert log.pointer() == "aaa"
    promote(log, registry, [Move("recommendation", first, second)], "bbb", "ann", NOW)
    assert champion(log, "recommendation") == second == registry.champion("recommendation")
    assert log.pointer() == "bbb"
    assert _ledger(log) == [
        ("recommendation", None, first, "done"),
        ("recommendation", first, second, "done"),
    ]
    with reading(log.engine) as connection:
        row = connection.execute(select(Promotion.__table__)).first()
    assert (row.bundle, row.decided_by, row.reason) == ("aaa", "gate", {"gain": 0.01})
    assert row.created_at == row.finished_at == NOW


def test_two_models_move_together_and_one_may_be_kept(log, registry, versions):
    first, second, _ = versions["recommendation"]
    quiz = versions["difficulty"][0]
    both = [Move("recommendation", None, first), Move("difficulty", None, quiz)]
    promote(log, registry, both, "aaa", "gate", NOW)
    kept = [Move("recommendation", first, second), Move("difficulty", quiz, quiz)]
    promote(log, registry, kept, "bbb", "gate", NOW)
    assert champion(log, "difficulty") == quiz
    assert [row[0] for row in _ledger(log)].count("difficulty") == 1


def test_a_champion_that_changed_since_the_decision_refuses_the_promotion(log, registry, versions):
    first, second, third = versions["recommendation"]
    promote(log, registry, [Move("recommendation", None, first)], "aaa", "gate", NOW)
    promote(log, registry, [Move("recommendation", first, second)], "bbb", "gate", NOW)
    with pytest.raises(PromotionRefused, match=f"expected champion {first}, got {second}"):
        promote(log, registry, [Move("recommendation", first, third)], "ccc", "gate", NOW)
    assert log.pointer() == "bbb"
    assert len(_ledger(log)) == 2


def test_a_bundle_that_would_drop_or_take_back_the_other_model_is_refused(log, registry, versions):
    first, second, _ = versions["recommendation"]
    old, new, _ = versions["difficulty"]
    both = [Move("recommendation", None, first), Move("difficulty", None, old)]
    promote(log, registry, both, "aaa", "gate", NOW)
    alone = [Move("recommendation", first, second)]
    with pytest.raises(PromotionRefused, match="difficulty"):
        promote(log, registry, alone, "bbb", "gate", NOW)
    quiz = [Move("recommendation", first, first), Move("difficulty", old, new)]
    promote(log, registry, quiz, "ccc", "gate", NOW)
    stale = [Move("recommendation", first, second), Move("difficulty", old, old)]
    with pytest.raises(PromotionRefused, match="difficulty"):
        promote(log, registry, stale, "ddd", "gate", NOW)
    assert log.pointer() == "ccc"


@pytest.mark.parametrize("step", ["set_pointer", "crown"])
def test_a_crash_between_the_steps_is_mended(log, registry, versions, monkeypatch, step):
    first, second, _ = versions["recommendation"]
    promote(log, registry, [Move("recommendation", None, first)], "aaa", "gate", NOW)

    def crash(*args):
        raise KeyboardInterrupt

    target = log if step == "set_pointer" else registry
    with monkeypatch.context() as broken:
        broken.setattr(target, step, crash)
        with pytest.raises(KeyboardInterrupt):
            promote(log, registry, [Move("recommendation", first, second)], "bbb", "gate", NOW)
    assert _ledger(log)[-1][-1] == "pending"
    assert champion(log, "recommendation") == second  # the decision stands
    assert reconcile(log, registry, NOW) == 1
    assert log.pointer() == "bbb"
    assert registry.champion("recommendation") == second
    assert _ledger(log)[-1][-1] == "done"
    assert reconcile(log, registry, NOW) == 0


def test_rollback_is_the_same_path_backwards(log, registry, versions):
    first, second, _ = versions["recommendation"]
    promote(log, registry, [Move("recommendation", None, first)], "aaa", "gate", NOW)
    promote(log, registry, [Move("recommendation", first, second)], "bbb", "gate", NOW)
    back = Move("recommendation", second, first, {"why": "complaints"})
    promote(log, registry, [back], "aaa", "ann", NOW)
    assert champion(log, "recommendation") == first == registry.champion("recommendation")
    assert log.pointer() == "aaa"


@pytest.mark.parametrize(
    "moves",
    [
        [Move("recommendation", None, "999")],
        [Move("recommendation", "1", "1")],
        [Move("recommendation", None, "1"), Move("recommendation", None, "2")],
        [],
    ],
    ids=["unknown version", "nothing changes", "twice", "nothing"],
)
def test_what_cannot_be_promoted_changes_nothing(log, registry, versions, moves):
    with pytest.raises(InvalidInput):
        promote(log, registry, moves, "aaa", "gate", NOW)
    assert _ledger(log) == []
    assert log.pointer() is None
