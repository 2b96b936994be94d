"""Content of the audit log: it has an entry exactly if the act happened."""

import getpass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from sensei import ab_test_state
from sensei.ab_test_state import AbTest
from sensei.access import key_store
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.events.log import Log
from sensei.privacy import audit_log, erasure
from sensei.privacy.audit_log import Actor
from sensei.storage import database
from training.release import ledger
from training.release.ledger import ROLLBACK, PlannedPromotion

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CALLER = Actor("key 1a2b3c4d", "HTTP 192.0.2.7")
EVENT = {"user_id": "mia", "interaction_type": "text_read", "topic_id": 1, "timestamp": NOW}


def entries(log: Log) -> list[tuple[Any, ...]]:
    found = audit_log.newest(log.engine, 100)
    return [(entry.action, entry.actor, dict(entry.detail)) for entry in found]


def test_an_erase_and_an_export_name_the_caller_and_the_learner_by_a_digest(log: Log) -> None:
    log.append([EVENT])
    erasure.export(log.engine, "mia", by=CALLER)
    erasure.erase(log.engine, "mia", [], by=CALLER)
    erased, exported = audit_log.newest(log.engine, 100)
    assert (erased.action, exported.action) == ("learner erased", "learner exported")
    assert {(each.actor, each.origin) for each in (erased, exported)} == {
        ("key 1a2b3c4d", "HTTP 192.0.2.7")
    }
    assert erased.subject == exported.subject
    assert (datetime.now(UTC) - erased.at).total_seconds() < 60
    with database.read_connection(log.engine) as connection:
        tombstone = connection.execute(text("SELECT tombstone FROM erased")).scalar()
        rows = connection.execute(text("SELECT * FROM audit_log")).all()
    assert erased.subject == tombstone
    assert "mia" not in str(rows)


def test_without_a_caller_the_account_of_the_process_acts(log: Log) -> None:
    erasure.export(log.engine, "mia")
    (entry,) = audit_log.newest(log.engine, 100)
    assert entry.actor == f"user {getpass.getuser()}"
    assert entry.origin.startswith("host ")


def test_keys_made_and_revoked_stand_in_it_and_a_failed_act_does_not(log: Log) -> None:
    key, _ = key_store.create(log.engine, "operator")
    key_store.revoke(log.engine, key.key_id)
    with pytest.raises(InvalidInput):
        key_store.revoke(log.engine, key.key_id)
    owner = audit_log.process_owner().name
    assert entries(log) == [
        ("key revoked", owner, {"key": key.key_id}),
        ("key created", owner, {"key": key.key_id, "role": "operator"}),
    ]


def test_promotions_rollbacks_and_trials_stand_in_it(log: Log) -> None:
    promotion = PlannedPromotion("recommendation", None, "1")
    ledger.open_lines(log, [promotion], "digest", "gate", NOW)
    ledger.close_lines(log, ledger.read(log), NOW)
    back = PlannedPromotion("recommendation", "1", "0", {"action": ROLLBACK})
    ledger.open_lines(log, [back], "digest", "Ann", NOW)
    ab_test_state.put_before_learners(log, AbTest("digest", 0.1, "difficulty", "3", "2", "now"))
    ab_test_state.stop(log)
    owner, tried = audit_log.process_owner().name, {"model": "difficulty", "version": "3"}
    versions = {"model": "recommendation", "before": "1", "version": "0", "decided_by": "Ann"}
    assert entries(log) == [
        ("trial stopped", owner, tried | {"share": 0.1}),
        ("trial started", owner, tried | {"share": 0.1}),
        ("version rolled back", owner, versions),
        (
            "version promoted",
            owner,
            versions | {"before": None, "version": "1", "decided_by": "gate"},
        ),
    ]


def test_what_cannot_be_audited_does_not_happen(log: Log) -> None:
    log.append([EVENT])
    with database.write_transaction(log.engine) as connection:
        connection.execute(text("ALTER TABLE audit_log RENAME TO lost"))
    for act in (
        lambda: erasure.export(log.engine, "mia"),
        lambda: erasure.erase(log.engine, "mia", []),
        lambda: key_store.create(log.engine, "platform"),
        lambda: ab_test_state.put_before_learners(
            log, AbTest("d", 0.1, "difficulty", "3", "2", "now")
        ),
        lambda: ledger.open_lines(
            log, [PlannedPromotion("difficulty", None, "1")], "d", "gate", NOW
        ),
    ):
        with pytest.raises(StorageUnavailable):
            act()
    assert len(log.read_learner("mia")) == 1
    assert key_store.read(log.engine) == []
    assert ab_test_state.current(log) is None
    assert ledger.read(log) == []


def test_the_newest_entries_come_first_and_no_more_than_asked_for(log: Log) -> None:
    for learner in ("ann", "bob", "cid"):
        erasure.export(log.engine, learner)
    subjects = [entry.subject for entry in audit_log.newest(log.engine, 100)]
    assert len(set(subjects)) == 3
    assert [entry.subject for entry in audit_log.newest(log.engine, 2)] == subjects[:2]
