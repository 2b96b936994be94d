"""Model inputs, computed from a learner's state and the counts over all learners.

The functions are plain Python on indexable numbers, like those of `features.learner_state`.
Serving runs them as they are; `features.batch` and `features.sequences` compile the same code.
"""

import math
from typing import Any

from features.learner_state import (
    ACCEPTED,
    ATTEMPTS,
    BEST,
    DAYS,
    EASY,
    EVENTS,
    FAST_DECAY,
    HARD,
    HISTORY_DECAY,
    LAST_SCORES,
    LAST_TIME,
    PRACTICE,
    QUIZ,
    RING_EVENTS,
    RING_KIND,
    RING_TOPIC,
    RING_WIDTH,
    SCORE_SUM,
    SCORES,
    STREAK,
    T_ATTEMPTS,
    T_EVENTS,
    T_FAST,
    T_LAST_ATTEMPT,
    T_PASSES,
    T_RECENT,
    T_SCORE_SUM,
    T_SCORES,
    T_SECONDS,
    T_STREAK,
    T_TIME,
    T_WEIGHT,
    T_WEIGHT_AT,
    TOPICS,
    Numbers,
)
from sensei.contracts import DAY, STRONG_SCORE

PRIOR_ATTEMPTS = 4.0  # weight of the prior of a pass rate, in attempts
MAX_LOGIT = 8.0  # bound of log odds, also after thousands of passes in a row


def read_topic(out: Numbers, row: Numbers, events: int, now: float) -> None:
    """Write the inputs of a topic that the learner has met, as of `now`.

    Args:
        out: Numbers of which the first 6 are written; see `contracts.TOPIC_INPUTS`.
        row: The topic's numbers.
        events: Number of the learner's learning events.
        now: Microseconds since the epoch.
    """
    passed_by = row[T_WEIGHT_AT] - events
    out[0] = math.log(1.0 + row[T_WEIGHT] * math.exp(HISTORY_DECAY * passed_by))
    out[1] = math.log(1.0 + row[T_FAST] * math.exp(FAST_DECAY * passed_by))
    out[2] = math.log(1.0 + row[T_EVENTS])
    out[3] = 1.0
    out[4] = 1.0 if now // DAY == row[T_TIME] // DAY else 0.0
    out[5] = math.log(1.0 + max(0.0, now - row[T_TIME]) / 1e6) / 10.0


def read_recommendation(
    out: Numbers, learner: Numbers, row: Numbers, ring: Numbers, slots: Any, now: float
) -> None:
    """Write the inputs of the recommendation model, as of `now`.

    Args:
        out: 20 numbers, zeros on entry; see `contracts.RECOMMENDATION_INPUTS`.
        learner: The learner's numbers.
        row: The numbers of the last learning event's topic; any row for a learner without events.
        ring: The learner's last learning events.
        slots: Slot of each topic key; 0 if unknown.
        now: Microseconds since the epoch.
    """
    out[8] = out[9] = out[11] = out[12] = 0.5
    out[19] = math.log(1.0 + learner[ACCEPTED])
    count = int(learner[EVENTS])
    if count == 0:
        return
    for back in range(min(count, 5)):
        offset = RING_WIDTH * ((count - 1 - back) % RING_EVENTS)
        out[back] = slots[int(ring[offset + RING_TOPIC])]
    out[5] = slots[int(learner[BEST])]
    out[6] = 1 + ring[RING_WIDTH * ((count - 1) % RING_EVENTS) + RING_KIND]
    out[7] = math.log(1.0 + count)
    attempts = int(learner[ATTEMPTS])
    if attempts > 0:
        out[8] = learner[SCORE_SUM] / attempts
        score_count = min(attempts, LAST_SCORES)
        total = 0.0
        for index in range(score_count):
            total += learner[SCORES + index]
        out[9] = total / score_count
    out[10] = math.log(1.0 + row[T_EVENTS])
    attempts = int(row[T_ATTEMPTS])
    if attempts > 0:
        score_count = min(attempts, LAST_SCORES)
        total = 0.0
        for index in range(score_count):
            total += row[T_SCORES + index]
        out[11] = total / score_count
        out[12] = row[T_SCORES + (attempts - 1) % LAST_SCORES]
        score_count = min(attempts, 3)
        total = 0.0
        for back in range(score_count):
            if row[T_SCORES + (attempts - 1 - back) % LAST_SCORES] >= STRONG_SCORE:
                total += 1.0
        out[16] = total / score_count
    out[13] = math.log(1.0 + learner[STREAK])
    out[14] = math.log(1.0 + learner[TOPICS])
    out[15] = math.log(1.0 + count / learner[DAYS])
    out[17] = math.log(1.0 + max(0.0, now - learner[LAST_TIME]) / 1e6)
    out[18] = math.log(1.0 + row[T_SECONDS])


