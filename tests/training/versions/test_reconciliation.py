"""Ledger, serving pointer and aliases agree again, whatever a person did to them."""

import shutil
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete

from sensei.events.log import Log
from sensei.storage.database import write_transaction
from sensei.storage.tables import Promotion, ServingState
from training.release import ledger, promote
from training.release.reconcile import RESTORED, reconcile

NOW = datetime(2024, 6, 2, 12, tzinfo=UTC)


@pytest.fixture
def log_url(sqlite_url):
    """SQLite only: repairs are the same on each backend; the ledger's own tests use both."""
    return sqlite_url


def _reconcile(kept):
    return reconcile(kept.log, kept.registry, kept.folder, NOW)


def _alias(kept, version, model="recommendation"):
    """Set the champion alias, as a person does in MLflow's UI."""
    kept.registry.client.set_registered_model_alias(model, "champion", version)


def test_where_all_agree_nothing_happens(kept):
    assert _reconcile(kept) == []
    kept.promote(None, kept.version("recommendation"))
    assert _reconcile(kept) == []
    assert len(ledger.read(kept.log)) == 1


def test_an_alias_moved_by_hand_is_a_promotion_by_unknown_and_serving_follows(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    quiz = kept.version("difficulty")
    kept.promote(None, first)
    kept.promote(None, quiz, "difficulty")
    _alias(kept, second)
    (sentence,) = _reconcile(kept)
    assert (
        sentence
        == f"recommendation: version {second} is champion: its alias was moved by hand in MLflow."
    )
    assert kept.agree() == {"recommendation": second, "difficulty": quiz}
    last = ledger.read(kept.log)[-1]
    assert (last.decided_by, last.from_version) == ("unknown", first)
    assert "moved by hand" in last.reason["reason"]
    assert kept.registry.challenger("recommendation") is None
    assert _reconcile(kept) == []


def test_a_promotion_after_the_restored_backup_is_followed_and_reported(kept):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    serving = kept.log.pointer()
    kept.promote(first, second)
    with write_transaction(kept.log.engine) as connection:  # yesterday's ledger and pointer
        connection.execute(delete(Promotion).where(Promotion.to_version == second))
    kept.log.set_pointer(serving)
    (sentence,) = reconcile(kept.log, kept.registry, kept.folder, NOW, RESTORED)
    assert "promoted after the restored backup" in sentence
    assert kept.agree() == {"recommendation": second}
    assert "backup" in ledger.read(kept.log)[-1].reason["reason"]


def test_the_first_champion_may_be_made_by_hand_and_both_models_at_once(kept):
    versions = {model: kept.version(model) for model in ("recommendation", "difficulty")}
    for model, version in versions.items():
        _alias(kept, version, model)
    assert len(_reconcile(kept)) == 2
    assert kept.agree() == versions


def test_an_alias_at_a_version_without_a_bundle_is_put_back(kept):
    first, bare = kept.version("recommendation"), kept.version("recommendation", packaged=False)
    kept.promote(None, first)
    _alias(kept, bare)
    (sentence,) = _reconcile(kept)
    assert f"to version {bare}, which cannot serve" in sentence
    assert f"the alias is back at version {first}" in sentence
    assert kept.agree() == {"recommendation": first}
    assert len(ledger.read(kept.log)) == 1


def test_an_alias_at_such_a_version_is_taken_away_where_there_is_no_champion(kept):
    _alias(kept, kept.version("recommendation", packaged=False))
    (sentence,) = _reconcile(kept)
    assert "the alias was removed" in sentence
    assert kept.agree() == {}


def test_an_alias_that_was_removed_is_put_back(kept):
    first = kept.version("recommendation")
    kept.promote(None, first)
    kept.registry.uncrown("recommendation")
    (sentence,) = _reconcile(kept)
    assert "was removed; the alias is back" in sentence
    assert kept.agree() == {"recommendation": first}


def test_a_champion_deleted_in_mlflow_is_reported_and_continues_to_serve(kept):
    first = kept.version("recommendation")
    kept.promote(None, first)
    kept.registry.client.delete_model_version("recommendation", first)
    (sentence,) = _reconcile(kept)
    assert f"version {first} serves, although MLflow no longer has it" in sentence
    assert kept.serves() == {"recommendation": first}


@pytest.mark.parametrize("pointer", [None, "f" * 64])
def test_a_pointer_that_differs_from_the_ledger_is_corrected(kept, pointer):
    first = kept.version("recommendation")
    kept.promote(None, first)
    with write_transaction(kept.log.engine) as connection:
        connection.execute(delete(ServingState))
    if pointer:
        kept.log.set_pointer(pointer)
    _reconcile(kept)
    assert kept.agree() == {"recommendation": first}


def test_an_alias_moved_during_an_interrupted_promotion_decides_last(kept, monkeypatch):
    first, second, third = (kept.version("recommendation") for _ in range(3))
    kept.promote(None, first)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Log, "set_pointer", die)
        with pytest.raises(KeyboardInterrupt):
            kept.promote(first, second)
    _alias(kept, third)
    assert len(_reconcile(kept)) == 2
    assert kept.agree() == {"recommendation": third}
    moves = [(line.from_version, line.to_version) for line in ledger.read(kept.log)]
    assert moves == [(None, first), (first, second), (second, third)]


def test_a_promotion_by_hand_that_is_cut_off_is_finished_by_the_next(kept, monkeypatch):
    first, second = kept.version("recommendation"), kept.version("recommendation")
    kept.promote(None, first)
    _alias(kept, second)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(promote.ledger, "close_lines", die)
        with pytest.raises(KeyboardInterrupt):
            _reconcile(kept)
    assert "interrupted" in _reconcile(kept)[0]
    assert kept.agree() == {"recommendation": second}


def test_a_missing_bundle_of_the_other_champion_stops_a_promotion_by_hand(kept):
    first, quiz = kept.version("recommendation"), kept.version("difficulty")
    kept.promote(None, quiz, "difficulty")
    shutil.rmtree(kept.folder / kept.log.pointer())
    _alias(kept, first)
    (sentence,) = _reconcile(kept)
    assert f"difficulty {quiz}: expected its bundle" in sentence
    assert kept.registry.champion("recommendation") is None
