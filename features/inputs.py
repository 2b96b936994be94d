"""The model inputs, read off a learner's state and the counts of everybody.

Plain functions on indexable numbers, as those of `features.learner_state`: serving runs them as
they stand, `features.batch` and `features.sequences` compile the very same lines.
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

PRIOR_ATTEMPTS = 4.0  # attempts that the prior of a proficiency weighs
MAX_LOGIT = 8.0  # thousands of passes in a row say no more than it


def read_topic(out: Numbers, row: Numbers, events: int, now: float) -> None:
    """Write what the learner's own history says of one topic that he has met, as of `now`.

    Args:
        out: Numbers of which the first 6 are written; see `contracts.TOPIC_INPUTS`.
        row: The topic's numbers.
        events: The learner's learning events.
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
        out: 20 numbers, all 0 on entry; see `contracts.RECOMMENDATION_INPUTS`.
        learner: The learner's numbers.
        row: The numbers of the last learning event's topic; any row for a learner without one.
        ring: The learner's last learning events.
        slots: Slot of each topic key; 0 unknown.
        now: Microseconds since the epoch.
    """
    out[8] = out[9] = out[11] = out[12] = 0.5
    out[19] = math.log(1.0 + learner[ACCEPTED])
    count = int(learner[EVENTS])
    if count == 0:
        return
    for back in range(min(count, 5)):
        place = RING_WIDTH * ((count - 1 - back) % RING_EVENTS)
        out[back] = slots[int(ring[place + RING_TOPIC])]
    out[5] = slots[int(learner[BEST])]
    out[6] = 1 + ring[RING_WIDTH * ((count - 1) % RING_EVENTS) + RING_KIND]
    out[7] = math.log(1.0 + count)
    attempts = int(learner[ATTEMPTS])
    if attempts > 0:
        out[8] = learner[SCORE_SUM] / attempts
        known = min(attempts, LAST_SCORES)
        total = 0.0
        for index in range(known):
            total += learner[SCORES + index]
        out[9] = total / known
    out[10] = math.log(1.0 + row[T_EVENTS])
    attempts = int(row[T_ATTEMPTS])
    if attempts > 0:
        known = min(attempts, LAST_SCORES)
        total = 0.0
        for index in range(known):
            total += row[T_SCORES + index]
        out[11] = total / known
        out[12] = row[T_SCORES + (attempts - 1) % LAST_SCORES]
        known = min(attempts, 3)
        total = 0.0
        for back in range(known):
            if row[T_SCORES + (attempts - 1 - back) % LAST_SCORES] >= STRONG_SCORE:
                total += 1.0
        out[16] = total / known
    out[13] = math.log(1.0 + learner[STREAK])
    out[14] = math.log(1.0 + learner[TOPICS])
    out[15] = math.log(1.0 + count / learner[DAYS])
    out[17] = math.log(1.0 + max(0.0, now - learner[LAST_TIME]) / 1e6)
    out[18] = math.log(1.0 + row[T_SECONDS])


def pass_rate(attempts: float, passes: float, all_attempts: float, all_passes: float) -> float:
    """A topic's pass rate, shrunk towards the rate of all topics.

    Args:
        attempts: Scored attempts on the topic, by those who count.
        passes: How many of them were passed.
        all_attempts: Scored attempts on all topics.
        all_passes: How many of them were passed.

    Returns:
        A fraction in (0, 1); the overall rate for a topic without attempts, 0.5 without any.
    """
    overall = (all_passes + 1.0) / (all_attempts + 2.0)
    return (passes + PRIOR_ATTEMPTS * overall) / (attempts + PRIOR_ATTEMPTS)


def read_difficulty(
    out: Numbers, row: Numbers, rate: float, surplus: float, attempts: float, now: float
) -> None:
    """Write the inputs of the difficulty model for one topic, as of `now`.

    Args:
        out: 4 numbers; see `contracts.DIFFICULTY_INPUTS`.
        row: The numbers of the topic asked about; zeros for a topic never touched.
        rate: The topic's `pass_rate`.
        surplus: The learner's passes - the passes expected from the rates of the topics attempted.
        attempts: The learner's scored attempts on all topics.
        now: Microseconds since the epoch.
    """
    prior = min(0.98, max(0.02, rate + surplus / (attempts + PRIOR_ATTEMPTS)))
    won = row[T_PASSES] + PRIOR_ATTEMPTS * prior
    tried = row[T_ATTEMPTS] + PRIOR_ATTEMPTS
    out[0] = min(MAX_LOGIT, max(-MAX_LOGIT, math.log(won / (tried - won))))
    out[1] = math.log(1.0 + row[T_ATTEMPTS])
    out[2] = 0.0
    out[3] = -1.0
    if row[T_ATTEMPTS] > 1:
        out[2] = row[T_RECENT] - row[T_SCORE_SUM] / row[T_ATTEMPTS]
    if row[T_ATTEMPTS] > 0:
        out[3] = math.log(1.0 + max(0.0, now - row[T_LAST_ATTEMPT]) / 1e6)


def logit(share: float) -> float:
    """Log odds of a fraction, within ±`MAX_LOGIT`; also of 0 and of 1."""
    if share <= 0.0:
        return -MAX_LOGIT
    if share >= 1.0:
        return MAX_LOGIT
    return min(MAX_LOGIT, max(-MAX_LOGIT, math.log(share / (1.0 - share))))


def item_logit(rate: float, attempts: float, passes: float) -> float:
    """How much easier an item is than its topic, in log odds.

    Args:
        rate: The topic's `pass_rate`.
        attempts: Scored attempts on the item, by those who count; 0 where there is no item.
        passes: How many of them were passed.

    Returns:
        The log odds of the item's rate, shrunk by `PRIOR_ATTEMPTS` to the topic's, minus the
        topic's; 0 for an item nobody tried.
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
    """Write what a sequence network reads of one learning event.

    Args:
        out: 9 numbers; see `contracts.EVENT_INPUTS`.
        slot: Slot of the event's topic; 0 unknown.
        kind: Code of the event kind.
        score: Fraction, NaN without one; counts only where the kind is an attempt.
        gap: Microseconds since the last learning event; 0 for the first.
        rate: The topic's `pass_rate`.
        item_attempts: Scored attempts on the event's item, by those who count; 0 without an item.
        item_passes: How many of them were passed.
        level: Code of the level that the event names; -1 where it names none.
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
    """Write what a success network reads of the topic asked about, as of `now`.

    Args:
        out: Numbers, zeros on entry, of which all are written but the four of
            `features.corpus.ability`; see `contracts.SUCCESS_INPUTS`.
        learner: The learner's numbers.
        row: The numbers of the topic; zeros for one never touched.
        same: Whether the last learning event was on it.
        practice: Whether practice is tried rather than a quiz.
        rate: The topic's `pass_rate`.
        attempts: Scored attempts of all on the topic.
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
    tried = int(row[T_ATTEMPTS])
    for back in range(min(tried, 3)):
        out[7 + back] = row[T_SCORES + (tried - 1 - back) % LAST_SCORES] - 0.5
    tried = int(learner[ATTEMPTS])
    for back in range(min(tried, 3)):
        out[10 + back] = learner[SCORES + (tried - 1 - back) % LAST_SCORES] - 0.5
    out[17] = 1.0 if practice else 0.0


def read_item(out: Numbers, rate: float, attempts: float, passes: float) -> None:
    """Write what a success network reads of the item that will be tried.

    Args:
        out: 3 numbers, zeros on entry; see `contracts.ITEM_INPUTS`.
        rate: The `pass_rate` of its topic.
        attempts: Scored attempts of all on the item; 0 where no item is named.
        passes: How many of them were passed.
    """
    if attempts > 0:
        out[0] = 1.0
        out[1] = item_logit(rate, attempts, passes)
        out[2] = math.log(1.0 + attempts)
