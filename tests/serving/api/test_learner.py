"""Permission to export and erase a learner; the audit log names the caller."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from sensei.access import key_store
from sensei.events.log import Log, open_log
from sensei.privacy import audit_log
from sensei.storage import database
from serving.app import application
from serving.http.auth import Access
from serving.storage.learner_data import LearnerData

NOON = "2026-01-05T12:00:00Z"
PATH = "/api/user/mia"


@pytest.fixture
def client(url: str, log: Log, tmp_path: Path) -> TestClient:
    log.append(
        [{"user_id": "mia", "interaction_type": "text_read", "topic_id": 1, "timestamp": NOON}]
    )
    served = application()
    records = LearnerData(lambda: open_log(url), (tmp_path / "runs",))
    served.state.worker = SimpleNamespace(records=records)
    return TestClient(served)


@pytest.fixture
def keys(client: TestClient, log: Log) -> dict[str, dict[str, str]]:
    """The header of each role."""
    shown = {role: key_store.create(log.engine, role)[1] for role in ("platform", "operator")}
    client.app.state.access = Access(lambda: key_store.read(log.engine))
    return {role: {"X-API-Key": key} for role, key in shown.items()}


def test_only_an_operator_erases_unless_a_setting_lets_the_platform(
    client: TestClient, log: Log, keys: dict[str, dict[str, str]]
) -> None:
    refused = client.delete(PATH, headers=keys["platform"])
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("key: expected one of role operator, got platform")
    assert len(log.read_learner("mia")) == 1
    assert client.delete(PATH, headers=keys["operator"]).status_code == 200
    assert log.read_learner("mia") == []
    client.app.state.platform_may_erase = True
    assert client.delete(PATH, headers=keys["platform"]).status_code == 200
    assert client.delete(PATH).status_code == 401


def test_an_export_and_an_erase_are_audited_by_the_id_of_the_key(
    client: TestClient, log: Log, keys: dict[str, dict[str, str]]
) -> None:
    assert client.get(PATH, headers=keys["platform"]).status_code == 200
    assert client.delete(PATH, headers=keys["operator"]).status_code == 200
    erased, exported, *_ = audit_log.newest(log.engine, 10)
    ids = {role: header["X-API-Key"].split("_")[1] for role, header in keys.items()}
    assert (exported.action, exported.actor) == (audit_log.EXPORT, f"key {ids['platform']}")
    assert (erased.action, erased.actor) == (audit_log.ERASE, f"key {ids['operator']}")
    assert exported.origin == "HTTP testclient"


def test_without_keys_the_audit_log_says_so(client: TestClient, log: Log) -> None:
    assert client.get(PATH).status_code == 200
    assert audit_log.newest(log.engine, 1)[0].actor == "no key"


def test_what_cannot_be_audited_is_not_exported(client: TestClient, log: Log) -> None:
    with database.write_transaction(log.engine) as connection:
        connection.execute(text("ALTER TABLE audit_log RENAME TO lost"))
    refused = client.get(PATH)
    assert refused.status_code == 503
    assert "user_interactions" not in refused.text