def pass_rate(attempts: float, passes: float, all_attempts: float, all_passes: float) -> float:
    """Compute a topic's pass rate, shrunk towards the rate of all topics.

    Args:
        attempts: Scored attempts on the topic in the statistics.
        passes: Passed attempts among them.
        all_attempts: Scored attempts on all topics.
        all_passes: Passed attempts among them.

    Returns:
        A fraction in (0, 1): the overall rate for a topic without attempts, 0.5 if no topic has
        any.
    """
    overall = (all_passes + 1.0) / (all_attempts + 2.0)
    return (passes + PRIOR_ATTEMPTS * overall) / (attempts + PRIOR_ATTEMPTS)


def read_difficulty(
    out: Numbers, row: Numbers, rate: float, surplus: float, attempts: float, now: float
) -> None:
    """Write the inputs of the difficulty model for one topic, as of `now`.

    Args:
        out: 4 numbers; see `contracts.DIFFICULTY_INPUTS`.
        row: The numbers of the topic; zeros for a topic never touched.
        rate: The topic's `pass_rate`.
        surplus: The learner's passes minus the passes expected from the attempted topics' rates.
        attempts: The learner's scored attempts on all topics.
        now: Microseconds since the epoch.
    """
    prior = min(0.98, max(0.02, rate + surplus / (attempts + PRIOR_ATTEMPTS)))
    smoothed_passes = row[T_PASSES] + PRIOR_ATTEMPTS * prior
    smoothed_attempts = row[T_ATTEMPTS] + PRIOR_ATTEMPTS
    out[0] = min(
        MAX_LOGIT,
        max(-MAX_LOGIT, math.log(smoothed_passes / (smoothed_attempts - smoothed_passes))),
    )
    out[1] = math.log(1.0 + row[T_ATTEMPTS])
    out[2] = 0.0
    out[3] = -1.0
    if row[T_ATTEMPTS] > 1:
        out[2] = row[T_RECENT] - row[T_SCORE_SUM] / row[T_ATTEMPTS]
    if row[T_ATTEMPTS] > 0:
        out[3] = math.log(1.0 + max(0.0, now - row[T_LAST_ATTEMPT]) / 1e6)


def logit(share: float) -> float:
    """Compute the log odds of a fraction in [0, 1], clipped to ±`MAX_LOGIT`."""
    if share <= 0.0:
        return -MAX_LOGIT
    if share >= 1.0:
        return MAX_LOGIT
    return min(MAX_LOGIT, max(-MAX_LOGIT, math.log(share / (1.0 - share))))


def item_logit(rate: float, attempts: float, passes: float) -> float:
    """Compute the easiness of an item relative to its topic, in log odds.

    Args:
        rate: The topic's `pass_rate`.
        attempts: Scored attempts on the item in the statistics; 0 without an item.
        passes: Passed attempts among them.

    Returns:
        The log odds of the item's pass rate minus those of the topic's rate; 0 for an item that
        nobody tried. The item's rate is shrunk to the topic's by `PRIOR_ATTEMPTS`.
    """
    shrunk = (passes + PRIOR_ATTEMPTS * rate) / (attempts + PRIOR_ATTEMPTS)
    return logit(shrunk) - logit(rate)


