"""Inputs of networks beyond the flat ones: a learner's event sequence, and inputs per topic.

They are computed for a few learners at a time: for a whole log, inputs per target and topic do not
fit into memory.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples, start_of
from features.corpus.ability import add_up, general_ability, read_ability
from features.corpus.catalogue_features import TopicRelations
from features.corpus.difficulty_levels import EventColumns, LevelCounts, counts_by_code, rate_of
from features.corpus.popularity import slots_by_topic
from features.input_indices import LAST, NEW, PRIORS, RECENT, SEEN
from features.inputs import logit, read_attempt, read_event, read_item, read_topic
from features.learner_state import (
    LAST_TIME,
    LEARNER_WIDTH,
    LEARNING,
    PRACTICE,
    RING_EVENTS,
    RING_TOPIC,
    RING_WIDTH,
    ROW_WIDTH,
    T_EVENTS,
    advance,
)
from features.numba_bridge import compiled
from sensei.contracts import (
    DAY,
    EVENT_INPUTS,
    ITEM_INPUTS,
    SUCCESS_INPUTS,
    TOPIC_INPUTS,
)

EVERY = np.iinfo(np.int32).max

Floats = NDArray[np.float32]

NOTHING = np.zeros((0, 0), np.float32)
NO_TOPICS = np.zeros((0, 0, 0), np.float32)


@dataclass(frozen=True)
class Sequences:
    """Sequence and topic inputs of examples, computed on demand for any of their rows."""

    rows: Examples

    @cached_property
    def _counts(self) -> list[LevelCounts]:
        events = self.rows.events
        return [
            counts_by_code(table, table.slots_of(events.topic_ids), events.item_ids)
            for table in self.rows.tables
        ]

    @cached_property
    def _topic_logits(self) -> list[Floats]:
        """Log odds of each topic's pass rate, by topic code, for each of the tables."""
        topics = range(len(self.rows.topic_slots))
        return [
            np.array([logit(rate_of(counts.by_topic, topic)) for topic in topics])
            for counts in self._counts
        ]

    @cached_property
    def _related(self) -> TopicRelations:
        rows = self.rows
        slots = slots_by_topic(rows.tables[0], rows.recency)
        return rows.outline.related(slots, rows.tables[0].width)

    @cached_property
    def _domains(self) -> NDArray[np.int64]:
        """Domain of each topic, by topic code; 0 for none."""
        ids = self.rows.events.topic_ids.tolist()
        return np.array([*(self.rows.outline.codes[topic_id] for topic_id in ids), 0])

    @cached_property
    def _columns(self) -> EventColumns:
        return EventColumns(*(getattr(self.rows.events, name) for name in EventColumns._fields))

    def events_before(
        self, chosen: NDArray[np.int64], reach: int = EVERY
    ) -> tuple[Floats, NDArray[np.int32]]:
        """Compute the event inputs of the chosen rows' learners, up to each learner's last row.

        A piece is a run of consecutive rows of one learner.

        Args:
            chosen: (n,) rows, ascending.
            reach: maximum number of events before the first row of a piece; all by default.

        Returns:
            (pieces, longest, 9) float32 of `contracts.EVENT_INPUTS`, zeros after the end, and
            (n,) int32: index of each row's history in an array of (pieces * (longest + 1),)
            entries, which has per piece one entry after 0, 1, ..., longest events.
        """
        return self._unrolled(chosen, reach)

    def topics(self, chosen: NDArray[np.int64]) -> Floats:
        """Compute (n, width, 16) inputs per topic as of each row; see `contracts.TOPIC_INPUTS`."""
        rows = self.rows
        out = np.zeros((len(chosen), rows.tables[0].width, len(TOPIC_INPUTS)), np.float32)
        self._unrolled(chosen, 0, topics=out)
        for table_index in np.unique(rows.table[chosen]):
            row_indices = np.flatnonzero(rows.table[chosen] == table_index)
            last, before = rows.recommendation[chosen[row_indices], :2].T.astype(np.int64)
            ratios = rows.tables[table_index].continuations.log_ratios(
                last, before, rows.previous[chosen[row_indices]]
            )
            for column, ratio in zip(PRIORS, ratios, strict=True):
                out[row_indices, :, column] = ratio
        out[:, :, RECENT] = rows.recency.of_days(rows.start[chosen] // DAY)
        met_today = (out[:, :, NEW] > 1.0) & (out[:, :, SEEN] > 0.0)
        out[:, :, NEW][met_today] = 1.0
        self._related.write(out)
        return out

    def attempted(self, chosen: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Compute the inputs of a success network for the attempt of each row.

        Returns:
            float32 arrays: (n, 18) of `contracts.SUCCESS_INPUTS`, (n, 3) of
            `contracts.ITEM_INPUTS`.
        """
        free = np.zeros((len(chosen), len(SUCCESS_INPUTS)), np.float32)
        item = np.zeros((len(chosen), len(ITEM_INPUTS)), np.float32)
        self._unrolled(chosen, 0, free=free, item=item)
        return free, item

    def _unrolled(
        self,
        chosen: NDArray[np.int64],
        reach: int,
        topics: Floats = NO_TOPICS,
        free: Floats = NOTHING,
        item: Floats = NOTHING,
    ) -> tuple[Floats, NDArray[np.int32]]:
        rows, events = self.rows, self.rows.events
        # A gap between rows of one learner starts a new piece: it may span thousands of events.
        new_piece = (np.diff(rows.learner[chosen], prepend=-1) != 0) | (
            np.diff(chosen, prepend=-9) != 1
        )
        piece_starts = np.flatnonzero(new_piece)
        bounds = np.append(piece_starts, len(chosen))
        skipped = np.maximum(rows.previous[chosen[piece_starts]] - reach, 0)
        piece_of_row = np.repeat(np.arange(len(piece_starts)), np.diff(bounds))
        events_before = rows.previous[chosen] - skipped[piece_of_row]
        longest = max(1, int(events_before.max(initial=0)))  # a recurrent layer refuses length 0
        out = np.zeros((len(piece_starts), longest, len(EVENT_INPUTS)), np.float32)
        space = _space(len(rows.topic_slots), rows.outline.size)
        for piece, learner in enumerate(rows.learner[chosen[piece_starts]]):
            piece_rows = slice(bounds[piece], bounds[piece + 1])
            table = rows.table[chosen[bounds[piece]]]
            counts = self._counts[table]
            compiled(unroll)(
                self._columns,
                events.offsets[learner],
                rows.event[chosen[piece_rows]],
                int(skipped[piece]),
                rows.topic_slots,
                counts.by_topic,
                counts.by_task,
                self._topic_logits[table],
                self._domains,
                *space,
                out[piece],
                topics[piece_rows],
                free[piece_rows],
                item[piece_rows],
            )
        return out, (piece_of_row * (longest + 1) + events_before).astype(np.int32)


def _space(topics: int, domains: int) -> tuple[NDArray[np.float64], ...]:
    """Create buffers for one learner's state; `unroll` leaves them ready for the next learner."""
    return (
        np.zeros(LEARNER_WIDTH),
        np.zeros((topics, ROW_WIDTH)),
        np.zeros(RING_EVENTS * RING_WIDTH),
        np.zeros(topics),
        np.zeros((domains + 1, 3)),
    )


def unroll(
    columns: EventColumns,
    start: int,
    targets: NDArray[np.int64],
    skipped: int,
    slots: NDArray[np.int32],
    by_topic: NDArray[np.float64],
    by_task: NDArray[np.float64],
    topic_logits: NDArray[np.float64],
    domains: NDArray[np.int64],
    learner: NDArray[np.float64],
    table: NDArray[np.float64],
    ring: NDArray[np.float64],
    touched: NDArray[np.float64],
    sums: NDArray[np.float64],
    out: NDArray[np.float32],
    dense: NDArray[np.float32],
    free: NDArray[np.float32],
    item: NDArray[np.float32],
) -> None:
    """Fold one learner's events and write the network inputs of each event and target.

    Args:
        columns: The events, sorted by learner and time.
        start: Index of the learner's first event.
        targets: (k,) indices of the learner's target events, ascending.
        skipped: Number of learning events at the start that are folded but not written.
        slots: (T + 1,) slot of each topic code.
        by_topic: Counts of the statistics; see `features.corpus.difficulty_levels`.
        by_task: Counts of the statistics per task.
        topic_logits: (T + 1,) log odds of the topics' pass rates.
        domains: (T + 1,) domain of each topic code; 0 for none.
        learner: (`LEARNER_WIDTH`,) buffer; see `features.learner_state`, also for `table` and
            `ring`. `learner` and `table` are zeros on entry, and set to zeros again at the end.
        table: (T + 1, `ROW_WIDTH`) buffer.
        ring: (`RING_EVENTS` * `RING_WIDTH`,) buffer.
        touched: (T + 1,) buffer.
        sums: (domains + 1, 3) buffer.
        out: (events, 9) output, zeros on entry.
        dense: (k, width, 16) output of which the first columns are written, zeros on entry. It has
            no rows if it is not needed; so do `free` and `item`.
        free: (k, 18) output, zeros on entry.
        item: (k, 3) output, zeros on entry.
    """
    kinds, topics, items, scores, durations, times, levels = columns
    touched_count = event_count = target_index = 0
    for index in range(start, targets[-1] + 1):
        kind, topic, score, time = kinds[index], topics[index], scores[index], times[index]
        row = table[topic]
        attempts, passes = item_counts(by_task, items[index])
        rate = rate_of(by_topic, topic)
        if index == targets[target_index]:
            now = start_of(time, durations[index])
            last = int(ring[RING_WIDTH * ((event_count - 1) % RING_EVENTS) + RING_TOPIC])
            if len(dense) > 0:
                read_topics(
                    dense[target_index], table, touched, touched_count, slots, event_count, now
                )
                if event_count > 0 and slots[last] > 0:
                    dense[target_index, slots[last] - 1, LAST] = 1.0
            if len(free) > 0:
                same = event_count > 0 and last == topic
                topic_attempts = by_topic[topic, 0]
                practice = kind == PRACTICE
                read_attempt(
                    free[target_index], learner, row, same, practice, rate, topic_attempts, now
                )
                ability = general_ability(table, touched, touched_count, topic_logits)
                sums[:] = 0.0
                add_up(sums, table, touched, touched_count, topic_logits, domains, ability)
                read_ability(
                    free[target_index], row, topic_logits[topic], ability, domains[topic], sums
                )
                read_item(item[target_index], rate, attempts, passes)
            target_index += 1
            if target_index == len(targets):
                break
        if kind < LEARNING:
            if skipped <= event_count < skipped + len(out):
                gap = time - learner[LAST_TIME] if event_count > 0 else 0.0
                event = out[event_count - skipped]
                level = levels[index]
                read_event(event, slots[topic], kind, score, gap, rate, attempts, passes, level)
            event_count += 1
            if row[T_EVENTS] == 0:
                touched[touched_count] = topic
                touched_count += 1
        advance(learner, row, ring, kind, topic, score, durations[index], time, levels[index])
    for touched_index in range(touched_count):
        table[int(touched[touched_index])] = 0.0
    learner[:] = 0.0


def read_topics(
    out: NDArray[np.float32],
    table: NDArray[np.float64],
    touched: NDArray[np.float64],
    count: int,
    slots: NDArray[np.int32],
    event_count: int,
    now: float,
) -> None:
    """Write the inputs of each topic that the learner has met and that has a slot."""
    for index in range(count):
        topic = int(touched[index])
        if slots[topic] > 0:
            read_topic(out[slots[topic] - 1], table[topic], event_count, now)


def item_counts(by_task: NDArray[np.float64], item: int) -> tuple[float, float]:
    """Return all learners' attempts on an item and the passes; zeros without an item."""
    if item < 0:
        return 0.0, 0.0
    return by_task[item, 0], by_task[item, 1]
