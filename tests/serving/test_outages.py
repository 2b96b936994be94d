"""A store that does not answer: the service goes on answering, and recovers by itself."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from sensei import curriculum
from sensei.events.log import Log, open_log
from sensei.storage import database
from sensei.storage.database import upgrade

WARM, LIVE = "/api/user/mia/recommendations?count=2", "/livez"
QUIZ = {"topic_id": 11, "score": 0.9}
SECONDS = 6.0
"""Length of an outage."""

Outage = Callable[[], AbstractContextManager[None]]


@dataclass
class Asked:
    """Seconds and answers of one path, asked again and again."""

    seconds: list[float] = field(default_factory=list)
    answers: list[httpx.Response] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(0.99 * len(self.seconds))]

    @property
    def labels(self) -> set[str | None]:
        return {answer.json()["fallback"] for answer in self.answers}


def ask(url: str, path: Callable[[int], str], seconds: float) -> Asked:
    measured, end = Asked(), time.monotonic() + seconds
    with httpx.Client(base_url=url, timeout=60) as client:
        for number in range(10**6):
            started = time.monotonic()
            if started > end:
                return measured
            measured.answers.append(client.get(path(number)))
            measured.seconds.append(time.monotonic() - started)
            time.sleep(0.01)
    raise AssertionError


def home_of(folder: Path, bundle: Path, url: str) -> Log:
    """A home whose log holds one learner and points at a bundle."""
    upgrade(url)
    shutil.copytree(bundle, folder / "bundles" / bundle.name)
    log = open_log(url)
    curriculum.store(log.engine, curriculum.load_file())
    log.set_pointer(bundle.name)
    event = QUIZ | {"user_id": "mia", "interaction_type": "quiz_complete", "event_id": "first"}
    log.append([event])
    return log


def fresh_within(url: str, seconds: float) -> float:
    """Seconds until the log's own state is answered from again."""
    started = time.monotonic()
    while httpx.get(url + WARM, timeout=60).json()["fallback"] is not None:
        assert time.monotonic() - started < seconds, "expected to recover without a restart"
        time.sleep(0.02)
    return time.monotonic() - started


def lives_through(url: str, outage: Outage, seconds: float = SECONDS) -> dict[str, Asked]:
    """Ask all kinds of questions during an outage, and hold what is promised about them."""
    assert httpx.get(url + WARM).json()["fallback"] is None
    paths: dict[str, Callable[[int], str]] = {
        "live": lambda _: LIVE,
        "warm": lambda _: WARM,
        "cold": lambda number: f"/api/user/cold-{number}/recommendations",
        "style": lambda _: "/api/user/mia/learning-style",
    }
    with ThreadPoolExecutor(len(paths) + 1) as pool:
        with outage():
            readers = {name: pool.submit(ask, url, path, seconds) for name, path in paths.items()}
            writer = pool.submit(post, url, "held back")
            measured = {name: reader.result() for name, reader in readers.items()}
            response = writer.result()
            troubles = httpx.get(url + "/readyz").json()["troubles"]
        fresh_within(url, 10)
    report = {
        name: (len(a.seconds), round(a.p99, 4), max(a.seconds)) for name, a in measured.items()
    }
    assert {a.status_code for readings in measured.values() for a in readings.answers} == {200}
    assert max(measured["live"].p99, measured["warm"].p99) < 0.5, report
    assert max(max(readings.seconds) for readings in measured.values()) < 3, report
    assert measured["warm"].labels <= {None, "stale_learner"}
    assert measured["warm"].answers[-1].json()["fallback"] == "stale_learner"
    assert measured["warm"].answers[-1].json()["model"] == "planted"
    assert measured["cold"].answers[-1].json()["fallback"] == "log_unreachable"
    assert measured["style"].answers[-1].json()["fallback"] == "log_unreachable"
    assert any(trouble.startswith("log: ") for trouble in troubles)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.elapsed.total_seconds() < 8
    assert post(url, "held back").status_code == 200
    return measured


def post(url: str, event_id: str) -> httpx.Response:
    path = f"{url}/api/learning/mia/submit-quiz"
    return httpx.post(path, json=QUIZ | {"event_id": event_id}, timeout=60)


