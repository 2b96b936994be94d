"""Recent popularity that serving reads from the log: equal to training's on the same events."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from features.batch import Events, encode
from features.corpus.context import Corpus
from features.corpus.daily_counts import DailyCounts
from features.corpus.popularity import WINDOW_DAYS, SlotPopularity
from features.corpus.statistics import Statistics, fit
from features.history import History
from sensei.contracts import KINDS, TOPIC_INPUTS, place
from sensei.curriculum import Topic
from sensei.events.log import Log, open_log
from serving.state.topic_popularity import popularity_of_log

FIRST = datetime(2025, 3, 3, tzinfo=UTC)
DAYS = 45


@pytest.fixture
def log(log_url: str) -> Iterator[Log]:
    """On each backend in turn; the other tests of this room need SQLite only."""
    opened = open_log(log_url)
    yield opened
    opened.close()


def events_of(count: int) -> list[dict[str, Any]]:
    """Topics 1 to 5 from the first day on, one more every four days after the twentieth."""
    rng = np.random.default_rng(1)
    found = []
    for at in range(count):
        minute = int(rng.integers(DAYS * 24 * 60))
        newest = 5 + max(0, minute // (24 * 60) - 20) // 4
        found.append(
            {
                "event_id": f"{at:04d}",
                "user_id": f"u{rng.integers(6)}",
                "interaction_type": KINDS[rng.integers(len(KINDS))],
                "topic_id": int(rng.integers(1, newest + 1)),
                "timestamp": FIRST + timedelta(minutes=minute),
            }
        )
    return found


def microseconds(day: float) -> int:
    return int((FIRST + timedelta(days=day)).timestamp() * 1e6)


def trained(events: Events, days: float) -> Statistics:
    return fit(events, events.time < microseconds(days))


def read(statistics: Statistics, recency: SlotPopularity, now: int) -> NDArray[np.float32]:
    """Read the inputs of each topic for a learner without events."""
    return Corpus(statistics, recency).topics(History.new(), now)


def popularity(statistics: Statistics, recency: SlotPopularity, day: float) -> NDArray[np.float32]:
    """Log share of each slot in the recent events of all learners."""
    return read(statistics, recency, microseconds(day))[:, place(TOPIC_INPUTS, "recent_7")]


def catalogue(*topic_ids: int) -> list[Topic]:
    return [Topic(topic_id=each, title=str(each), domain="web") for each in topic_ids]


@pytest.fixture
def filled(log: Log) -> Log:
    log.append(events_of(400))
    return log


def test_popularity_and_newcomers_are_those_of_the_log(filled: Log) -> None:
    events = encode(filled.read())
    statistics = trained(events, 20)
    for day in (20.0, 28.5, 44.99, 46.0, 80.0):
        now = microseconds(day)
        got = popularity_of_log(filled, (), now)(statistics).recency
        counted = DailyCounts.of(events, np.ones(len(events), bool)).recency(statistics)
        assert len(counted.newcomers) >= 3
        assert got.newcomers.tolist() == counted.newcomers.tolist()
        np.testing.assert_allclose(
            read(statistics, got, now), read(statistics, counted, now), atol=1e-6
        )


def test_events_before_the_window_are_not_counted(log: Log) -> None:
    quiz = {"interaction_type": "quiz_complete", "user_id": "mia"}
    log.append([quiz | {"topic_id": 1, "timestamp": FIRST + timedelta(hours=n)} for n in (0, 30)])
    events = encode(log.read())
    statistics = fit(events, np.ones(len(events), bool))
    shares = [
        popularity(
            statistics, popularity_of_log(log, (), microseconds(day))(statistics).recency, day
        )
        for day in (WINDOW_DAYS, WINDOW_DAYS + 1, WINDOW_DAYS + 2)
    ]
    both, one, none = (share[0] for share in shares)
    assert both > one > none == 0


def test_a_response_and_a_quarantined_event_make_no_newcomer(log: Log) -> None:
    quiz = {"interaction_type": "quiz_complete", "user_id": "mia", "timestamp": FIRST}
    log.append([quiz | {"topic_id": 1}])
    events = encode(log.read())
    statistics = fit(events, np.ones(len(events), bool))
    later = {"timestamp": FIRST + timedelta(days=1)}
    answered = {"interaction_type": "recommendation_accepted"}
    log.append([quiz | later | answered | {"topic_id": 2}, quiz | later | {"topic_id": 3}])
    found = {each.topic_id: each.id for each in log.read_learner("mia")}
    log.quarantine_interactions({found[3]: "a test"}, "test")
    got = popularity_of_log(log, (), microseconds(2))(statistics).recency
    assert got.newcomers.tolist() == []
    assert (popularity(statistics, got, 2)[1:] < 0).all(), "nothing but topic 1 was counted"


def test_topics_of_the_catalogue_that_nobody_met_come_after_those_met(filled: Log) -> None:
    statistics = trained(encode(filled.read()), 20)
    met = popularity_of_log(filled, (), microseconds(46))(statistics).recency.newcomers.tolist()
    offered = catalogue(900, 3, 800, *met)
    corpus = popularity_of_log(filled, offered, microseconds(46))(statistics)
    assert corpus.recency.newcomers.tolist() == [*met, 800, 900]
    topics = len(statistics.topic_ids)
    assert corpus.slots[800] == topics + len(met) + 1
    assert corpus.topic_ids[corpus.slots[900] - 1] == 900
    assert corpus.slots[3] == statistics.slot_of(3)


def test_topics_outside_the_catalogue_take_no_slot_and_are_not_popular(filled: Log) -> None:
    statistics = trained(encode(filled.read()), 20)
    met = popularity_of_log(filled, (), microseconds(46))(statistics).recency.newcomers.tolist()
    first, *others = statistics.topic_ids.tolist()
    offered = catalogue(*others, 900)
    recency = popularity_of_log(filled, offered, microseconds(46))(statistics).recency
    assert met
    assert recency.newcomers.tolist() == [900]
    assert recency.counts[:, statistics.slot_of(first) - 1].sum() == 0
    assert recency.counts.sum() > 0


def test_more_topics_than_spare_slots_leave_the_last_ones_out(filled: Log) -> None:
    statistics = trained(encode(filled.read()), 20)
    corpus = popularity_of_log(filled, catalogue(*range(800, 900)), microseconds(46))(statistics)
    assert None not in corpus.topic_ids
    assert corpus.slots[899] == 0
    assert len(set(corpus.topic_ids)) == statistics.width


def test_an_empty_log_says_nothing(log: Log) -> None:
    statistics = trained(encode(log.read()), 20)
    got = popularity_of_log(log, (), microseconds(0))(statistics).recency
    assert got.newcomers.tolist() == []
    assert (popularity(statistics, got, 0) == 0).all()
