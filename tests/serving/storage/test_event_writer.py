"""The recorder: what is acknowledged is in the log, once, whatever happens in between."""

import asyncio
import fcntl
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sensei.errors import ConflictingEvent, NotRecorded, StorageUnavailable
from sensei.events import append
from sensei.events.append import PendingRow
from sensei.events.log import Log, open_log
from sensei.storage import database
from sensei.storage.database import upgrade
from serving.storage import event_writer
from serving.storage.event_writer import EventWriter

NOW = datetime.now(UTC)


@pytest.fixture
def log(log_url: str) -> Any:
    """On each backend in turn."""
    opened = open_log(log_url)
    yield opened
    opened.close()


def quiz(event_id: str, user_id: str = "ada", **values: Any) -> list[PendingRow]:
    event = {
        "event_id": event_id,
        "user_id": user_id,
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 0.5,
        "timestamp": NOW,
    }
    return append.entries([event | values], NOW)


def test_of_many_at_once_each_gets_its_own_answer(log: Log, log_url: str) -> None:
    """A hundred learners; every seventh sends their event twice, every tenth with other content."""

    async def send() -> list[Any]:
        waiting = []
        for n in range(100):
            waiting.append(mine.log_interactions(quiz(f"{n}", f"u{n}")))
            if n % 7 == 0:
                waiting.append(mine.log_interactions(quiz(f"{n}", f"u{n}")))
            if n % 10 == 0:
                waiting.append(mine.log_interactions(quiz(f"{n}", f"u{n}", score=0.9)))
        return await asyncio.gather(*waiting, return_exceptions=True)

    mine = EventWriter(lambda: open_log(log_url))
    outcomes = asyncio.run(send())
    mine.close()
    refused = [each for each in outcomes if isinstance(each, ConflictingEvent)]
    recorded = [each[0] for each in outcomes if isinstance(each, tuple)]
    assert (len(refused), len(recorded)) == (10, 115)
    assert len({row.user_id for row in recorded}) == log.count() == 100


def test_while_the_database_is_away_nothing_is_acknowledged_and_later_all_is(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'late.db'}"
    mine = EventWriter(lambda: open_log(url))

    async def send() -> Any:
        return await mine.log_interactions(quiz("e"))

    with pytest.raises(NotRecorded) as raised:
        asyncio.run(send())
    assert raised.value.details == {"event_ids": ["e"]}
    upgrade(url)
    assert asyncio.run(send())[0].event_id == "e"
    mine.close()


def test_more_than_can_wait_is_refused_at_once(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "CAPACITY", 5)

    async def send() -> list[Any]:
        sent = [mine.log_interactions(quiz(f"{n}")) for n in range(20)]
        return await asyncio.gather(*sent, return_exceptions=True)

    mine = EventWriter(lambda: open_log(sqlite_url))
    outcomes = asyncio.run(send())
    refused = [each for each in outcomes if isinstance(each, StorageUnavailable)]
    mine.close()
    log = open_log(sqlite_url)
    assert len(refused) == 14  # one is being written, five wait
    assert log.count() == 6
    log.close()


def test_who_gives_up_waiting_has_sent_all_the_same(sqlite_url: str) -> None:
    async def send() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(mine.log_interactions(quiz("e")), 0)
        await asyncio.sleep(0)
        assert (await mine.log_interactions(quiz("f")))[0].event_id == "f"

    mine = EventWriter(lambda: open_log(sqlite_url))
    asyncio.run(send())
    mine.close()


def test_while_another_process_keeps_the_turn_who_waits_is_told_and_may_repeat(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "PATIENCE", 0.2)

    async def send() -> Any:
        with Path(f"{database.connect(sqlite_url).url.database}-turn").open("a") as line:
            fcntl.flock(line, fcntl.LOCK_EX)
            with pytest.raises(NotRecorded) as raised:
                await mine.log_interactions(quiz("e"))
            mine.close()  # does not wait for the other one either
        assert raised.value.details == {"event_ids": ["e"]}
        monkeypatch.setattr(event_writer, "PATIENCE", 60)
        return await other.log_interactions(quiz("e"))

    mine, other = (EventWriter(lambda: open_log(sqlite_url)) for _ in range(2))
    assert asyncio.run(send())[0].event_id == "e"
    other.close()
    log = open_log(sqlite_url)
    assert log.count() == 1
    log.close()


# Sixteen senders, each waiting for its answer before it sends again; says what it sends and what
# was acknowledged, and never ends by itself.
SENDER = """
import asyncio, sys
from datetime import UTC, datetime
from sensei.events import append
from sensei.events.log import open_log
from serving.storage.event_writer import EventWriter

url, name = sys.argv[1:]
mine = EventWriter(lambda: open_log(url))

async def send(sender):
    for n in range(10**9):
        event_id = f"{name}-{sender}-{n}"
        event = {"event_id": event_id, "user_id": f"learner {n % 5}", "topic_id": n % 9,
                 "interaction_type": "quiz_complete", "score": 0.5}
        print("sent", event_id, flush=True)
        await mine.log_interactions(append.entries([event], datetime.now(UTC)))
        print("recorded", event_id, flush=True)

async def main():
    await asyncio.gather(*(send(sender) for sender in range(16)))

asyncio.run(main())
"""


def test_killed_in_the_middle_the_log_holds_what_was_acknowledged_and_at_most_what_was_on_its_way(
    log: Log, log_url: str, tmp_path: Path
) -> None:
    """Four processes write about the same learners; each is ended by SIGKILL."""
    outputs = [tmp_path / f"output {n}" for n in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SENDER, log_url, f"process {n}"], stdout=output.open("w")
        )
        for n, output in enumerate(outputs)
    ]
    try:
        while any(output.read_text().count("recorded") < 100 for output in outputs):
            assert all(each.poll() is None for each in processes)
    finally:
        for each in processes:
            each.send_signal(signal.SIGKILL)
            each.wait()
    said = [line for output in outputs for line in output.read_text().splitlines()]
    recorded = {line.removeprefix("recorded ") for line in said if line.startswith("recorded ")}
    sent = {line.removeprefix("sent ") for line in said if line.startswith("sent ")}
    found = [each.event_id for n in range(5) for each in log.read_learner(f"learner {n}")]
    assert len(found) == len(set(found)) == log.count()
    assert recorded <= set(found) <= sent
    assert len(found) - len(recorded) <= 4 * 16
