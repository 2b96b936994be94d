"""Events that break a rule are refused with 422 and kept in the quarantine."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from sensei.errors import StorageUnavailable
from sensei.events.log import Log, open_log
from sensei.events.refusals import HTTP, recent_refusals
from sensei.privacy.erasure import erase
from sensei.storage.tables import Quarantined
from serving.app import application
from serving.storage.event_writer import EventWriter
from serving.storage.learner_data import LearnerData

QUIZ = "/api/learning/mia/submit-quiz"
EVENTS = "/api/interactions"


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[TestClient]:
    served = application()
    served.state.worker = SimpleNamespace(
        recorder=EventWriter(lambda: open_log(url)),
        records=LearnerData(lambda: open_log(url), (tmp_path / "runs",)),
    )
    with TestClient(served) as running:  # one event loop for all requests
        yield running
    served.state.worker.recorder.close()
    served.state.worker.records.close()


def quarantined(log: Log, count: int) -> list[Any]:
    """Wait until a number of rows is stored; return the rows."""
    until = time.monotonic() + 30
    query = select(
        Quarantined.user_id, Quarantined.source, Quarantined.reason, Quarantined.row
    ).order_by(Quarantined.id)
    while True:
        with log.engine.connect() as connection:
            found = list(connection.execute(query))
        if len(found) >= count or time.monotonic() > until:
            return found
        time.sleep(0.02)


def event(learner: str, score: Any) -> dict[str, Any]:
    return {"user_id": learner, "interaction_type": "quiz_complete", "topic_id": 5, "score": score}


def test_a_refused_quiz_is_kept_with_its_learner_and_its_reason(
    client: TestClient, log: Log
) -> None:
    refused = client.post(QUIZ, json={"topic_id": 5, "score": 85})
    assert refused.status_code == 422
    ((user_id, source, reason, row),) = quarantined(log, 1)
    assert (user_id, source, reason) == ("mia", HTTP, refused.json()["error"])
    assert row == {"user_id": "mia", "topic_id": 5, "score": 85}


def test_only_the_events_of_a_list_that_broke_a_rule_are_kept(client: TestClient, log: Log) -> None:
    sent = [event("ann", 0.5), event("bob", 85), event("cid", -1)]
    assert client.post(EVENTS, json=sent).status_code == 422
    assert {row.user_id for row in quarantined(log, 2)} == {"bob", "cid"}
    assert client.post(EVENTS, json=event("dan", 85)).status_code == 422
    assert client.post(EVENTS, json=["no event"]).status_code == 422
    assert {row.user_id for row in quarantined(log, 4)} == {"bob", "cid", "dan", None}
    assert log.is_empty()


def test_the_same_event_refused_again_counts_once(client: TestClient, log: Log) -> None:
    for _ in range(3):
        assert client.post(EVENTS, json=event("bob", 85)).status_code == 422
    assert client.post(EVENTS, json=event("cid", 85)).status_code == 422
    assert [row.user_id for row in quarantined(log, 2)] == ["bob", "cid"]
    assert recent_refusals(log.engine).http == 2


def test_of_an_erased_learner_nothing_is_kept(client: TestClient, log: Log) -> None:
    erase(log.engine, "bob", ())
    assert client.post(EVENTS, json=[event("bob", 85), event("cid", 85)]).status_code == 422
    assert [row.user_id for row in quarantined(log, 1)] == ["cid"]


def test_a_question_with_an_invalid_parameter_is_no_refused_event(
    client: TestClient, log: Log
) -> None:
    assert client.get("/api/user/mia/recommendations?count=x").status_code == 422
    assert client.post(QUIZ, json={"topic_id": 5, "score": 85}).status_code == 422
    assert len(quarantined(log, 1)) == 1


def test_a_refusal_is_answered_the_same_while_the_log_does_not_answer(
    client: TestClient, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: Any) -> None:
        raise StorageUnavailable("database: down")

    monkeypatch.setattr(LearnerData, "quarantine", down)
    assert client.post(QUIZ, json={"topic_id": 5, "score": 85}).status_code == 422
    assert quarantined(log, 0) == []
