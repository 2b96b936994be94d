"""Promotions by the gate: all of them or none, one at a time, repaired wherever they are cut."""

import threading
from datetime import UTC, datetime

import pytest

from sensei import ab_test_state
from sensei.app_state import TRIAL
from sensei.errors import IncompatibleBundle, InvalidInput, PromotionRefused
from sensei.events.log import Log, open_log
from training.release import ledger
from training.release.ledger import PlannedPromotion
from training.release.promote import promote
from training.release.reconcile import reconcile

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _promote(kept, *moves, by="gate"):
    return promote(kept.log, kept.registry, kept.folder, moves, by, NOW)


def test_ledger_pointer_and_alias_agree_after_a_promotion(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    bundle = _promote(kept, PlannedPromotion("recommendation", None, first, {"gain": 0.01}))
    assert kept.agree() == {"recommendation": first}
    kept.promote(first, second)
    assert kept.agree() == {"recommendation": second}
    (line, after) = ledger.read(kept.log)
    assert (line.bundle, line.decided_by, line.reason) == (bundle, "gate", {"gain": 0.01})
    assert line.created_at == line.finished_at == NOW
    assert (after.from_version, after.to_version) == (first, second)


def test_two_models_are_promoted_together_or_one_alone(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    quiz = kept.version("difficulty")
    _promote(
        kept,
        PlannedPromotion("recommendation", None, first),
        PlannedPromotion("difficulty", None, quiz),
    )
    assert kept.agree() == {"recommendation": first, "difficulty": quiz}
    kept.promote(first, second)
    assert kept.agree() == {"recommendation": second, "difficulty": quiz}
    assert [line.model for line in ledger.read(kept.log)].count("difficulty") == 1


def test_a_champion_that_changed_since_the_decision_refuses_the_promotion(kept):
    first, second, third = (kept.version("recommendation") for _ in range(3))
    kept.promote(None, first)
    kept.promote(first, second)
    with pytest.raises(PromotionRefused, match=f"expected champion {first}, got {second}"):
        kept.promote(first, third)
    assert kept.agree() == {"recommendation": second}


def test_a_promotion_of_the_other_model_in_between_is_not_undone(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    predecessor, new = kept.version("difficulty"), kept.version("difficulty")
    _promote(
        kept,
        PlannedPromotion("recommendation", None, first),
        PlannedPromotion("difficulty", None, predecessor),
    )
    kept.promote(predecessor, new, "difficulty")
    kept.promote(first, second)
    assert kept.agree() == {"recommendation": second, "difficulty": new}


def test_the_same_champions_make_the_same_bundle(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    bundle = kept.promote(None, first)
    kept.promote(first, second)
    assert kept.promote(second, first) == bundle


def test_what_was_promoted_before_versions_kept_bundles_is_taken_from_what_served(kept):
    first, quiz = kept.version("recommendation"), kept.version("difficulty")
    _promote(
        kept,
        PlannedPromotion("recommendation", None, first),
        PlannedPromotion("difficulty", None, quiz),
    )
    kept.registry.client.delete_model_version_tag("difficulty", quiz, "bundle")
    second = kept.version("recommendation")
    kept.promote(first, second)
    assert kept.agree() == {"recommendation": second, "difficulty": quiz}


def test_a_version_without_a_bundle_changes_nothing(kept):
    version = kept.version("recommendation", packaged=False)
    with pytest.raises(IncompatibleBundle, match=f"recommendation {version}: expected its bundle"):
        kept.promote(None, version)
    assert kept.agree() == {}


@pytest.mark.parametrize(
    "moves",
    [
        [PlannedPromotion("recommendation", None, "999")],
        [PlannedPromotion("recommendation", "1", "1")],
        [
            PlannedPromotion("recommendation", None, "1"),
            PlannedPromotion("recommendation", None, "2"),
        ],
        [],
    ],
    ids=["unknown version", "nothing changes", "twice", "nothing"],
)
def test_what_cannot_be_promoted_changes_nothing(kept, moves):
    kept.version("recommendation")
    with pytest.raises(InvalidInput):
        _promote(kept, *moves)
    assert kept.agree() == {}


class Killed(BaseException):
    """Exception that nothing catches."""


WRITES = [
    (ledger, "open_lines", 0),
    (Log, "set_pointer", 0),
    (ab_test_state, "end", 0),
    ("client", "set_registered_model_alias", 0),
    ("client", "delete_registered_model_alias", 0),
    ("client", "set_registered_model_alias", 1),
    ("client", "delete_registered_model_alias", 1),
    (ledger, "close_lines", 0),
]
"""Owner, name and index of each write in a promotion of two models."""


def _cut_off(monkeypatch, target, name, position, before):
    """Die before or after the write."""
    real, calls = getattr(target, name), []

    def write(*arguments, **named):
        calls.append(name)
        if before and len(calls) > position:
            raise Killed
        real(*arguments, **named)
        if len(calls) > position:
            raise Killed

    monkeypatch.setattr(target, name, write)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write[1]}-{write[2]}")
def test_a_promotion_that_is_cut_off_anywhere_is_repaired(kept, monkeypatch, write, before):
    predecessors = {model: kept.version(model) for model in ("recommendation", "difficulty")}
    _promote(
        kept, *(PlannedPromotion(model, None, version) for model, version in predecessors.items())
    )
    successors = {model: kept.version(model) for model in predecessors}
    kept.log.set_fact(TRIAL, {"bundle": kept.log.pointer(), "share": 0.1})
    target = kept.registry.client if write[0] == "client" else write[0]
    with monkeypatch.context() as broken:
        _cut_off(broken, target, write[1], write[2], before)
        with pytest.raises(Killed):
            _promote(
                kept,
                *(
                    PlannedPromotion(model, predecessors[model], successors[model])
                    for model in predecessors
                ),
            )
    nothing_written = write[1] == "open_lines" and before
    reconcile(kept.log, kept.registry, kept.folder, NOW)
    assert kept.agree() == (predecessors if nothing_written else successors)
    assert len(ledger.read(kept.log)) == (2 if nothing_written else 4)
    assert all(
        kept.registry.challenger(m) == (successors[m] if nothing_written else None)
        for m in successors
    )
    assert bool(kept.log.get_fact(TRIAL)) == nothing_written  # what it compared with is gone
    assert reconcile(kept.log, kept.registry, kept.folder, NOW) == []


def test_an_interrupted_promotion_is_finished_by_repeating_it(kept, monkeypatch):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    with monkeypatch.context() as broken:
        _cut_off(broken, kept.registry.client, "set_registered_model_alias", 0, True)
        with pytest.raises(Killed):
            kept.promote(first, second)
    assert kept.promote(first, second) == kept.log.pointer()
    assert kept.agree() == {"recommendation": second}
    assert len(ledger.read(kept.log)) == 2


def test_of_promotions_at_once_exactly_one_wins(kept, log_url):
    first = kept.version("recommendation")
    rivals = [kept.version("recommendation") for _ in range(4)]
    kept.promote(None, first)
    ready, won, losers = threading.Barrier(len(rivals)), [], []

    def race(version):
        log = open_log(log_url)
        move = PlannedPromotion("recommendation", first, version)
        ready.wait()
        try:
            promote(log, kept.registry, kept.folder, [move], version, NOW)
            won.append(version)
        except PromotionRefused:
            losers.append(version)
        log.close()

    threads = [threading.Thread(target=race, args=(version,)) for version in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(losers) == len(rivals) - 1
    assert kept.agree() == {"recommendation": won[0]}
