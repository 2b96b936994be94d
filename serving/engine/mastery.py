"""What counts as finished and as mastered, read off one topic's numbers: the only place."""

from features.learner_state import (
    LAST_SCORES,
    T_ATTEMPTS,
    T_LAST_ATTEMPT,
    T_SCORES,
    T_STREAK,
    Numbers,
)
from sensei.contracts import DAY, WELL_PASSED_SCORE

REST_MICROSECONDS = DAY
"""A topic mastered less than a day ago is not offered again."""


def last_score(row: Numbers) -> float | None:
    """The score of the last attempt on the topic; None without one."""
    attempts = int(row[T_ATTEMPTS])
    return float(row[T_SCORES + (attempts - 1) % LAST_SCORES]) if attempts else None


def finished(row: Numbers) -> bool:
    """Whether the last attempt was passed: what builds on the topic may be studied."""
    return bool(row[T_STREAK] > 0)


def failed(row: Numbers) -> bool:
    """Whether the last attempt was failed."""
    return bool(row[T_STREAK] < 0)


def mastered(row: Numbers) -> bool:
    """Whether the last two attempts were both passed well (`WELL_PASSED_SCORE`)."""
    attempts = int(row[T_ATTEMPTS])
    if attempts < 2:
        return False
    scores = (row[T_SCORES + (attempts - back) % LAST_SCORES] for back in (1, 2))
    return all(score >= WELL_PASSED_SCORE for score in scores)


def rests(row: Numbers, now_us: int) -> bool:
    """Whether the topic was mastered so lately that it is not offered again."""
    return now_us - row[T_LAST_ATTEMPT] < REST_MICROSECONDS and mastered(row)
