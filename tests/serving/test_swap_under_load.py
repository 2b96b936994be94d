"""Two real workers, asked without a pause while the bundle is swapped and rolled back."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle, write
from sensei.events.log import Log

pytestmark = pytest.mark.slow
LEARNERS = 20
WORKERS = 2


class Clients:
    """Threads that ask until told to stop, each over a connection that it keeps."""

    def __init__(self, url: str, count: int = 4) -> None:
        self.url = url
        self.seen: Counter[tuple[int, str | None, str | None]] = Counter()
        self.predictions: set[tuple[str, str]] = set()
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(count)]

    def _ask(self, first: int) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            number = first
            while not self._stop.is_set():
                number += 1
                try:
                    answer = client.get(f"/api/user/learner-{number % LEARNERS}/recommendations")
                    content = answer.json()
                    self.seen[answer.status_code, content["version"], content["fallback"]] += 1
                    self.predictions.add((content["prediction_id"], content["version"]))
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    self.errors.append(repr(error))

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def wait_until_all_serve(url: str, digest: str) -> None:
    """Wait until every worker says that it serves a bundle.

    An idle worker takes every connection that comes, so several requests are sent at once.
    """
    serving: dict[int, str] = {}
    deadline = time.monotonic() + 120
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < deadline:
            for answer in pool.map(lambda _: httpx.get(f"{url}/healthz", timeout=60), range(8)):
                health = answer.json()
                serving[health["worker"]] = health["champion"]["bundle"]
            if len(serving) == WORKERS and set(serving.values()) == {digest}:
                return
    raise AssertionError(f"expected all workers to serve {digest}, got {serving}")


def test_no_request_fails_while_bundles_are_swapped_rolled_back_and_refused(
    home: Path, log: Log, planted_bundle: Path, serve: Callable[..., Any]
) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    for number in range(LEARNERS):
        log.append(
            [
                {
                    "user_id": f"learner-{number}",
                    "interaction_type": "practice_attempt",
                    "topic_id": 11 + minute % 4,
                    "score": 1.0,
                    "timestamp": start + timedelta(minutes=minute),
                }
                for minute in range(5)
            ]
        )
    older_digest = planted_bundle.name
    bundle = Bundle.load(planted_bundle, FOLD_VERSION)
    entries = {
        name: entry.model_copy(update={"version": "8"})
        for name, entry in bundle.manifest.models.items()
    }
    manifest = bundle.manifest.model_copy(update={"models": entries, "files": {}})
    newer_digest = write(home / "bundles", manifest, bundle.networks, bundle.statistics).name
    settings = {"SENSEI_SERVICE_WORKERS": str(WORKERS), "SENSEI_CONTROL_SHARE": "0"}
    with serve(SENSEI_HOME=str(home), **settings) as server:
        wait_until_all_serve(server.url, older_digest)
        with Clients(server.url) as clients:
            for digest in (newer_digest, older_digest, newer_digest, older_digest):
                log.set_pointer(digest)
                wait_until_all_serve(server.url, digest)
            log.set_pointer("0" * 64)
            time.sleep(3)  # long enough to be looked at: it must change nothing
            wait_until_all_serve(server.url, older_digest)
        assert clients.errors == []
        assert {(status, fallback) for status, _, fallback in clients.seen} == {(200, None)}
        assert {version for _, version, _ in clients.seen} == {"7", "8"}
        assert "refusal" in str(httpx.get(f"{server.url}/readyz", timeout=60).json()["troubles"])
        assert server.interrupt() == 0
    with log.engine.connect() as connection:
        query = "SELECT prediction_id, version FROM predictions"
        logged_predictions = {tuple(row) for row in connection.exec_driver_sql(query)}
    assert logged_predictions == clients.predictions, "every answer was logged, the last ones too"
