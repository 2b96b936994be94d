"""The reads over HTTP, answered by the engine with the planted bundle."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.history import FOLD_VERSION
from sensei import curriculum
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DIFFICULTY_INPUTS
from sensei.errors import StorageUnavailable
from sensei.events.log import Log
from serving.api import response_schemas
from serving.app import application
from serving.engine.engine import Engine
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model

Quiz = Callable[..., dict[str, Any]]
NOW = int(datetime(2026, 1, 5, 13, tzinfo=UTC).timestamp() * 1e6)
FOUR = {each.name: 0.5 for each in DIFFICULTY_INPUTS}

READS = [
    ("/api/user/mia/recommendations", response_schemas.Recommendations),
    ("/api/user/mia/recommendations?count=50&exclude_mastered=true&only_new=true"
     "&respect_prerequisites=true", response_schemas.Recommendations),
    ("/api/learning/topic/11/difficulty/suggest?username=mia", response_schemas.Difficulty),
    ("/api/learning/topic/999/difficulty/suggest?username=nobody", response_schemas.Difficulty),
    ("/api/user/mia/learning-path", response_schemas.LearningPath),
    (
        "/api/user/mia/learning-path?domain=Cryptography&steps=3&format=lab",
        response_schemas.LearningPath,
    ),
    ("/api/user/nobody/learning-path?topic_id=80&steps=50", response_schemas.LearningPath),
]  # fmt: skip


@pytest.fixture
def client(log: Log, planted_bundle: Path, quiz: Quiz) -> TestClient:
    log.append([quiz("mia", 11, 0), quiz("mia", 12, 1, 0.3)])
    served = application()
    served.state.engine = Engine(
        LearnerCache(lambda: log, lambda: 0.0),
        Model.of(Bundle.load(planted_bundle, FOLD_VERSION)),
        Catalogue.of(curriculum.load_file().topics),
        lambda: NOW,
    )
    return TestClient(served)


@pytest.mark.parametrize(("path", "model"), READS)
@pytest.mark.parametrize("state", ["whole", "no model", "no log"])
def test_every_read_is_answered_as_documented_whatever_is_missing(
    client: TestClient, path: str, model: Any, state: str
) -> None:
    engine = client.app.state.engine
    if state == "no model":
        engine.swap(model=None)
    if state == "no log":

        def down() -> Log:
            raise StorageUnavailable("database: down")

        engine.learners = LearnerCache(down, lambda: 0.0)
    given = client.get(path)
    assert given.status_code == 200, given.text
    found = model.model_validate_json(given.content)
    if state == "no model":
        assert found.fallback == "no_model"
    if state == "no log":
        assert found.fallback == "log_unreachable"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/user/mia/recommendations?only_new=maybe", "only_new: expected true or false"),
        ("/api/user/mia/learning-path?steps=0", "steps: expected a whole number from 1 to 50"),
        ("/api/user/mia/learning-path?format=song", "format: expected one of text, video, lab"),
        ("/api/user/mia/learning-path?domain=Cats", "domain: expected one of the catalogue"),
        ("/api/user/mia/learning-path?domain=Cryptography&topic_id=1", "domain: expected one goal"),
        ("/api/user/mia/learning-path?topic_id=-1", "topic_id: expected a whole number"),
    ],
)
def test_what_cannot_be_read_is_refused(client: TestClient, path: str, said: str) -> None:
    refused = client.get(path)
    assert refused.status_code == 422
    assert refused.json()["error"].startswith(said)
    assert re.search(r", got .+; ", refused.json()["error"])


def test_the_list_is_as_long_as_asked_and_says_why(client: TestClient) -> None:
    found = client.get("/api/user/mia/recommendations?count=2").json()["recommendations"]
    assert found[0]["topic_id"] == 13
    assert found[0]["reasons"][0]["cause"] == "last_topic"
    assert len(found) == 2


def test_inputs_are_predicted_or_refused(client: TestClient) -> None:
    given = client.post("/predict", json={"features": FOUR, "model": "difficulty"})
    response_schemas.PredictResponse.model_validate_json(given.content)
    assert client.post("/predict", json={"features": list(FOUR.values())}).json() == given.json()
    refused = client.post("/predict", json={"features": {"cats": 1}})
    assert (refused.status_code, "cats too many" in refused.json()["error"]) == (422, True)
    client.app.state.engine.swap(model=None)
    nothing = client.post("/predict", json={"features": FOUR})
    assert (nothing.status_code, nothing.headers["retry-after"]) == (503, "60")
    assert "sensei train" in nothing.json()["error"]
