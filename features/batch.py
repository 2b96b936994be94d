"""Batch features: the inputs of many targets, computed by the compiled fold in one pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.difficulty_levels import (
    EventColumns,
    LevelCounts,
    counts_by_code,
    level_taken,
    rate_of,
    task_of,
)
from features.corpus.popularity import SlotPopularity, slots_of
from features.corpus.statistics import Statistics
from features.events import Events, encode
from features.inputs import read_difficulty, read_recommendation
from features.learner_state import (
    ATTEMPTS,
    EVENTS,
    LEARNER_WIDTH,
    LEARNING,
    PASSES,
    PRACTICE,
    QUIZ,
    RING_EVENTS,
    RING_WIDTH,
    ROW_WIDTH,
    T_EVENTS,
    advance,
)
from features.numba_bridge import compiled
from sensei.contracts import DIFFICULTY_INPUTS, PASS_SCORE, RECOMMENDATION_INPUTS

__all__ = ["Events", "Examples", "encode", "examples"]

PER_ROW = ("event", "recommendation", "difficulty", "level", "passed", "previous", "table")
"""Names of the `Examples` arrays that have one entry per target."""


@dataclass(frozen=True)
class Examples:
    """n targets in the order of `Events`, with their point-in-time inputs.

    The inputs of a target are computed from the events before it.

    Attributes:
        events: the log that contains the targets.
        tables: statistics that the rows were read with: one, or one per fold of learners.
        recency: recent popularity of topics, by day.
        outline: catalogue features of topics.
        topic_slots: (T + 1,) slot of each of the events' topics, spare slots of newcomers
            included; the last entry is 0.
        event: (n,) index of the target in `events`.
        recommendation: (n, 20) float32, see `contracts.RECOMMENDATION_INPUTS`.
        difficulty: (n, 4) float32, see `contracts.DIFFICULTY_INPUTS`.
        level: (n,) level taken, a code of `contracts.LEVELS`; -1 if the target is no attempt.
        passed: (n,) 1 passed, 0 failed, -1 no scored attempt.
        previous: (n,) number of the learner's earlier learning events.
        table: (n,) index in `tables` of the statistics that the row was read with.
    """

    events: Events
    tables: tuple[Statistics, ...]
    recency: SlotPopularity
    outline: CatalogueFeatures
    topic_slots: NDArray[np.int32]
    event: NDArray[np.int64]
    recommendation: NDArray[np.float32]
    difficulty: NDArray[np.float32]
    level: NDArray[np.int8]
    passed: NDArray[np.int8]
    previous: NDArray[np.int32]
    table: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.event)

    def take(self, chosen: NDArray[Any]) -> "Examples":
        """Select examples by a mask or by positions."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in PER_ROW})

    @cached_property
    def learner(self) -> NDArray[np.int32]:
        """(n,) index of the learner in `events.user_ids`."""
        learner_index = np.searchsorted(self.events.offsets, self.event, side="right") - 1
        return learner_index.astype(np.int32)

    @cached_property
    def time(self) -> NDArray[np.int64]:
        """(n,) timestamp of the target, microseconds since the epoch."""
        return self.events.time[self.event]

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """(n,) start of the target, microseconds since the epoch; inputs are as of this moment."""
        duration = self.events.duration[self.event]
        return self.time - np.where(duration > 0, 1e6 * duration, 0.0).astype(np.int64)

    @cached_property
    def target(self) -> NDArray[np.int32]:
        """(n,) slot of the target's topic, spare slots included; 0 if it has none."""
        return self.topic_slots[self.events.topic[self.event]]

    @cached_property
    def topic_id(self) -> NDArray[np.int64]:
        """(n,) topic id of the target."""
        return self.events.topic_ids[self.events.topic[self.event]]

    @cached_property
    def score(self) -> NDArray[np.float32]:
        """(n,) score of the target, a fraction; NaN without a score."""
        return self.events.score[self.event].astype(np.float32)

    @cached_property
    def last_topic(self) -> NDArray[np.int32]:
        """(n,) slot of the last topic before the target; 0 if none or unknown."""
        return self.recommendation[:, 0].astype(np.int32)

    @cached_property
    def last_topic_id(self) -> NDArray[np.int64]:
        """(n,) id of the last topic before the target, with or without a slot; -1 if none."""
        learning = np.flatnonzero(self.events.kind < LEARNING)
        before = learning[np.searchsorted(learning, self.event) - 1]
        ids = self.events.topic_ids[self.events.topic[before]]
        return np.where(self.previous > 0, ids, -1)


class StateBuffers(NamedTuple):
    """Buffers for one learner's state, reused for each learner.

    Attributes:
        learner: (`LEARNER_WIDTH`,) see `features.learner_state`.
        table: (T + 1, `ROW_WIDTH`) one row per topic code; only the rows touched are cleared.
        ring: (`RING_EVENTS` * `RING_WIDTH`,) the last learning events.
        touched: (T + 1,) codes of the topics touched.
    """

    learner: NDArray[np.float64]
    table: NDArray[np.float64]
    ring: NDArray[np.float64]
    touched: NDArray[np.int32]


class ExampleColumns(NamedTuple):
    """Columns of `Examples` that the fold writes."""

    event: NDArray[np.int64]
    recommendation: NDArray[np.float32]
    difficulty: NDArray[np.float32]
    level: NDArray[np.int8]
    passed: NDArray[np.int8]
    previous: NDArray[np.int32]


