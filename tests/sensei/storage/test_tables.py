from datetime import UTC, datetime

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from sensei.events.log import Log, open_log
from sensei.storage import database
from sensei.storage.db_copy import copy_database
from sensei.storage.tables import Base, to_datetime, to_microseconds


def test_the_migrations_make_what_the_tables_say(log: Log) -> None:
    with log.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(log: Log, log_url: str) -> None:
    log.set_fact("kept", 1)
    database.upgrade(log_url)
    assert log.get_fact("kept") == 1


@given(st.datetimes(timezones=st.just(UTC)))
@settings(deadline=None)
def test_a_moment_survives_storage_to_the_microsecond(moment: datetime) -> None:
    assert to_datetime(to_microseconds(moment)) == moment


def test_a_copied_database_reads_the_same_and_goes_on(
    sqlite_url: str, empty_postgres_url: str
) -> None:
    old = open_log(sqlite_url)
    event = {
        "user_id": "Zoë",
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "timestamp": "2026-01-01T00:00:00Z",
    }
    old.append([event, event | {"topic_id": 2}])
    old.quarantine_interactions({1: "odd"}, "rule")
    old.set_fact("demo", {"seed": 3})
    counts = copy_database(sqlite_url, empty_postgres_url)
    assert (counts["user_interactions"], counts["quarantine"], counts["learners"]) == (2, 1, 1)
    new = open_log(empty_postgres_url)
    assert new.read().equals(old.read())
    assert (new.get_fact("demo"), new.revision("Zoë")) == ({"seed": 3}, 2)
    assert new.append([event | {"topic_id": 3}]).inserted == 1
    assert new.append([event]).repeated == 1
    old.close()
    new.close()


def test_a_server_that_does_not_answer_is_not_waited_for_unless_the_address_says_so() -> None:
    def limit(url: str) -> object:
        return database.connect(url).url.query["connect_timeout"]

    assert limit("postgresql://host/name") == database.NETWORK["connect_timeout"]
    assert limit("postgresql://host/name?connect_timeout=60") == "60"
