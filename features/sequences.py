"""What networks read besides the flat inputs: a learner's events in order, and a number a topic.

Made for a few learners at a time, because a number for each target and topic does not fit into
memory for a whole log.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from features.compilation import compiled
from features.levels import EVERYBODY, Columns, Counts, counts_by_code, rate_of, task_of
from features.recency import DAY
from features.steps import (
    LAST_TIME,
    LEARNER_WIDTH,
    LEARNING,
    RING_EVENTS,
    RING_WIDTH,
    ROW_WIDTH,
    T_EVENTS,
    advance,
    read_event,
    weight_now,
)
from sensei.contracts import EVENT_INPUTS

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sequences:
    """The unrolled inputs of examples, for any of their rows."""

    rows: Examples

    @cached_property
    def _counts(self) -> list[Counts]:
        events = self.rows.events
        return [
            counts_by_code(table, table.slots_of(events.topic_ids), events.item_ids)
            for table in self.rows.tables
        ]

    @cached_property
    def _columns(self) -> Columns:
        return Columns(*(getattr(self.rows.events, name) for name in Columns._fields))

    def events_before(self, chosen: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int32]]:
        """The learning events of the chosen rows' learners, up to each one's last row.

        Args:
            chosen: (n,) rows, ascending.

        Returns:
            (learners, longest, 8) float32 of `contracts.EVENT_INPUTS`, zeros after the end, and
            (n,) int32: place of each row's past in an array (learners * (longest + 1),) that
            holds, for each learner, what came after 0, 1, ... events.
        """
        return self._unrolled(chosen, None)

    def history(self, chosen: NDArray[np.int64]) -> Floats:
        """(n, width) decayed number of the learner's events on each topic, as of each row."""
        out = np.zeros((len(chosen), self.rows.tables[0].width), np.float32)
        self._unrolled(chosen, out)
        return out

    def priors(self, chosen: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """(n, width) log probability of each topic after the last one, and after the last two."""
        rows = self.rows.take(chosen)
        width = rows.tables[0].width
        first, second = (np.empty((len(rows), width), np.float32) for _ in range(2))
        for place, table in enumerate(rows.tables):
            mine = np.flatnonzero(rows.table == place)
            last, before = rows.recommendation[mine, 0], rows.recommendation[mine, 1]
            found = table.continuations.log_priors(
                last.astype(np.int64), before.astype(np.int64), rows.previous[mine]
            )
            first[mine], second[mine] = found
        return first, second

    def recent(self, chosen: NDArray[np.int64]) -> Floats:
        """(n, width) log share of each topic in what all did lately, before the row's day."""
        return self.rows.recency.log_share(self.rows.time[chosen] // DAY)

    def _unrolled(
        self, chosen: NDArray[np.int64], history: Floats | None
    ) -> tuple[Floats, NDArray[np.int32]]:
        rows, events = self.rows, self.rows.events
        first = np.flatnonzero(np.diff(rows.learner[chosen], prepend=-1))
        bounds = np.append(first, len(chosen))
        learners = rows.learner[chosen[first]]
        longest = int(rows.previous[chosen].max(initial=0))
        out = np.zeros((len(learners), longest, len(EVENT_INPUTS)), np.float32)
        nothing = np.zeros((len(chosen), 0), np.float32)
        dense = nothing if history is None else history
        space = _space(len(rows.topic_slots))
        for place, learner in enumerate(learners):
            mine = slice(bounds[place], bounds[place + 1])
            counts = self._counts[rows.table[chosen[bounds[place]]]]
            compiled(unroll)(
                self._columns,
                events.offsets[learner],
                rows.event[chosen[mine]],
                rows.topic_slots,
                counts.by_topic,
                counts.by_task,
                *space,
                out[place],
                dense[mine],
            )
        of = np.repeat(np.arange(len(learners)), np.diff(bounds))
        return out, (of * (longest + 1) + rows.previous[chosen]).astype(np.int32)


def _space(topics: int) -> tuple[NDArray[np.float64], ...]:
    """Room for one learner's state; `unroll` leaves it as it found it."""
    return (
        np.zeros(LEARNER_WIDTH),
        np.zeros((topics, ROW_WIDTH)),
        np.zeros(RING_EVENTS * RING_WIDTH),
        np.zeros(topics),
    )


def unroll(
    columns: Columns,
    start: int,
    targets: NDArray[np.int64],
    slots: NDArray[np.int32],
    by_topic: NDArray[np.float64],
    by_task: NDArray[np.float64],
    learner: NDArray[np.float64],
    table: NDArray[np.float64],
    ring: NDArray[np.float64],
    touched: NDArray[np.float64],
    out: NDArray[np.float32],
    history: NDArray[np.float32],
) -> None:
    """Fold one learner's events and write each as a network reads it.

    Args:
        columns: The events, sorted by learner and time.
        start: The learner's first event.
        targets: (k,) his events that are asked for, ascending.
        slots: (T + 1,) slot of each topic code.
        by_topic: Counts of the statistics; see `features.levels`.
        by_task: The same of tasks.
        learner: Room, zeros; as `features.steps` has it; so are `table` and `ring`.
        table: (T + 1, `ROW_WIDTH`) room.
        ring: Room.
        touched: (T + 1,) room.
        out: (learning events before the last target, 8) written.
        history: (k, width) written, zeros on entry; or (k, 0) where nobody asks.
    """
    kinds, topics, items, scores, durations, times, _ = columns
    known = done = 0
    place = 0
    for index in range(start, targets[-1] + 1):
        if index == targets[place]:
            if history.shape[1] > 0:
                for each in range(known):
                    topic = int(touched[each])
                    if slots[topic] > 0:
                        history[place, slots[topic] - 1] = weight_now(table[topic], done)
            place += 1
            if place == len(targets):
                break
        kind, topic, score, time = kinds[index], topics[index], scores[index], times[index]
        row = table[topic]
        if kind < LEARNING:
            gap = time - learner[LAST_TIME] if done > 0 else 0.0
            tried = won = 0.0
            if items[index] >= 0:
                task = task_of(by_topic, by_task, items[index], topic)
                tried, won = by_task[EVERYBODY, task, 0], by_task[EVERYBODY, task, 1]
            rate = rate_of(by_topic, EVERYBODY, topic)
            read_event(out[done], slots[topic], kind, score, gap, rate, tried, won)
            done += 1
            if row[T_EVENTS] == 0:
                touched[known] = topic
                known += 1
        advance(learner, row, ring, kind, topic, score, durations[index], time)
    for each in range(known):
        table[int(touched[each])] = 0.0
    learner[:] = 0.0