def examples(
    events: Events,
    statistics: Statistics,
    targets: NDArray[np.bool_],
    recency: SlotPopularity | None = None,
    outline: CatalogueFeatures | None = None,
) -> Examples:
    """Compute the inputs of the targets from all events before each target.

    Args:
        events: The encoded log with all history, also before the first target.
        statistics: Corpus tables up to the training cutoff. Training targets need tables of other
            learners.
        targets: (n_events,) mask of the targets; only learning events become examples.
        recency: New topics and recent popularity; none by default.
        outline: Catalogue features; none by default.

    Returns:
        The examples, in the order of the events.
    """
    wanted = targets & (events.kind < LEARNING)
    count = int(np.count_nonzero(wanted))
    rows = ExampleColumns(
        event=np.flatnonzero(wanted),
        recommendation=np.zeros((count, len(RECOMMENDATION_INPUTS)), np.float32),
        difficulty=np.zeros((count, len(DIFFICULTY_INPUTS)), np.float32),
        level=np.full(count, -1, np.int8),
        passed=np.full(count, -1, np.int8),
        previous=np.zeros(count, np.int32),
    )
    recency = recency or SlotPopularity.nothing(statistics)
    slots = slots_of(events.topic_ids, statistics, recency.newcomers)
    slots = np.append(slots, 0).astype(np.int32)
    space = StateBuffers(
        learner=np.zeros(LEARNER_WIDTH),
        table=np.zeros((len(slots), ROW_WIDTH)),
        ring=np.zeros(RING_EVENTS * RING_WIDTH),
        touched=np.zeros(len(slots), np.int32),
    )
    compiled(fold)(
        EventColumns(*(getattr(events, name) for name in EventColumns._fields)),
        events.offsets,
        slots,
        counts_by_code(statistics, statistics.slots_of(events.topic_ids), events.item_ids),
        wanted,
        space,
        rows,
    )
    return Examples(
        events=events,
        tables=(statistics,),
        recency=recency,
        outline=outline or CatalogueFeatures(),
        topic_slots=slots,
        table=np.zeros(count, np.int8),
        **rows._asdict(),
    )


def joined(parts: Sequence[Examples]) -> Examples:
    """Join examples of one log that were read with different statistics, in event order."""
    order = np.argsort(np.concatenate([part.event for part in parts]))
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])[order] for name in PER_ROW
    }
    columns["table"] = np.repeat(np.arange(len(parts)), [len(part) for part in parts])[order]
    columns["table"] = columns["table"].astype(np.int8)
    tables = tuple(part.tables[0] for part in parts)
    return replace(parts[0], tables=tables, **columns)


def fold(
    columns: EventColumns,
    offsets: NDArray[np.int64],
    slots: NDArray[np.int32],
    counts: LevelCounts,
    wanted: NDArray[np.bool_],
    space: StateBuffers,
    rows: ExampleColumns,
) -> None:
    """Fold every learner's events and write one row per wanted event.

    Args:
        columns: The events, sorted by learner and time.
        offsets: (L + 1,) index of each learner's first event, then n.
        slots: (T + 1,) slot of each topic code.
        counts: The statistics by code.
        wanted: (n,) mask of the events that become rows.
        space: Buffers for one learner's state, zeros on entry.
        rows: Columns to fill, changed in place.
    """
    # Unpack the tuples before the loop: each access inside it would count references.
    kinds, topics, items, scores, durations, times, event_levels = columns
    _, recommendation, difficulty, level, passed, previous = rows
    by_topic, by_task, levels = counts
    learner, table, ring, touched = space
    row_index = 0
    for person in range(len(offsets) - 1):
        start, stop = offsets[person], offsets[person + 1]
        if not wanted[start:stop].any():
            continue
        clear(learner)
        last = touched_count = 0
        expected = 0.0  # expected passes over the learner's attempts so far
        for index in range(start, stop):
            kind, topic, score, time = kinds[index], topics[index], scores[index], times[index]
            attempt = kind in (QUIZ, PRACTICE)
            scored = attempt and not math.isnan(score)
            row, rate = table[topic], rate_of(by_topic, topic)
            if wanted[index]:
                now = start_of(time, durations[index])
                read_recommendation(
                    recommendation[row_index], learner, table[last], ring, slots, now
                )
                surplus = learner[PASSES] - expected
                read_difficulty(difficulty[row_index], row, rate, surplus, learner[ATTEMPTS], now)
                previous[row_index] = learner[EVENTS]
                if attempt:
                    task = task_of(by_topic, by_task, items[index], topic)
                    level[row_index] = level_taken(
                        by_topic, by_task, levels, topic, task, event_levels[index]
                    )
                if scored:
                    passed[row_index] = score >= PASS_SCORE
                row_index += 1
            if scored:
                expected += rate
            if kind < LEARNING:
                last = topic
                touched[touched_count] = topic
                touched_count += row[T_EVENTS] == 0
            advance(
                learner, row, ring, kind, topic, score, durations[index], time, event_levels[index]
            )
        for index in range(touched_count):
            clear(table[touched[index]])


def start_of(time: int, duration: float) -> float:
    """Return the start (us) of an event that ended at `time` (us); `time` without a duration."""
    return time - 1e6 * duration if duration > 0 else float(time)


def clear(numbers: NDArray[np.float64]) -> None:
    """Set every number to 0."""
    for index in range(len(numbers)):
        numbers[index] = 0.0
