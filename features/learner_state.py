"""Learner state, and the step that updates it with one event; `features.inputs` reads it.

The steps are plain functions on indexable numbers. Serving runs them as they are on lists;
`features.batch` compiles the same code with Numba and runs it on arrays. A topic's key is its id
in serving and its code in batch: the steps only compare keys and look up their slots.

State of one learner:
    learner: `LEARNER_WIDTH` numbers about the learner as a whole.
    row: `ROW_WIDTH` numbers per topic touched.
    ring: ring buffer of the last `RING_EVENTS` learning events, `RING_WIDTH` numbers each.
"""

import math
from typing import Any, Protocol

from sensei.contracts import ATTEMPT_KINDS, DAY, KINDS, LEARNING_KINDS, LEVELS, PASS_SCORE

LEARNING = len(LEARNING_KINDS)  # kind codes below it are learning events
ACCEPTED_KIND = KINDS.index("recommendation_accepted")
QUIZ, PRACTICE = (KINDS.index(kind) for kind in ATTEMPT_KINDS)
EASY, _, HARD = range(len(LEVELS))

RECENT_WEIGHT = 0.3  # weight of the newest score in the recent mean
HISTORY_DECAY = 0.1  # a topic's weight is multiplied by exp(-0.1) at each learning event
FAST_DECAY = 0.5
RING_EVENTS, RING_WIDTH = 100, 4
RING_TOPIC, RING_KIND, RING_SCORE, RING_TIME = range(4)
LAST_SCORES = 5

# Indices in `learner`; the last scores and the counts per kind take several numbers.
EVENTS, ATTEMPTS, PASSES, SCORE_SUM, STREAK, BEST, BEST_EVENTS, TOPICS = range(8)
DAYS, LAST_DAY, LAST_TIME, ACCEPTED, SCORES = range(8, 13)
KIND_EVENTS = SCORES + LAST_SCORES
LEARNER_WIDTH = KIND_EVENTS + LEARNING

# Indices in `row`; the last scores take several numbers.
T_EVENTS, T_SECONDS, T_ATTEMPTS, T_PASSES, T_SCORE_SUM, T_RECENT, T_LAST_ATTEMPT = range(7)
T_WEIGHT, T_FAST, T_WEIGHT_AT, T_TIME, T_STREAK = range(7, 12)
T_EASY, T_EASY_SCORES, T_HARD, T_HARD_SCORES, T_SCORES = range(12, 17)
ROW_WIDTH = T_SCORES + LAST_SCORES


class Numbers(Protocol):
    """Protocol of a list or a one-dimensional array of numbers."""

    def __getitem__(self, index: int, /) -> Any:
        """Return the number at `index`."""

    def __setitem__(self, index: int, value: Any, /) -> None:
        """Set the number at `index`."""


def advance(
    learner: Numbers,
    row: Numbers,
    ring: Numbers,
    kind: int,
    topic: int,
    score: float,
    duration: float,
    time: int,
    level: int,
) -> None:
    """Update the state with one event.

    Args:
        learner: The learner's numbers, changed in place.
        row: The numbers of the event's topic, changed in place; a response event changes none.
        ring: The learner's last learning events, changed in place.
        kind: Code of the event kind.
        topic: Key of the topic.
        score: Fraction, NaN without a score; ignored unless the kind is an attempt.
        duration: Seconds, NaN if unknown.
        time: Microseconds since the epoch, never before the previous event.
        level: Code of the level that the event names; -1 if it names none.
    """
    if kind >= LEARNING:
        if kind == ACCEPTED_KIND:
            learner[ACCEPTED] += 1
        return
    count = int(learner[EVENTS])
    newest = RING_WIDTH * ((count - 1) % RING_EVENTS) + RING_TOPIC
    if count > 0 and ring[newest] == topic:
        learner[STREAK] += 1
    else:
        learner[STREAK] = 1
    ring_start = RING_WIDTH * (count % RING_EVENTS)
    ring[ring_start + RING_TOPIC] = topic
    ring[ring_start + RING_KIND] = kind
    ring[ring_start + RING_SCORE] = score
    ring[ring_start + RING_TIME] = time
    day = time // DAY
    if count == 0 or learner[LAST_DAY] != day:
        learner[DAYS] += 1
        learner[LAST_DAY] = day
    learner[EVENTS] += 1
    learner[KIND_EVENTS + kind] += 1
    learner[LAST_TIME] = time
    if row[T_EVENTS] == 0:
        learner[TOPICS] += 1
    row[T_EVENTS] += 1
    if row[T_EVENTS] > learner[BEST_EVENTS]:
        learner[BEST_EVENTS] = row[T_EVENTS]
        learner[BEST] = topic
    passed_by = row[T_WEIGHT_AT] - count - 1
    row[T_WEIGHT] = 1.0 + row[T_WEIGHT] * math.exp(HISTORY_DECAY * passed_by)
    row[T_FAST] = 1.0 + row[T_FAST] * math.exp(FAST_DECAY * passed_by)
    row[T_WEIGHT_AT] = count + 1
    row[T_TIME] = time
    if duration > 0:
        row[T_SECONDS] += duration
    if kind in (QUIZ, PRACTICE) and score == score:
        learner[SCORES + int(learner[ATTEMPTS]) % LAST_SCORES] = score
        learner[ATTEMPTS] += 1
        learner[SCORE_SUM] += score
        attempts = int(row[T_ATTEMPTS])
        row[T_RECENT] += (RECENT_WEIGHT if attempts > 0 else 1.0) * (score - row[T_RECENT])
        row[T_SCORES + attempts % LAST_SCORES] = score
        row[T_ATTEMPTS] += 1
        row[T_SCORE_SUM] += score
        row[T_LAST_ATTEMPT] = time
        if level == EASY:
            row[T_EASY] += 1
            row[T_EASY_SCORES] += score
        elif level == HARD:
            row[T_HARD] += 1
            row[T_HARD_SCORES] += score
        if score >= PASS_SCORE:
            learner[PASSES] += 1
            row[T_PASSES] += 1
            row[T_STREAK] = max(row[T_STREAK], 0.0) + 1.0
        else:
            row[T_STREAK] = min(row[T_STREAK], 0.0) - 1.0