@pytest.fixture
def postgres_log(
    tmp_path: Path, empty_postgres_url: str, planted_bundle: Path
) -> Iterator[tuple[Log, str]]:
    log = home_of(tmp_path, planted_bundle, empty_postgres_url)
    yield log, empty_postgres_url
    log.close()


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the tables of the log, as a migration or a careless person does."""
    engine = database.connect(url)
    with engine.begin() as connection:
        tables = "user_interactions, learners, facts, serving_state, predictions, quarantine"
        connection.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """Stop all processes of the server: nobody refuses, and nobody answers."""
    folder = Path(str(database.connect(url).url.query["host"]))
    parent = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
    family = [parent, *parent.children(recursive=True)]
    try:
        for process in family:
            process.suspend()
        yield
    finally:
        for process in reversed(family):
            if process.is_running():
                process.resume()


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(locked, id="locked tables"),
        pytest.param(stopped, id="stopped server", marks=pytest.mark.slow),
    ],
)
def test_a_silent_postgresql_stops_nobody_and_leaves_nothing_behind(
    tmp_path: Path,
    postgres_log: tuple[Log, str],
    serve: Callable[..., Any],
    outage: Callable[[str], AbstractContextManager[None]],
) -> None:
    log, url = postgres_log
    with serve(SENSEI_HOME=str(tmp_path), SENSEI_DATABASE_URL=url) as server:
        lives_through(server.url, lambda: outage(url))
        worker = max(server.family(), key=lambda process: process.memory_info().rss)
        threads = worker.num_threads()
        for _ in range(3):
            with outage(url):
                ask(server.url, lambda _: WARM, 1)
            fresh_within(server.url, 10)
        assert worker.is_running()
        assert worker.num_threads() <= threads + 2
        assert connected(log) <= 16
    events = [event.event_id for event in log.read_learner("mia")]
    assert sorted(events) == ["first", "held back"]


def connected(log: Log) -> int:
    with database.read_connection(log.engine) as connection:
        query = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return int(connection.execute(text(query)).scalar_one())


HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, 8, 120)  # all of SQLite's locks of the write-ahead log
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def sqlite_locked(file: Path) -> Iterator[None]:
    """Take SQLite's locks by force from another process, for readers too."""
    command = [sys.executable, "-c", HOLD, f"{file}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield


def test_sqlite_locked_by_force_stops_nobody(
    tmp_path: Path, planted_bundle: Path, serve: Callable[..., Any]
) -> None:
    file = tmp_path / "sensei.db"
    log = home_of(tmp_path, planted_bundle, f"sqlite:///{file}")
    log.close()
    with serve(SENSEI_HOME=str(tmp_path)) as server:
        lives_through(server.url, lambda: sqlite_locked(file))
    log = open_log(f"sqlite:///{file}")
    assert [event.event_id for event in log.read_learner("mia")] == ["first", "held back"]
    log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount a small file system")
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_on_a_full_disk_new_metric_series_stop_no_worker(
    small_disk: Path, planted_bundle: Path, serve: Callable[..., Any]
) -> None:
    log = home_of(small_disk, planted_bundle, f"sqlite:///{small_disk / 'sensei.db'}")
    log.close()
    homes = {"SENSEI_HOME": str(small_disk), "BENTOML_HOME": str(small_disk / "bentoml")}
    with serve(**homes, SENSEI_SERVICE_WORKERS="2") as server:
        assert post(server.url, "before").status_code == 200
        before = {process.pid for process in server.family()}
        filler = fill(small_disk)
        for number in range(12):  # both workers, and each request a series of its own
            assert server.get(f"/api/user/{number}/recommendations").status_code == 200
            assert server.get(LIVE).status_code == 200
            assert server.get(f"/nothing/{number}").status_code == 404
            assert server.get(f"/api/learning/topic/{number}/difficulty/suggest").status_code == 422
            assert httpx.put(f"{server.url}/api/user/a/learning-style").status_code == 415
            response = post(server.url, f"full {number}")
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert server.get(WARM).json()["fallback"] is None
        metrics = server.get("/metrics")
        assert metrics.status_code == 200
        assert 'route="/api/user/{username}/learning-style",status="415"' in metrics.text
        assert {process.pid for process in server.family()} == before
        filler.unlink()
        assert post(server.url, "full 0").status_code == 200
    log = open_log(f"sqlite:///{small_disk / 'sensei.db'}")
    event_ids = [event.event_id for event in log.read_learner("mia")]
    assert sorted(event_ids) == ["before", "first", "full 0"]
    log.close()
