"""Recent popularity of topics, and the topics that are new since training."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus.statistics import Slots, Statistics
from sensei.contracts import DAY

NEVER = np.iinfo(np.int64).max
"""Sentinel for the first event of a topic without events; it sorts last."""

ALWAYS = np.iinfo(np.int64).min
"""Sentinel arrival day of the catalogue's topics: before every other day."""

WINDOW_DAYS = 28
HALF_LIVES = (2.0, 7.0)
"""Half-lives of an event's weight, in days: popularity of this week, and of this month."""


@dataclass(frozen=True)
class SlotPopularity:
    """Learning events per UTC day and slot.

    The popularity of a day is computed from the `WINDOW_DAYS` before it, never from the day
    itself, so it is the same at every moment of the day.

    Attributes:
        topics: T, number of topics in the vocabulary.
        newcomers: (m,) ids of topics outside the vocabulary, by first appearance; catalogue topics
            without events come last. The first ones get the spare slots T + 1, T + 2, ...
        arrived: (m,) UTC day (since 1970) of each newcomer's arrival; `ALWAYS` for topics of the
            catalogue.
        first_day: UTC day (since 1970) of the first row.
        counts: (days, width) float32, number of learning events.
    """

    topics: int
    newcomers: NDArray[np.int64]
    arrived: NDArray[np.int64]
    first_day: int
    counts: NDArray[np.float32]

    @classmethod
    def nothing(cls, statistics: Statistics) -> "SlotPopularity":
        """Create a popularity without events and newcomers."""
        none = np.empty(0, np.int64)
        counts = np.zeros((0, statistics.width), np.float32)
        return cls(len(statistics.topic_ids), none, none, 0, counts)

    @classmethod
    def counted(
        cls,
        statistics: Statistics,
        first: Mapping[int, int],
        topic_ids: NDArray[np.int64],
        topic: NDArray[Any],
        day: NDArray[np.int64],
        events: NDArray[np.int64] | None = None,
        offered: Iterable[int] = (),
    ) -> "SlotPopularity":
        """Count rows, each with a topic and a day.

        Args:
            statistics: statistics that give the vocabulary and the width.
            first: time of the first event of each topic, microseconds since 1970; topics of the
                vocabulary may be missing.
            topic_ids: (T,) ids.
            topic: (n,) index in `topic_ids`.
            day: (n,) UTC days since 1970.
            events: (n,) number of events of each row; one by default.
            offered: topics of the catalogue; those outside the vocabulary are newcomers from the
                first day, with or without events. With a catalogue, no other topic counts. By
                default each topic with events does.
        """
        catalogue_ids = {*offered}
        counted_ids = catalogue_ids or first.keys()
        new_ids = [topic_id for topic_id in counted_ids if not statistics.slot_of(topic_id)]
        new_ids.sort(key=lambda topic_id: (first.get(topic_id, NEVER), topic_id))
        arrived = [ALWAYS if catalogue_ids else first[topic_id] // DAY for topic_id in new_ids]
        newcomers = np.array(new_ids, np.int64)
        slots = slots_of(topic_ids, statistics, newcomers)
        if catalogue_ids:
            slots = np.where(np.isin(topic_ids, list(catalogue_ids)), slots, 0)
        slot = slots[topic]
        has_slot = slot > 0
        slot, day = slot[has_slot], day[has_slot]
        start = int(day.min()) if len(day) else 0
        days = int(day.max()) - start + 1 if len(day) else 0
        cell = (day - start) * statistics.width + slot - 1
        weight = None if events is None else events[has_slot]
        counts = np.bincount(cell, weight, days * statistics.width).astype(np.float32)
        return cls(
            len(statistics.topic_ids),
            newcomers,
            np.array(arrived, np.int64),
            start,
            counts.reshape(days, statistics.width),
        )

    def of_days(self, day: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute the recent popularity of each slot as of each day.

        Args:
            day: (n,) UTC days since 1970.

        Returns:
            (n, width, 4) float32. The first two, one per half-life of `HALF_LIVES`: log of the
            slot's weighted events plus one, divided by their mean over the slots. The third:
            log1p(days since its first event within the last 28 days) / 4. The fourth: 0 for a
            topic of the vocabulary, 1 for a newcomer, 2 for a slot without a topic on that day.
        """
        days, row = np.unique(day, return_inverse=True)
        table = np.array([self.of_day(int(value)) for value in days], np.float32)
        return table.reshape(-1, self.counts.shape[1], len(HALF_LIVES) + 2)[row]

    @cached_property
    def _days(self) -> dict[int, NDArray[np.float32]]:
        return {}

    def of_day(self, day: int) -> NDArray[np.float32]:
        """Return the (width, 4) popularity of one day (see `of_days`), computed once per day."""
        if day not in self._days:
            stop = min(max(day - self.first_day, 0), len(self.counts))
            start = min(max(day - self.first_day - WINDOW_DAYS, 0), stop)
            counts = self.counts[start:stop].astype(np.float64)
            age = day - self.first_day - np.arange(start, stop)
            weight = 0.5 ** ((age - 1) / np.array(HALF_LIVES)[:, None])
            events = weight @ counts + 1.0
            relative = np.log(events / events.mean(axis=1, keepdims=True))
            days = np.where(counts > 0, age[:, None], 0).max(axis=0, initial=0)
            columns = [*relative, np.log1p(days) / 4.0, self._novelty(day)]
            self._days[day] = np.stack(columns, axis=1).astype(np.float32)
        return self._days[day]

    def _novelty(self, day: int) -> NDArray[np.float64]:
        novelty = np.zeros(self.counts.shape[1])
        novelty[self.topics :] = 2.0
        spare = len(novelty) - self.topics
        novelty[self.topics + np.flatnonzero(self.arrived[:spare] < day)] = 1.0
        return novelty


def slots_by_topic(statistics: Statistics, recency: SlotPopularity) -> Slots:
    """Return the slot of each topic id, spare slots included; 0 for an unknown topic."""
    return Slots(spare_slots(statistics, recency.newcomers) | statistics.slots)


def spare_slots(statistics: Statistics, newcomers: NDArray[np.int64]) -> dict[int, int]:
    """Return the slots of the newcomers that get one; they follow those of the vocabulary."""
    topics = len(statistics.topic_ids)
    spare = newcomers[: statistics.width - topics].tolist()
    return {topic: slot for slot, topic in enumerate(spare, topics + 1)}


def slots_of(
    topic_ids: NDArray[Any], statistics: Statistics, newcomers: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return the slot of each topic id: in the vocabulary, a newcomer's spare slot, or 0."""
    slot_of_newcomer = spare_slots(statistics, newcomers)
    newcomer_slots = np.array(
        [slot_of_newcomer.get(int(topic), 0) for topic in topic_ids], np.int32
    )
    vocabulary_slots = statistics.slots_of(np.asarray(topic_ids, np.int64))
    return np.where(vocabulary_slots > 0, vocabulary_slots, newcomer_slots).astype(np.int32)
