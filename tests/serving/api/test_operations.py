"""Findings of the monitor over HTTP: unchanged, before its first run, and without the log."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from sensei.access import key_store
from sensei.app_state import MONITORED
from sensei.errors import StorageUnavailable
from sensei.events.log import Log, open_log
from sensei.storage import database
from serving.api import examples
from serving.api.monitoring_schemas import NOTHING, Monitored
from serving.app import application
from serving.http.auth import Access
from serving.storage.learner_data import LearnerData

PATH = "/api/monitoring/metrics"
Ask = Callable[[], dict[str, Any]]


@pytest.fixture
def records(url: str) -> LearnerData:
    return LearnerData(lambda: open_log(url), ())


@pytest.fixture
def client(records: LearnerData) -> TestClient:
    served = application()
    served.state.worker = SimpleNamespace(records=records)
    return TestClient(served)


@pytest.fixture
def ask(client: TestClient) -> Ask:
    def asked() -> dict[str, Any]:
        given = client.get(PATH)
        assert given.status_code == 200, given.text
        Monitored.model_validate_json(given.content)
        found: dict[str, Any] = given.json()
        return found

    return asked


def test_before_the_monitor_ever_ran_all_is_null_and_the_note_says_what_to_run(ask: Ask) -> None:
    found = ask()
    assert "`sensei monitor`" in found.pop("note")
    assert set(found.values()) == {None}
    assert {"accuracy", "recommendation_acceptance", "user_satisfaction"} <= found.keys()
    assert {"data_drift_score", "computed_at", "measures", "alarms"} <= found.keys()


def test_what_the_monitor_wrote_is_answered_as_it_is(log: Log, ask: Ask) -> None:
    written = {k: v for k, v in examples.MONITORED.items() if k not in ("fallback", "note")}
    log.set_fact(MONITORED, written | {"more": [1]})
    assert ask() == examples.MONITORED | {"more": [1]}
    log.set_fact(MONITORED, {"accuracy": 0.5})
    found = ask()
    assert (found["accuracy"], found["log_loss"], found["note"]) == (0.5, None, None)
    log.set_fact(MONITORED, "no object")
    assert "`sensei monitor`" in ask()["note"]


def test_while_the_log_does_not_answer_the_figures_read_last_are_labelled(
    log: Log, ask: Ask, records: LearnerData, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.set_fact(MONITORED, {"accuracy": 0.5})
    assert ask()["fallback"] is None

    def down(*_: Any) -> Any:
        raise StorageUnavailable("database: down")

    monkeypatch.setattr(Log, "get_fact", down)
    found = ask()
    assert (found["accuracy"], found["fallback"]) == (0.5, "log_unreachable")
    assert found["note"].startswith("log: ")


def test_a_worker_that_never_reached_the_log_answers_nulls(tmp_path: Path) -> None:
    records = LearnerData(lambda: open_log(f"sqlite:///{tmp_path / 'absent.db'}"), ())
    found = NOTHING | asyncio.run(records.monitored())
    assert (found["fallback"], found["accuracy"]) == ("log_unreachable", None)


def test_it_is_for_operators(client: TestClient, url: str) -> None:
    engine = database.connect(url)
    database.upgrade(url)
    shown = {role: key_store.create(engine, role)[1] for role in ("platform", "operator")}
    client.app.state.access = Access(lambda: key_store.read(engine))
    statuses = {
        role: client.get(PATH, headers={"X-API-Key": key}).status_code
        for role, key in shown.items()
    }
    assert statuses == {"platform": 403, "operator": 200}
    assert client.get(PATH).status_code == 401
    engine.dispose()