def read_event(
    out: Numbers,
    slot: int,
    kind: int,
    score: float,
    gap: float,
    rate: float,
    item_attempts: float,
    item_passes: float,
    level: int,
) -> None:
    """Write the inputs of a sequence network for one learning event.

    Args:
        out: 9 numbers; see `contracts.EVENT_INPUTS`.
        slot: Slot of the event's topic; 0 if unknown.
        kind: Code of the event kind.
        score: Fraction, NaN without a score; ignored unless the kind is an attempt.
        gap: Microseconds since the last learning event; 0 for the first.
        rate: The topic's `pass_rate`.
        item_attempts: Scored attempts on the event's item in the statistics; 0 without an item.
        item_passes: Passed attempts among them.
        level: Code of the level that the event names; -1 if it names none.
    """
    scored = kind in (QUIZ, PRACTICE) and score == score
    out[0] = slot
    out[1] = 1 + kind
    out[2] = score - 0.5 if scored else 0.0
    out[3] = 1.0 if scored else 0.0
    out[4] = math.log(1.0 + max(0.0, gap) / 1e6)
    out[5] = logit(rate)
    out[6] = item_logit(rate, item_attempts, item_passes)
    out[7] = math.log(1.0 + item_attempts)
    out[8] = 1.0 if level == HARD else (-1.0 if level == EASY else 0.0)


def read_attempt(
    out: Numbers,
    learner: Numbers,
    row: Numbers,
    same: bool,
    practice: bool,
    rate: float,
    attempts: float,
    now: float,
) -> None:
    """Write the inputs of a success network for one topic, as of `now`.

    Args:
        out: Numbers, zeros on entry; all are written except the four of
            `features.corpus.ability`; see `contracts.SUCCESS_INPUTS`.
        learner: The learner's numbers.
        row: The numbers of the topic; zeros for a topic never touched.
        same: True if the last learning event was on this topic.
        practice: True for a practice attempt, False for a quiz.
        rate: The topic's `pass_rate`.
        attempts: Scored attempts of all learners on the topic.
        now: Microseconds since the epoch.
    """
    out[0] = logit(rate)
    out[1] = math.log(1.0 + attempts)
    if learner[EVENTS] > 0:
        out[2] = math.log(1.0 + max(0.0, now - learner[LAST_TIME]) / 1e6)
    out[3] = 1.0 if same else 0.0
    out[4] = math.log(1.0 + row[T_EVENTS])
    out[5] = -1.0
    if row[T_EVENTS] > 0:
        out[5] = math.log(1.0 + max(0.0, now - row[T_TIME]) / 1e6)
    out[6] = math.log(1.0 + abs(row[T_STREAK]))
    if row[T_STREAK] < 0:
        out[6] = -out[6]
    attempt_count = int(row[T_ATTEMPTS])
    for back in range(min(attempt_count, 3)):
        out[7 + back] = row[T_SCORES + (attempt_count - 1 - back) % LAST_SCORES] - 0.5
    attempt_count = int(learner[ATTEMPTS])
    for back in range(min(attempt_count, 3)):
        out[10 + back] = learner[SCORES + (attempt_count - 1 - back) % LAST_SCORES] - 0.5
    out[17] = 1.0 if practice else 0.0


def read_item(out: Numbers, rate: float, attempts: float, passes: float) -> None:
    """Write the inputs of a success network for the item of the next attempt.

    Args:
        out: 3 numbers, zeros on entry; see `contracts.ITEM_INPUTS`.
        rate: The `pass_rate` of the item's topic.
        attempts: Scored attempts of all learners on the item; 0 without an item.
        passes: Passed attempts among them.
    """
    if attempts > 0:
        out[0] = 1.0
        out[1] = item_logit(rate, attempts, passes)
        out[2] = math.log(1.0 + attempts)
