from datetime import UTC, datetime, timedelta
from typing import Any

from sensei.events import aggregates
from sensei.events.log import Log

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
START = int(MIDNIGHT.timestamp()) * 1_000_000
HOUR = 3_600_000_000
DAY_NUMBER = START // (24 * HOUR)


def study(topic_id: int, hour: int, **values: Any) -> dict[str, Any]:
    return {
        "event_id": f"{topic_id}-{hour}",
        "user_id": "mia",
        "interaction_type": "video_view",
        "topic_id": topic_id,
        "duration_seconds": 95,
        "timestamp": MIDNIGHT + timedelta(hours=hour),
    } | values


def filled(log: Log) -> Log:
    log.append([study(1, 1), study(1, 3), study(1, 25), study(2, 2, duration_seconds=None)])
    log.append([study(2, 4, interaction_type="recommendation_accepted")])
    bad = log.append([study(3, 5)]).inserted and log.last_id()
    log.quarantine_interactions({bad: "planted"}, "a test")
    return log


def test_learning_events_are_counted_by_topic_and_day_valid_ones_only(log: Log) -> None:
    filled(log)
    everything = aggregates.learned_between(log.engine, START, START + 48 * HOUR, log.last_id())
    assert sorted(everything) == [
        (1, DAY_NUMBER, 2, START + HOUR),
        (1, DAY_NUMBER + 1, 1, START + 25 * HOUR),
        (2, DAY_NUMBER, 1, START + 2 * HOUR),
    ]
    half_open = aggregates.learned_between(
        log.engine, START + HOUR, START + 3 * HOUR, log.last_id()
    )
    assert sorted(half_open) == [
        (1, DAY_NUMBER, 1, START + HOUR),
        (2, DAY_NUMBER, 1, START + 2 * HOUR),
    ]


def test_what_came_after_a_key_is_counted_apart(log: Log) -> None:
    before = filled(log).last_id()
    log.append([study(4, 6), study(4, 7)])
    found = aggregates.learned_since(log.engine, before, log.last_id(), START + 7 * HOUR)
    assert found == [(4, DAY_NUMBER, 1, START + 7 * HOUR)]
    assert aggregates.learned_between(log.engine, START + 6 * HOUR, START + 8 * HOUR, before) == []


def test_durations_are_counted_in_steps(log: Log) -> None:
    engine = filled(log).engine
    assert aggregates.durations(engine, START, 30, 100) == [(1, "video_view", 3, 3)]
    assert aggregates.durations(engine, START + 3 * HOUR, 30, 100) == [(1, "video_view", 3, 2)]


def test_durations_are_of_the_events_appended_last(log: Log) -> None:
    engine = filled(log).engine
    last = log.last_id()
    found = [
        sum(each[3] for each in aggregates.durations(engine, START, 30, n)) for n in (last, 1, 0)
    ]
    assert found[0] == 3 > found[1] >= found[2] == 0


def test_an_empty_log_has_no_last_key_and_no_last_time(log: Log) -> None:
    assert (log.last_id(), log.last_time(START)) == (0, None)
    filled(log)
    assert log.last_time(START + 4 * HOUR) == START + 3 * HOUR
