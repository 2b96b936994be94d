from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sensei.errors import StorageUnavailable
from sensei.events.log import Log
from serving.state.study_times import LEAST_EVENTS, StudyTimeReader, StudyTimes, measured

Quiz = Callable[..., dict[str, Any]]
NOW = int(datetime(2026, 1, 6, tzinfo=UTC).timestamp() * 1e6)


def timed(quiz: Quiz, seconds: list[int | None], topic: int = 11, **other: Any) -> list[Any]:
    return [
        quiz(f"learner {at}", topic, at) | {"duration_seconds": each} | other
        for at, each in enumerate(seconds)
    ]


def test_the_median_of_each_topic_and_kind_is_known_to_half_a_minute(log: Log, quiz: Quiz) -> None:
    log.append(timed(quiz, [60, 620, 640, 650, 9_000]))
    log.append(timed(quiz, [30] * 6, 12, interaction_type="video_view", score=None))
    found = measured(log, NOW).minutes
    assert found.keys() == {(11, "quiz_complete"), (12, "video_view")}
    assert found[11, "quiz_complete"] == pytest.approx(640 / 60, abs=0.5)
    assert found[12, "video_view"] == pytest.approx(0.5, abs=0.5)


def test_from_few_events_or_old_ones_or_ones_without_a_duration_nothing_is_taken(
    log: Log, quiz: Quiz
) -> None:
    log.append(timed(quiz, [60] * (LEAST_EVENTS - 1)))
    log.append(timed(quiz, [None, 0] * LEAST_EVENTS, 12))
    assert measured(log, NOW).minutes == {}
    log.append(timed(quiz, [60] * LEAST_EVENTS, 13))
    assert measured(log, NOW).minutes
    assert measured(log, NOW + 100 * 86_400_000_000).minutes == {}


def test_while_the_log_does_not_answer_what_was_known_stays() -> None:
    def connect() -> Log:
        raise StorageUnavailable("database: down")

    found: list[StudyTimes] = []
    StudyTimeReader(connect, lambda: NOW, found.append).read()
    assert found == []


def test_a_reading_is_handed_over(url: str, log: Log, quiz: Quiz) -> None:
    log.append(timed(quiz, [60] * LEAST_EVENTS))
    found: list[StudyTimes] = []
    measuring = StudyTimeReader(lambda: Log(url), lambda: NOW, found.append)
    measuring.start()
    measuring.read()
    measuring.close()
    assert (11, "quiz_complete") in found[0].minutes
