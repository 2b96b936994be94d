"""Two real servers on one log: what one of them acknowledged is in the log, and the other knows."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from sensei import curriculum
from sensei.events.log import Log, open_log
from sensei.storage.database import upgrade


@pytest.fixture
def home(tmp_path: Path, planted_bundle: Path) -> Path:
    upgrade(f"sqlite:///{tmp_path / 'sensei.db'}")
    shutil.copytree(planted_bundle, tmp_path / "bundles" / planted_bundle.name)
    return tmp_path


@pytest.fixture
def log(home: Path, planted_bundle: Path) -> Iterator[Log]:
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    curriculum.store(log.engine, curriculum.load_file())
    log.set_pointer(planted_bundle.name)
    yield log
    log.close()


def test_what_one_process_acknowledged_is_in_the_next_answer_of_the_other_until_it_is_killed(
    home: Path, log: Log, serve: Callable[..., Any]
) -> None:
    with serve(SENSEI_HOME=str(home)) as writer, serve(SENSEI_HOME=str(home)) as reader:
        for topic_id, successor in [(11, 12), (13, 14), (12, 13), (14, 11)] * 3:
            response = httpx.post(
                f"{writer.url}/api/learning/mia/submit-quiz",
                json={"topic_id": topic_id, "score": 0.2, "duration": 60},
            )
            assert response.status_code == 200, response.text
            answer = reader.get("/api/user/mia/recommendations?count=1").json()
            assert answer["recommendations"][0]["topic_id"] == successor
            writer, reader = reader, writer
        before = log.count()

        acknowledged: list[str] = []
        sent_ids: list[str] = []

        def send(server: Any, name: int) -> None:
            path = f"/api/learning/learner {name % 3}/submit-quiz"
            with httpx.Client(base_url=server.url) as client, suppress(httpx.TransportError):
                for n in range(10**6):
                    event_id = f"{name}-{n}"
                    sent_ids.append(event_id)
                    quiz = {"topic_id": 11, "score": 0.5, "event_id": event_id}
                    if client.post(path, json=quiz).status_code == 200:
                        acknowledged.append(event_id)

        threads = [
            threading.Thread(target=send, args=(server, 8 * position + n))
            for position, server in enumerate((writer, reader))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 200:
            assert any(thread.is_alive() for thread in threads)
        writer.stop()  # SIGKILL
        reader.stop()
        for thread in threads:
            thread.join()
    stored_ids = [e.event_id for n in range(3) for e in log.read_learner(f"learner {n}")]
    assert log.count() == before + len(stored_ids) == before + len(set(stored_ids))
    assert set(acknowledged) <= set(stored_ids) <= set(sent_ids)
    assert len(stored_ids) - len(acknowledged) <= len(threads)


def test_erased_over_http_no_byte_below_the_home_holds_the_name_and_no_answer_brings_it_back(
    home: Path, log: Log, serve: Callable[..., Any]
) -> None:
    name = "canary-zebra"
    with serve(SENSEI_HOME=str(home)) as server:
        for minute in range(5):
            quiz = {"topic_id": 11 + minute % 4, "score": 1.0, "event_id": f"{minute}"}
            httpx.post(f"{server.url}/api/learning/{name}/submit-quiz", json=quiz)
            assert server.get(f"/api/user/{name}/recommendations").status_code == 200
        erased = httpx.delete(f"{server.url}/api/user/{name}", timeout=60)
        assert erased.status_code == 200, erased.text
        assert erased.json()["erased"]["user_interactions"] == 5
        assert server.get(f"/api/user/{name}/recommendations").json()["fallback"]
        assert server.get(f"/api/user/{name}").status_code == 404
    # The server has ended: what it still had to write is written, or refused.
    assert [p for p in home.rglob("*") if p.is_file() and name.encode() in p.read_bytes()] == []
    assert name not in server.output.read_text()
