"""The revision of a learner, read over a connection that stays open."""

from pathlib import Path

import pytest

from sensei.errors import StorageUnavailable
from sensei.events.log import open_log
from sensei.storage.database import connect, upgrade
from sensei.storage.revisions import Revisions


def quiz(user_id: str, number: int) -> dict[str, object]:
    return {
        "event_id": str(number),
        "user_id": user_id,
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 1.0,
        "timestamp": "2026-01-05T12:00:00Z",
    }


def test_each_reading_sees_what_was_written_before_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    reads_what_is_written(url)


def test_postgresql_too_also_after_its_connections_were_cut(empty_postgres_url: str) -> None:
    revisions = reads_what_is_written(empty_postgres_url)
    engine = connect(empty_postgres_url)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    assert revisions.of(["mia"]) == {"mia": 2}
    engine.dispose()
    revisions.close()


def reads_what_is_written(url: str) -> Revisions:
    upgrade(url)
    log, revisions = open_log(url), Revisions(connect(url))
    assert revisions.of(["mia"]) == {}
    for number in (1, 2):
        log.append([quiz("mia", number), quiz("noa", 10 + number)])
        assert revisions.of(["mia", "leo", "noa", "mia"]) == {"mia": number, "noa": number}
    log.close()
    return revisions


def test_what_cannot_be_read_is_said_and_tried_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    revisions = Revisions(connect(url))
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="expected"):
            revisions.of(["mia"])
    upgrade(url)
    assert revisions.of(["mia"]) == {}
