"""Keys that cannot be read open nothing, whatever is down when the real service starts."""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from sensei.access import key_store
from sensei.events.log import open_log

EXPORT = "/api/user/mia"


def prepare(url: str, quiz: Callable[..., Any]) -> dict[str, str]:
    """Put a learner and an operator's key into a database; the header that holds the key."""
    log = open_log(url)
    log.append([quiz("mia", 11, 1)])
    _, secret = key_store.create(log.engine, "operator")
    log.close()
    return {"X-API-Key": secret}


@contextmanager
def hammering(url: str, statuses: Counter[int]) -> Iterator[None]:
    """Export and erase a learner without a key all the time, as four callers."""
    stopping = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not stopping.is_set():
                for method in ("GET", "DELETE"):
                    try:
                        statuses[client.request(method, EXPORT).status_code] += 1
                    except httpx.TransportError:
                        time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def hold_closed(server: Any, key: dict[str, str], restore: Callable[[], None]) -> None:
    """While it is down all are refused; once it is up, whoever has no key; nobody else."""
    statuses: Counter[int] = Counter()
    with hammering(server.url, statuses):
        wait_until(lambda: statuses.total() > 200)
        assert set(statuses) == {503}
        response = httpx.get(server.url + EXPORT, headers=key)
        assert response.status_code == 503
        assert response.headers["retry-after"]
        ready = server.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["keys"]["state"] == "unread"
        assert ready.json()["troubles"][0].startswith("keys: expected to read them")
        assert server.get("/livez").status_code == 200
        restore()
        wait_until(lambda: statuses[401] > 200)
    assert set(statuses) == {503, 401}, statuses
    export = httpx.get(server.url + EXPORT, headers=key)
    assert (export.status_code, len(export.json()["held"]["user_interactions"])) == (200, 1)


def hold_open(server: Any, key: dict[str, str]) -> None:
    """While it is down again, the keys read last count, and `/readyz` says how old they are."""
    path = "/api/user/mia/recommendations"
    wait_until(lambda: server.get("/readyz").json()["keys"]["read_seconds"] > 3)
    keys = server.get("/readyz").json()["keys"]
    assert (keys["state"], keys["max_age_seconds"]) == ("valid", 86_400)
    assert httpx.get(server.url + path, headers=key).status_code == 200
    assert server.get(path).status_code == 401


def test_a_file_that_is_absent_at_the_start_opens_nothing(
    home: Path, log: Any, quiz: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    key = prepare(str(log.engine.url), quiz)
    log.close()
    away = home / "away"
    away.mkdir()

    def move(source: Path, to: Path) -> None:
        for file in sorted(source.glob("sensei.db*"), reverse=True):  # the main file last
            file.rename(to / file.name)

    move(home, away)
    with serve(SENSEI_HOME=str(home), SENSEI_LOG_LEVEL="WARNING", awaited="/livez") as server:
        hold_closed(server, key, lambda: move(away, home))
        move(home, away)
        hold_open(server, key)


@pytest.mark.slow
def test_a_server_that_is_down_at_the_start_opens_nothing(
    tmp_path: Path, empty_postgres_url: str, quiz: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    key = prepare(empty_postgres_url, quiz)
    control = Postgres(empty_postgres_url)
    control.stop()
    environment = {"SENSEI_DATABASE_URL": empty_postgres_url, "SENSEI_LOG_LEVEL": "WARNING"}
    try:
        with serve(SENSEI_HOME=str(tmp_path), **environment, awaited="/livez") as server:
            hold_closed(server, key, control.start)
            control.stop()
            hold_open(server, key)
    finally:
        control.start()


class Postgres:
    """Stops and starts the session's server."""

    def __init__(self, url: str) -> None:
        folder = Path(str(make_url(url).query["host"]))
        data = folder / "data"
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self._folder = folder
        self._owner = data.stat().st_uid if os.geteuid() == 0 else None
        self._command = [str(binaries / "pg_ctl"), "-w", "-D", str(data), "-l", "/dev/null"]

    def start(self) -> None:
        if not (self._folder / "data" / "postmaster.pid").exists():
            self._run("-o", f"-k {self._folder} -c listen_addresses='' -F", "start")

    def stop(self) -> None:
        self._run("-m", "fast", "stop")

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [*self._command, *arguments],
            check=True,
            cwd=self._folder,
            user=self._owner,
            stdout=subprocess.DEVNULL,
        )
