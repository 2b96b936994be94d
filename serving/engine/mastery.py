"""Rules for finished and mastered topics, and a learner's progress by these rules."""

from typing import Any

from features.learner_state import (
    ATTEMPTS,
    DAYS,
    EVENTS,
    LAST_SCORES,
    LAST_TIME,
    PASSES,
    SCORE_SUM,
    T_ATTEMPTS,
    T_LAST_ATTEMPT,
    T_SCORES,
    T_STREAK,
    Numbers,
)
from sensei.contracts import DAY, WELL_PASSED_SCORE
from sensei.storage.tables import to_datetime
from serving.engine.request_context import RequestContext

REST_MICROSECONDS = DAY
"""Rest period of a mastered topic, in microseconds: for one day it is not offered again."""


def last_score(row: Numbers) -> float | None:
    """Return the score of the last attempt on the topic; None without an attempt."""
    attempts = int(row[T_ATTEMPTS])
    return float(row[T_SCORES + (attempts - 1) % LAST_SCORES]) if attempts else None


def finished(row: Numbers) -> bool:
    """Tell if the last attempt was a pass: topics that build on this one may be studied."""
    return bool(row[T_STREAK] > 0)


def failed(row: Numbers) -> bool:
    """Tell if the last attempt failed."""
    return bool(row[T_STREAK] < 0)


def mastered(row: Numbers) -> bool:
    """Tell if each of the last two attempts scored at least `WELL_PASSED_SCORE`."""
    attempts = int(row[T_ATTEMPTS])
    if attempts < 2:
        return False
    last = row[T_SCORES + (attempts - 1) % LAST_SCORES]
    before = row[T_SCORES + (attempts - 2) % LAST_SCORES]
    return bool(last >= WELL_PASSED_SCORE and before >= WELL_PASSED_SCORE)


def rests(row: Numbers, now_us: int) -> bool:
    """Tell if the topic was mastered so recently that it is not offered again yet."""
    return now_us - row[T_LAST_ATTEMPT] < REST_MICROSECONDS and mastered(row)


def profile(context: RequestContext) -> dict[str, Any]:
    """Return counts of a learner's activity, and the topics met, finished and mastered.

    Returns:
        `user_id`; the counts `events`, `active_days`, `attempts` and `passes`. `mean_score` in
        [0, 1] and `last_event` (UTC), both None without one. The topic ids `met`, `finished` and
        `mastered`. `fallback`: None, or the reason why the history is missing or stale.
    """
    history = context.learner.history
    numbers, attempts = history.learner, int(history.learner[ATTEMPTS])
    return {
        "user_id": context.user_id,
        "events": int(numbers[EVENTS]),
        "active_days": int(numbers[DAYS]),
        "attempts": attempts,
        "passes": int(numbers[PASSES]),
        "mean_score": numbers[SCORE_SUM] / attempts if attempts else None,
        "last_event": to_datetime(int(numbers[LAST_TIME])) if history.events else None,
        "met": sorted(history.topics),
        "finished": sorted(topic_id for topic_id, row in history.topics.items() if finished(row)),
        "mastered": sorted(topic_id for topic_id, row in history.topics.items() if mastered(row)),
        "fallback": context.unknown,
    }
