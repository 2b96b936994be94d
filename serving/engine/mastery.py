"""Rules for finished and mastered topics, applied to one topic's numbers; defined only here."""

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
    scores = (row[T_SCORES + (attempts - back) % LAST_SCORES] for back in (1, 2))
    return all(score >= WELL_PASSED_SCORE for score in scores)


def rests(row: Numbers, now_us: int) -> bool:
    """Tell if the topic was mastered so recently that it is not offered again yet."""
    return now_us - row[T_LAST_ATTEMPT] < REST_MICROSECONDS and mastered(row)
