"""What the log says about topics lately: how popular each is, and which are new since training."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus.statistics import Slots, Statistics
from sensei.contracts import DAY

NEVER = np.iinfo(np.int64).max
"""Day of what did not happen."""

ALWAYS = np.iinfo(np.int64).min
"""Day on which the topics of the catalogue arrived."""

WINDOW_DAYS = 28
HALF_LIVES = (2.0, 7.0)
"""Days after which an event weighs half: what is studied this week, and this month."""


@dataclass(frozen=True)
class SlotPopularity:
    """Learning events by UTC day and slot.

    A day reads the `WINDOW_DAYS` before it, never itself: what is known at any of its moments.

    Attributes:
        topics: T, topics of the vocabulary.
        newcomers: (m,) ids of topics that the vocabulary lacks, in the order in which they first
            appeared, those of the catalogue that did not at the end; the first ones get the spare
            slots T + 1, T + 2, ...
        arrived: (m,) day (since 1970) on which each of them did.
        first_day: day of the first row.
        counts: (days, width) learning events.
    """

    topics: int
    newcomers: NDArray[np.int64]
    arrived: NDArray[np.int64]
    first_day: int
    counts: NDArray[np.float32]

    @classmethod
    def nothing(cls, statistics: Statistics) -> "SlotPopularity":
        """No event lately and no newcomer."""
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
        """Count rows of a topic and a day.

        Args:
            statistics: whose vocabulary and width count.
            first: time of the first event of each topic, microseconds since 1970; topics that
                the vocabulary knows may be missing.
            topic_ids: (T,) ids.
            topic: (n,) place in `topic_ids`.
            day: (n,) UTC days since 1970.
            events: (n,) how many events a row stands for; by default one.
            offered: topics of the catalogue; those without a slot are there from the beginning,
                whether met or not.
        """
        known = {*offered}
        new = [each for each in first.keys() | known if not statistics.slot_of(each)]
        new.sort(key=lambda each: (first.get(each, NEVER), each))
        arrived = [ALWAYS if each in known else first[each] // DAY for each in new]
        newcomers = np.array(new, np.int64)
        slot = slots_of(topic_ids, statistics, newcomers)[topic]
        kept = slot > 0
        slot, day = slot[kept], day[kept]
        start = int(day.min()) if len(day) else 0
        days = int(day.max()) - start + 1 if len(day) else 0
        cell = (day - start) * statistics.width + slot - 1
        weight = None if events is None else events[kept]
        counts = np.bincount(cell, weight, days * statistics.width).astype(np.float32)
        return cls(
            len(statistics.topic_ids),
            newcomers,
            np.array(arrived, np.int64),
            start,
            counts.reshape(days, statistics.width),
        )

    def lately(self, day: NDArray[np.int64]) -> NDArray[np.float32]:
        """What all learners did in the days before.

        Args:
            day: (n,) UTC days since 1970.

        Returns:
            (n, width, 4): for each of `HALF_LIVES` the log of a slot's events, recent ones
            weighing more and one added, over their mean; log1p(days since the first of the
            last 28 days on which it was met) / 4; and 0 for a topic of the vocabulary, 1 for a
            newcomer, 2 for a slot that no topic has on that day.
        """
        asked, row = np.unique(day, return_inverse=True)
        table = np.array([self.of_day(int(each)) for each in asked], np.float32)
        return table.reshape(-1, self.counts.shape[1], len(HALF_LIVES) + 2)[row]

    @cached_property
    def _days(self) -> dict[int, NDArray[np.float32]]:
        return {}

    def of_day(self, day: int) -> NDArray[np.float32]:
        """(width, 4) the same of one day, which is computed once."""
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
        found = np.zeros(self.counts.shape[1])
        found[self.topics :] = 2.0
        spare = len(found) - self.topics
        found[self.topics + np.flatnonzero(self.arrived[:spare] < day)] = 1.0
        return found


def slots_by_topic(statistics: Statistics, recency: SlotPopularity) -> Slots:
    """Slot of each topic id, spare ones of newcomers included; 0 for an unknown one."""
    return Slots(spare_slots(statistics, recency.newcomers) | statistics.slots)


def spare_slots(statistics: Statistics, newcomers: NDArray[np.int64]) -> dict[int, int]:
    """Slot of each newcomer that gets one, after those of the vocabulary."""
    topics = len(statistics.topic_ids)
    spare = newcomers[: statistics.width - topics].tolist()
    return {topic: slot for slot, topic in enumerate(spare, topics + 1)}


def slots_of(
    topic_ids: NDArray[Any], statistics: Statistics, newcomers: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Slot of each topic id: of the vocabulary, a spare one of a newcomer, or 0."""
    places = spare_slots(statistics, newcomers)
    found = np.array([places.get(int(topic), 0) for topic in topic_ids], np.int32)
    known = statistics.slots_of(np.asarray(topic_ids, np.int64))
    return np.where(known > 0, known, found).astype(np.int32)
