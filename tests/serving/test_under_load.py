"""A minute of reads and writes on 64 connections: the log holds what four workers acknowledged."""

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from shutil import copytree
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from sensei import curriculum
from sensei.access import key_store
from sensei.events.log import Log, open_log

pytestmark = pytest.mark.slow
CONNECTIONS, WORKERS, SECONDS, LEARNERS = 64, 4, 60.0, 97

logger = logging.getLogger(__name__)


class Clients:
    """Connections that ask and tell until told to stop, each waiting for its answer.

    Attributes:
        begun: ids of the events that were sent.
        acknowledged: ids of those that were answered with 200.
        seen: number of answers by status; of failed connections by their error.
        slowest: seconds of the slowest answer.
        is_over: the server was ended: what was not acknowledged will never be.
    """

    def __init__(self, server: Any, key: str) -> None:
        self.begun: set[str] = set()
        self.acknowledged: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.slowest = 0.0
        self.is_over = False
        self._url = server.url
        self._headers = {"Authorization": f"Bearer {key}"}

    async def run(self, seconds: float, in_between: Callable[[], None] = lambda: None) -> None:
        """Ask and tell for so long; `in_between` is called after half of it."""
        deadline = time.monotonic() + seconds
        asking = [asyncio.create_task(self._one(n, deadline)) for n in range(CONNECTIONS)]
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(in_between)
        await asyncio.gather(*asking)

    async def _one(self, number: int, deadline: float) -> None:
        random = Random(number)
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=30
        ) as client:
            turn = 0
            while time.monotonic() < deadline and not self.is_over:
                turn += 1
                learner = f"learner-{random.randrange(LEARNERS)}"
                events = [
                    {
                        "event_id": f"{number}-{turn}-{position}",
                        "user_id": learner,
                        "interaction_type": "quiz_complete",
                        "topic_id": 11 + random.randrange(4),
                        "score": random.random(),
                    }
                    for position in range(random.choice((0, 1, 3)))
                ]
                await self._ask(client, learner, events)

    async def _ask(self, client: httpx.AsyncClient, learner: str, events: list[Any]) -> None:
        """One question, or events that are sent again until they are acknowledged."""
        ids = {event["event_id"] for event in events}
        self.begun |= ids
        while True:
            status = await self._answered(client, learner, events)
            self.seen[status] += 1
            if status == "200":
                self.acknowledged |= ids
            if status == "200" or self.is_over:
                return
            await asyncio.sleep(0.05)

    async def _answered(self, client: httpx.AsyncClient, learner: str, events: list[Any]) -> str:
        started = time.monotonic()
        try:
            if events:
                answer = await client.post("/api/interactions", json=events)
            else:
                answer = await client.get(f"/api/user/{learner}/recommendations")
        except httpx.TransportError as error:
            return type(error).__name__
        self.slowest = max(self.slowest, time.monotonic() - started)
        return str(answer.status_code)

    def report(self, name: str) -> None:
        """For whoever runs it with `--log-cli-level INFO`."""
        request_count, events = sum(self.seen.values()), len(self.acknowledged)
        logger.info("%s: %s requests in %s s: %s", name, request_count, SECONDS, dict(self.seen))
        logger.info("%s events acknowledged, slowest answer %.2f s", events, self.slowest)

    def worker(self) -> int:
        """The process of a worker."""
        health = httpx.get(f"{self._url}/healthz", headers=self._headers, timeout=30)
        return int(health.json()["worker"])


@pytest.fixture
def log(log_url: str) -> Iterator[Log]:
    """On each backend in turn."""
    opened_log = open_log(log_url)
    yield opened_log
    opened_log.close()


@pytest.fixture
def service(
    log: Log, log_url: str, tmp_path: Path, planted_bundle: Path, serve: Callable[..., Any]
) -> Iterator[tuple[Any, Clients]]:
    """Four workers on either backend, and who asks them; a key is needed."""
    copytree(planted_bundle, tmp_path / "bundles" / planted_bundle.name)
    curriculum.store(log.engine, curriculum.load_file())
    log.set_pointer(planted_bundle.name)
    _, key = key_store.create(log.engine, "operator")
    settings = {"SENSEI_HOME": str(tmp_path), "SENSEI_DATABASE_URL": log_url}
    with serve(
        SENSEI_SERVICE_WORKERS=str(WORKERS), SENSEI_LOG_LEVEL="WARNING", **settings
    ) as server:
        yield server, Clients(server, key)


def stored_event_ids(log: Log) -> list[str]:
    with log.engine.connect() as connection:
        return list(connection.execute(text("SELECT event_id FROM user_interactions")).scalars())


def test_after_a_minute_of_reads_and_writes_the_log_holds_exactly_what_was_acknowledged(
    log: Log, service: tuple[Any, Clients]
) -> None:
    _, clients = service
    asyncio.run(clients.run(SECONDS))
    clients.report(log.engine.url.get_backend_name())
    assert clients.seen.keys() <= {"200", "503"}
    stored_ids = stored_event_ids(log)
    assert len(stored_ids) == len(set(stored_ids))
    assert set(stored_ids) == clients.acknowledged == clients.begun


def test_after_kill_9_in_the_middle_the_log_holds_all_that_was_acknowledged_and_nothing_twice(
    log: Log, service: tuple[Any, Clients]
) -> None:
    """First one worker is killed, and its place is taken by another; at three quarters all are."""
    server, clients = service

    def kill() -> None:
        before = len(clients.acknowledged)
        os.kill(clients.worker(), signal.SIGKILL)
        time.sleep(SECONDS / 4)
        assert len(clients.acknowledged) > before, "the others went on"
        assert server.process.poll() is None
        server.stop()
        clients.is_over = True

    asyncio.run(clients.run(SECONDS, kill))
    clients.report(f"{log.engine.url.get_backend_name()}, killed")
    stored_ids = stored_event_ids(log)
    assert len(stored_ids) == len(set(stored_ids))
    assert clients.acknowledged <= set(stored_ids) <= clients.begun
    assert len(set(stored_ids) - clients.acknowledged) <= 3 * CONNECTIONS, (
        "those under way at the end"
    )
