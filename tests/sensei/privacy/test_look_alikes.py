"""One learner under several ids that look the same, as older releases stored them."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from flows.cli import doctor
from sensei.corrections.merging import merge_learners
from sensei.errors import InvalidInput, LearnerErased
from sensei.events.log import Log
from sensei.privacy.erasure import erase
from sensei.privacy.look_alikes import groups, look_alikes, stored_id
from sensei.storage import database

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"


def event(user_id: str) -> dict[str, object]:
    return {
        "user_id": user_id,
        "interaction_type": "text_read",
        "topic_id": 1,
        "timestamp": NOW - timedelta(days=1),
    }


def old(log: Log, *names: str) -> None:
    """Store learners as older releases did: under any id."""
    with database.write_transaction(log.engine) as connection:
        for number, name in enumerate(names):
            connection.execute(
                text(
                    "INSERT INTO user_interactions (event_id, user_id, interaction_type, topic_id, "
                    "timestamp, received_at) VALUES (:event, :name, 'text_read', 1, 1, 1)"
                ),
                {"name": name, "event": f"old-{number}"},
            )
            connection.execute(
                text("INSERT INTO learners (user_id, revision) VALUES (:name, 1)"), {"name": name}
            )


def test_two_spellings_of_one_name_are_one_learner(log: Log) -> None:
    log.append([event(COMPOSED), event(f" {DECOMPOSED} ")], NOW)
    assert (log.count(), len(log.read_learner(COMPOSED))) == (1, 1)
    assert groups(log.engine) == []


def test_learners_of_an_old_log_who_look_the_same_are_named(log: Log) -> None:
    old(log, COMPOSED, DECOMPOSED, "ann", " ann ", "bob", "b\u200bob", "Bob", "cem ")
    pairs = [{" ann ", "ann"}, {DECOMPOSED, COMPOSED}, {"bob", "b\u200bob"}, {"cem "}]
    assert sorted(map(sorted, groups(log.engine))) == sorted(map(sorted, pairs))
    assert look_alikes(log.engine, COMPOSED) == [DECOMPOSED]
    assert look_alikes(log.engine, "Bob") == []


def test_the_doctor_names_the_command_that_merges_into_the_normal_form(log: Log) -> None:
    old(log, COMPOSED, DECOMPOSED)
    command = r"`sensei learner merge $'Jose\U00000301' $'Jos\U000000e9'`"
    assert command in doctor.look_alikes(log).fix


def test_the_doctor_names_a_single_learner_whose_id_is_not_in_normal_form(log: Log) -> None:
    old(log, "cem ")
    finding = doctor.look_alikes(log)
    assert "1 groups of learners" in finding.said
    assert "`sensei learner merge 'cem ' 'cem'`" in finding.fix
    merge_learners(log.engine, "cem ", "cem")
    assert doctor.look_alikes(log).fix == ""


def test_merged_look_alikes_are_named_no_more(log: Log) -> None:
    old(log, " ann ", "ann")
    merge_learners(log.engine, " ann ", "ann")
    assert groups(log.engine) == []
    assert look_alikes(log.engine, "ann") == []


def test_an_old_spelling_is_found_as_it_is_stored(log: Log) -> None:
    old(log, " ann ")
    assert stored_id(log.engine, " ann ") == " ann "
    assert stored_id(log.engine, " bob ") == "bob"
    with pytest.raises(InvalidInput, match="zero-width"):
        stored_id(log.engine, "b\u200bob")


def test_who_was_erased_under_an_old_spelling_does_not_come_back(log: Log) -> None:
    old(log, " ann ")
    erase(log.engine, " ann ", ())
    with pytest.raises(LearnerErased):
        log.append([event(" ann ")], NOW)


def test_an_erase_leaves_the_look_alike(log: Log) -> None:
    old(log, " ann ", "ann")
    erase(log.engine, " ann ", ())
    assert look_alikes(log.engine, " ann ") == ["ann"]
    log.append([event("ann")], NOW)
    assert len(log.read_learner("ann")) == 2
