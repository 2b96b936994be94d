"""`sensei.db` moved, replaced or robbed of its journal under the running service."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from sensei.storage.database import upgrade

QUIZ = {"topic_id": 11, "score": 0.5}
PATH = "/api/learning/mia/submit-quiz"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "sensei.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def home(tmp_path: Path, empty: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(empty, folder / "sensei.db")
    return folder


def recorded(path: Path) -> set[str]:
    """The events that a file holds, which is whole."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {row[0] for row in connection.execute("SELECT event_id FROM user_interactions")}


class Writers:
    """Clients that send events until they are told to stop, and what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.acknowledged: dict[str, float] = {}
        self.refused: list[httpx.Response] = []
        self.stop = threading.Event()
        self._url = url
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            for n in range(10**6):
                if self.stop.is_set():
                    return
                started, event_id = time.monotonic(), f"{number}-{n}"
                with suppress(httpx.TransportError):
                    answer = client.post(PATH, json=QUIZ | {"event_id": event_id})
                    if answer.status_code == 200:
                        self.acknowledged[event_id] = started
                    else:
                        self.refused.append(answer)
                        time.sleep(0.05)

    def join(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def writing(server: Any) -> Iterator[Writers]:
    writers = Writers(server.url)
    try:
        deadline = time.monotonic() + 30
        while len(writers.acknowledged) < 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield writers
    finally:
        writers.join()


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_named_and_answered(server: Any, trouble: str) -> None:
    wait_for(lambda: trouble in " ".join(server.get("/readyz").json()["troubles"]))
    answer = server.get("/api/user/mia/recommendations")
    assert answer.status_code == 200
    assert answer.json()["fallback"] is not None
    response = httpx.post(server.url + PATH, json=QUIZ)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_a_restored_database_is_written_again_without_a_restart(
    home: Path, serve: Callable[..., Any]
) -> None:
    with serve(SENSEI_HOME=str(home), SENSEI_LOG_LEVEL="WARNING") as server:
        with writing(server) as writers:
            (home / "sensei.db").rename(home / "moved.db")
            assert_named_and_answered(server, "got none at its path")
            (home / "moved.db").rename(home / "sensei.db")
            before = len(writers.acknowledged)
            wait_for(lambda: len(writers.acknowledged) > before + 20)

            home.rename(home.with_name("elsewhere"))
            assert_named_and_answered(server, "got none at its path")
            home.with_name("elsewhere").rename(home)
            before = len(writers.acknowledged)
            wait_for(lambda: len(writers.acknowledged) > before + 20)
        wait_for(lambda: "log" not in " ".join(server.get("/readyz").json()["troubles"]))
        assert all(response.status_code == 503 for response in writers.refused)
        assert set(writers.acknowledged) <= recorded(home / "sensei.db")


@pytest.mark.slow
def test_another_file_in_the_place_gets_no_event_and_no_damage_until_a_restart(
    home: Path, empty: Path, serve: Callable[..., Any]
) -> None:
    settings = {"SENSEI_HOME": str(home), "SENSEI_LOG_LEVEL": "WARNING"}
    with serve(**settings) as server:
        with writing(server) as writers:
            (home / "kept.db").hardlink_to(home / "sensei.db")
            shutil.copy(empty, home / "backup.db")
            (home / "backup.db").replace(home / "sensei.db")
            replaced = time.monotonic()
            assert_named_and_answered(server, "got another at its path")
            time.sleep(2)
        assert max(writers.acknowledged.values()) <= replaced
        assert writers.refused
        server.stop()  # SIGKILL
    assert set(writers.acknowledged) <= recorded(home / "kept.db")
    assert recorded(home / "sensei.db") == set()
    with serve(**settings) as server:
        assert httpx.post(server.url + PATH, json=QUIZ | {"event_id": "new"}).status_code == 200
    assert recorded(home / "sensei.db") == {"new"}


@pytest.mark.slow
def test_a_journal_that_is_removed_loses_nothing_that_was_acknowledged(
    home: Path, serve: Callable[..., Any]
) -> None:
    with serve(SENSEI_HOME=str(home), SENSEI_LOG_LEVEL="WARNING") as server:
        with writing(server) as writers:
            (home / "sensei.db-wal").unlink()
            assert_named_and_answered(server, "expected the journal that was opened")
        server.stop()  # SIGKILL
    assert writers.acknowledged
    assert set(writers.acknowledged) <= recorded(home / "sensei.db")
