"""Counts of learning events by topic and day, additive over learners, for any vocabulary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.corpus.popularity import SlotPopularity
from features.corpus.statistics import Statistics
from features.events import Events
from features.learner_state import LEARNING
from sensei.contracts import DAY

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DailyCounts:
    """Learning events per topic and UTC day; the size grows with topics and days, not with rows.

    Attributes:
        topic_ids: (T,) ids of the topics with events, ascending.
        first: (T,) time of each topic's first event, microseconds since the epoch.
        topic: (n,) index in `topic_ids`.
        day: (n,) UTC days since 1970.
        events: (n,) number of learning events of the topic on the day.
    """

    topic_ids: Ints
    first: Ints
    topic: Ints
    day: Ints
    events: Ints

    @classmethod
    def of(cls, events: Events, visible: NDArray[np.bool_]) -> "DailyCounts":
        """Count the visible events of a log; learners held out as unseen are not visible."""
        used = visible & (events.kind < LEARNING)
        ids, time = events.topic_ids[events.topic[used]], events.time[used]
        counted = _summed(ids, time // DAY, np.ones(len(time), np.int64))
        first = np.full(len(counted.topic_ids), np.iinfo(np.int64).max)
        np.minimum.at(first, np.searchsorted(counted.topic_ids, ids), time)
        return replace(counted, first=first)

    @classmethod
    def merged(cls, parts: Sequence["DailyCounts"]) -> "DailyCounts":
        """Add up the counts of logs that share no event; at least one."""
        ids, day, events = (
            np.concatenate(columns)
            for columns in zip(
                *((part.topic_ids[part.topic], part.day, part.events) for part in parts),
                strict=True,
            )
        )
        counted = _summed(ids, day, events)
        first = np.full(len(counted.topic_ids), np.iinfo(np.int64).max)
        for part in parts:
            np.minimum.at(first, np.searchsorted(counted.topic_ids, part.topic_ids), part.first)
        return replace(counted, first=first)

    def recency(self, statistics: Statistics, offered: Iterable[int] = ()) -> SlotPopularity:
        """Convert the counts to the slots of a vocabulary and a catalogue."""
        first = dict(zip(self.topic_ids.tolist(), self.first.tolist(), strict=True))
        counted = self.topic_ids, self.topic, self.day, self.events
        return SlotPopularity.counted(statistics, first, *counted, offered)


def _summed(ids: Ints, day: Ints, events: Ints) -> DailyCounts:
    topic_ids, topic = np.unique(ids, return_inverse=True)
    topics, start = max(len(topic_ids), 1), int(day.min(initial=0))
    cell, row = np.unique((day - start) * topics + topic, return_inverse=True)
    total = np.bincount(row, events, len(cell)).astype(np.int64)
    return DailyCounts(
        topic_ids, np.empty(0, np.int64), cell % topics, cell // topics + start, total
    )
