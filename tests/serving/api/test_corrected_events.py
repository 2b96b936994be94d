"""An operator voids and corrects events; the service answers by the truth."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from sensei.access import key_store
from sensei.events.log import Log, open_log
from sensei.privacy import audit_log
from serving.app import application
from serving.http.auth import Access
from serving.storage.learner_data import LearnerData

PATH = "/api/interactions/mia/quiz%2F17"
QUIZ = {
    "event_id": "quiz/17",
    "user_id": "mia",
    "interaction_type": "quiz_complete",
    "topic_id": 1,
    "score": 0.2,
    "timestamp": "2026-01-05T12:00:00Z",
}


@pytest.fixture
def client(url: str, log: Log, tmp_path: Path) -> TestClient:
    log.append([QUIZ])
    served = application()
    records = LearnerData(lambda: open_log(url), (tmp_path / "runs",))
    served.state.worker = SimpleNamespace(records=records)
    return TestClient(served)


def scores(log: Log) -> list[float | None]:
    return [event.score for event in log.read_learner("mia")]


def test_a_correction_counts_and_says_if_it_was_known(client: TestClient, log: Log) -> None:
    first, again = (
        client.post(f"{PATH}/correct", json={"score": 0.9, "reason": "regraded"}) for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (200, 200)
    assert (first.json()["changed"], again.json()["changed"]) == (True, False)
    event: dict[str, Any] = first.json()["event"]
    assert (event["event_id"], event["score"], event["topic_id"]) == ("quiz/17", 0.9, 1)
    assert scores(log) == [0.9]


def test_a_void_event_counts_no_more(client: TestClient, log: Log) -> None:
    answers = [client.post(f"{PATH}/void?reason=test").json() for _ in range(2)]
    assert answers[0] == {"state": "void", "changed": True, "event": None}
    assert not answers[1]["changed"]
    assert scores(log) == []
    assert client.post(f"{PATH}/correct", json={"score": None}).json()["event"]["score"] is None
    assert scores(log) == [None]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"score": 85}, "score"),
        ({}, "correction: expected one of"),
        ({"reason": "why"}, "correction: expected one of"),
        ({"user_id": "bob"}, "user_id"),
        ({"timestamp": "2999-01-01"}, "timestamp"),
        ({"metadata": []}, "metadata"),
        ({"interaction_type": None}, "interaction_type"),
    ],
)
def test_a_correction_that_breaks_a_rule_is_refused(
    client: TestClient, log: Log, body: dict[str, Any], message: str
) -> None:
    refused = client.post(f"{PATH}/correct", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"].startswith(message)
    assert scores(log) == [0.2]


def test_an_unknown_event_is_404(client: TestClient) -> None:
    unknown = client.post("/api/interactions/mia/other/void")
    assert unknown.status_code == 404
    assert unknown.json()["error"].startswith("event_id: expected an event of this learner")


def test_only_an_operator_corrects_and_is_audited(client: TestClient, log: Log) -> None:
    shown = {role: key_store.create(log.engine, role)[1] for role in ("platform", "operator")}
    client.app.state.access = Access(lambda: key_store.read(log.engine))  # type: ignore[attr-defined]
    answers = {
        role: client.post(f"{PATH}/void", headers={"X-API-Key": key}).status_code
        for role, key in shown.items()
    }
    assert answers == {"platform": 403, "operator": 200}
    entry = audit_log.newest(log.engine, 1)[0]
    assert entry.action == audit_log.VOIDED
    assert entry.actor == f"key {shown['operator'].split('_')[1]}"


def test_an_erased_learner_is_410(client: TestClient) -> None:
    client.delete("/api/user/mia")
    assert client.post(f"{PATH}/void").status_code == 410
