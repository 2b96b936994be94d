import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.history import History
from sensei.errors import StorageUnavailable
from sensei.events.log import Event, Log, open_log
from sensei.privacy.preferences import set_style_override
from sensei.storage.revisions import Revisions
from serving.state.learners import COLD_SECONDS, PIECE, RETRY_SECONDS, LearnerCache

Quiz = Callable[..., dict[str, Any]]
LONG = 1_000
"""Events of a learner who is folded in several pieces."""


class CountingLog(Log):
    """The log, which also says how often events were read, and from which key on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reads: list[int] = []

    def learner_in_pieces(
        self, user_id: str, size: int, after_id: int = 0
    ) -> Iterator[list[Event]]:
        self.reads.append(after_id)
        return super().learner_in_pieces(user_id, size, after_id)


@pytest.fixture
def counting(url: str) -> CountingLog:
    return CountingLog(url)


@pytest.fixture
def learners(counting: CountingLog) -> LearnerCache:
    return LearnerCache(lambda: counting, lambda: 0.0)


def history_of(learners: LearnerCache, user_id: str) -> History | None:
    learner = learners.read_blocking(user_id)
    return learner and learner.history


def state(history: History | None) -> Any:
    return history and (history.learner, history.ring, history.topics)


def refolded(log: Log, user_id: str) -> Any:
    return state(history_of(LearnerCache(lambda: log, lambda: 0.0), user_id))


def test_a_learner_never_seen_has_no_history(learners: LearnerCache) -> None:
    assert history_of(learners, "nobody") is None


def test_an_unchanged_revision_reads_no_events(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0)])
    history_of(learners, "mia")
    history_of(learners, "mia")
    assert counting.reads == [0]


@pytest.mark.parametrize("minutes", [(2,), (2, 3, 4)], ids=["one write", "several"])
def test_later_events_advance_the_state_without_reading_the_earlier_ones(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz, minutes: tuple[int, ...]
) -> None:
    counting.append([quiz("mia", 11, 0), quiz("mia", 12, 1)])
    history_of(learners, "mia")
    for minute in minutes:
        counting.append([quiz("mia", 13, minute)])
    history = history_of(learners, "mia")
    assert history is not None
    assert history.last_topic_id == 13
    assert counting.reads == [0, 2]
    assert state(history) == refolded(counting, "mia")


def test_where_one_of_several_writes_took_an_event_away_all_are_folded_anew(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0), quiz("mia", 12, 1)])
    history_of(learners, "mia")
    counting.append([quiz("mia", 13, 2)])
    counting.quarantine_interactions({1: "a test"}, "test")
    history = history_of(learners, "mia")
    assert history is not None
    assert history.events == 2
    assert state(history) == refolded(counting, "mia")


def test_a_long_log_is_read_in_pieces_and_others_get_their_turn(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, minute) for minute in range(LONG)])
    turns = 0

    async def others(reading: asyncio.Future[Any]) -> None:
        nonlocal turns
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1

    async def ask_twice() -> None:
        reading = asyncio.gather(learners.read("mia"), learners.read("mia"))
        await others(reading)
        counting.append([quiz("mia", 12, LONG)])
        await learners.read("mia")

    asyncio.run(ask_twice())
    assert turns >= LONG // PIECE
    assert state(history_of(learners, "mia")) == refolded(counting, "mia")
    assert counting.reads[:2] == [0, LONG]  # one reading for both, then the later event


def test_a_caller_that_goes_away_takes_nobody_s_reading_along(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0)])

    async def ask() -> None:
        first = asyncio.create_task(learners.read("mia"))
        second = asyncio.create_task(learners.read("mia"))
        await asyncio.sleep(0)
        first.cancel()
        await second

    asyncio.run(ask())
    history_of(learners, "mia")
    assert counting.reads == [0]


def test_a_slow_cold_learner_gets_a_fallback_and_the_next_request_their_state(
    url: str, quiz: Quiz
) -> None:
    read = threading.Event()

    class SlowForMia(CountingLog):
        def learner_in_pieces(
            self, user_id: str, size: int, after_id: int = 0
        ) -> Iterator[list[Event]]:
            if user_id == "mia":
                read.wait(10)
            return super().learner_in_pieces(user_id, size, after_id)

    log = SlowForMia(url)
    log.append([quiz("mia", 11, 0), quiz("noa", 12, 0)])
    learners = LearnerCache(lambda: log, lambda: 0.0)

    async def ask() -> None:
        started = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await learners.read("mia")
        assert time.monotonic() - started < 2 * COLD_SECONDS
        assert not learners.is_unreachable
        assert await learners.read("noa") is not None
        read.set()
        await asyncio.gather(*learners._folding.values())
        assert await learners.read("mia") is not None

    asyncio.run(ask())
    assert log.reads == [0, 0], "each learner is read once"


def test_a_write_that_brings_no_event_folds_nothing_anew(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0), quiz("mia", 12, 1)])
    history_of(learners, "mia")
    set_style_override(counting.engine, "mia", "visual")
    history = history_of(learners, "mia")
    assert counting.reads == [0, 2]
    assert state(history) == refolded(counting, "mia")


@pytest.mark.parametrize("minute", [2 * LONG + 1, 3], ids=["in order", "late"])
def test_who_acts_while_his_log_is_folded_keeps_nobody_waiting(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz, minute: int
) -> None:
    counting.append([quiz("mia", 11, 2 * at) for at in range(LONG)])

    async def ask() -> Any:
        asking = asyncio.create_task(ask_prepared())
        while not counting.reads:
            await asyncio.sleep(0)
        counting.append([quiz("mia", 12, minute)])
        return await asking

    async def ask_prepared() -> Any:
        learner = await learners.read("mia")
        return state(learner and learner.history)

    found = asyncio.run(ask())
    assert found == refolded(counting, "mia")


def test_questions_of_one_moment_ask_the_log_once(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting.append([quiz(name, 11, 0) for name in ("mia", "noa")])
    asked: list[Sequence[str]] = []
    read = Revisions.of_now
    monkeypatch.setattr(Revisions, "of_now", lambda self, ids: asked.append(ids) or read(self, ids))

    async def ask(name: str) -> int | None:
        learner = await learners.read(name)
        return learner and learner.history.events

    async def all_at_once() -> list[int | None]:
        for name in ("mia", "noa"):
            await learners.read(name)
        asked.clear()
        return await asyncio.gather(*map(ask, ("mia", "noa", "nobody", "mia")))

    assert asyncio.run(all_at_once()) == [1, 1, None, 1]
    assert asked == [["mia", "noa", "nobody", "mia"]]


def test_an_unexpected_error_of_the_direct_read_leaves_nobody_waiting(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting.append([quiz("mia", 11, 0)])

    def fails(_: Revisions, __: Sequence[str]) -> dict[str, int]:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    async def ask() -> int:
        await learners.read("mia")
        monkeypatch.setattr(Revisions, "of_now", fails)
        for _ in range(2):
            async with asyncio.timeout(10):
                learner = await learners.read("mia")
        return learner.history.events if learner else 0

    assert asyncio.run(ask()) == 1


def test_a_late_event_is_folded_in_its_place(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0), quiz("mia", 12, 2)])
    history_of(learners, "mia")
    counting.append([quiz("mia", 13, 1)])
    history = history_of(learners, "mia")
    assert history is not None
    assert history.last_topic_id == 12
    assert state(history) == refolded(counting, "mia")


def test_a_quarantined_event_leaves_the_state(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0), quiz("mia", 12, 1)])
    history_of(learners, "mia")
    newest = counting.read_learner("mia")[-1].id
    counting.quarantine_interactions({newest: "a test"}, "test")
    history = history_of(learners, "mia")
    assert history is not None
    assert history.last_topic_id == 11


def test_a_learner_of_whom_nothing_is_valid_has_an_empty_history(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz
) -> None:
    counting.append([quiz("mia", 11, 0)])
    counting.quarantine_interactions({1: "a test"}, "test")
    history = history_of(learners, "mia")
    assert history is not None
    assert history.events == 0


def test_a_write_between_two_reads_is_not_lost(url: str, quiz: Quiz) -> None:
    class Interrupted(CountingLog):
        def revision(self, user_id: str) -> int | None:
            revision = super().revision(user_id)
            if self.interrupt:
                self.interrupt = False
                self.append([quiz("mia", 13, 5)])
                self.quarantine_interactions({1: "a test"}, "test")
            return revision

        interrupt = False

    log = Interrupted(url)
    learners = LearnerCache(lambda: log, lambda: 0.0)
    log.append([quiz("mia", 11, 0), quiz("mia", 12, 1)])
    history_of(learners, "mia")
    log.append([quiz("mia", 12, 2)])
    log.interrupt = True
    history_of(learners, "mia")
    assert state(history_of(learners, "mia")) == refolded(log, "mia")


_NAMES = count()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "quarantine", "ask", "prepare"]),
            st.integers(11, 14),
            st.integers(0, 30),
        ),
        max_size=12,
    )
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_cached_state_is_the_refolded_state_whatever_was_written(
    learners: LearnerCache, counting: CountingLog, quiz: Quiz, steps: list[tuple[str, int, int]]
) -> None:
    name = f"learner-{next(_NAMES)}"
    for position, (step, topic_id, minute) in enumerate(steps):
        if step == "append":
            event = quiz(name, topic_id, minute) | {"event_id": f"{name}-{position}"}
            counting.append([event])
        elif step == "quarantine" and (events := counting.read_learner(name)):
            counting.quarantine_interactions({events[minute % len(events)].id: "a test"}, "test")
        elif step == "prepare":
            asyncio.run(learners.read(name))
        else:
            assert state(history_of(learners, name)) == refolded(counting, name)
    assert state(history_of(learners, name)) == refolded(counting, name)


def test_the_learner_unused_for_longest_is_dropped_first(counting: CountingLog, quiz: Quiz) -> None:
    learners = LearnerCache(lambda: counting, lambda: 0.0, capacity=2)
    counting.append([quiz(name, 11, 0) for name in ("mia", "noa", "lea")])
    for name in ("mia", "noa", "mia", "lea"):
        history_of(learners, name)
    counting.reads.clear()
    history_of(learners, "mia")
    assert counting.reads == []
    history_of(learners, "noa")
    assert counting.reads == [0]


def test_a_log_that_failed_is_left_alone_for_a_moment_then_asked_again(
    url: str, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0)])
    moment, tries = [0.0], []

    def connect() -> Log:
        tries.append(moment[0])
        if len(tries) == 1:
            raise StorageUnavailable("database: down")
        return open_log(url)

    learners = LearnerCache(connect, lambda: moment[0])
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            history_of(learners, "mia")
    assert tries == [0.0]
    moment[0] = RETRY_SECONDS
    assert history_of(learners, "mia") is not None
