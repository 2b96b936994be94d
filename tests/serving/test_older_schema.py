"""A service on a log at another migration: not ready, says what to do, answers reads."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from sensei.privacy.suppression import read_list
from sensei.storage.database import upgrade

STEP = "run `sensei db upgrade`"


def test_a_service_on_an_older_schema_is_not_ready_until_it_is_upgraded(
    tmp_path: Path, serve: Callable[..., Any], make_older: Callable[[str], None]
) -> None:
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    upgrade(url)
    make_older(url)
    with serve(SENSEI_HOME=str(tmp_path), awaited="/livez") as server:
        ready = server.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert STEP in ready.json()["troubles"][0]
        assert str(tmp_path) not in ready.text
        assert server.get("/healthz").json()["ready"] is False
        quiz = server.url + "/api/learning/ann/submit-quiz"
        event = {"topic_id": 1, "score": 0.5}
        for response in (
            httpx.post(quiz, json=event),
            httpx.delete(server.url + "/api/user/ann"),
            httpx.put(
                server.url + "/api/user/ann/learning-style", json={"learning_style": "visual"}
            ),
        ):
            assert response.status_code == 503
            assert STEP in response.json()["error"]
        assert server.get("/api/user/ann/recommendations").status_code == 200
        upgrade(url)
        deadline = time.monotonic() + 30
        while server.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert server.get("/readyz").json()["ready"] is True
        assert httpx.post(quiz, json=event).status_code == 200
        assert httpx.delete(server.url + "/api/user/ann").status_code == 200
    suppression = read_list(tmp_path / "suppression.jsonl")
    assert len(suppression.erasures) == 1
