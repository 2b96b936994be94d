"""What everybody did, as one reading needs it: the trained statistics and what happened since."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.history import History
from features.recency import DAY, Recency
from features.statistics import Slots, Statistics
from features.steps import read_event
from sensei.contracts import EVENT_INPUTS

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """Statistics up to the training cutoff, and what the log said lately."""

    statistics: Statistics
    recency: Recency

    @cached_property
    def slots(self) -> Slots:
        """Slot of each topic id, spare ones of newcomers included; 0 for an unknown one."""
        topics = len(self.statistics.topic_ids)
        spare = self.recency.newcomers[: self.statistics.width - topics].tolist()
        newcomers = {topic: topics + place for place, topic in enumerate(spare, 1)}
        return Slots(newcomers | self.statistics.slots)

    @cached_property
    def topic_ids(self) -> list[int | None]:
        """Topic of each slot 1, 2, ...; None where a spare slot is still free."""
        found: list[int | None] = [None] * self.statistics.width
        for topic, slot in self.slots.items():
            found[slot - 1] = topic
        return found

    def pass_rate(self, topic_id: int) -> float:
        """The topic's shrunk pass rate."""
        return self.statistics.pass_rate(topic_id)

    def event(
        self, history: History, kind: int, topic_id: int, score: float, time: int, item: str | None
    ) -> Floats:
        """What a sequence network reads of a learning event that comes after `history`.

        Args:
            history: The learner's state before the event.
            kind: Code of the event kind.
            topic_id: Its topic.
            score: Fraction, NaN without one.
            time: Microseconds since the epoch.
            item: Id of the attempted item, if any.

        Returns:
            (8,) see `contracts.EVENT_INPUTS`.
        """
        out = [0.0] * len(EVENT_INPUTS)
        tried, won = self.statistics.item_counts(item)
        gap = history.gap(time)
        rate = self.statistics.pass_rate(topic_id)
        read_event(out, self.slots[topic_id], kind, score, gap, rate, tried, won)
        return np.array(out, np.float32)

    def history(self, history: History) -> Floats:
        """(width,) decayed number of the learner's events on each topic."""
        out = np.zeros(self.statistics.width, np.float32)
        for topic, weight in history.topic_weights().items():
            slot = self.slots[topic]
            if slot:
                out[slot - 1] = weight
        return out

    def priors(self, history: History) -> tuple[Floats, Floats]:
        """(width,) log probability of each topic after the last one, and after the last two."""
        last, before = (
            np.array([0 if topic is None else self.slots[topic]])
            for topic in history.last_topics(2)
        )
        first, second = self.statistics.continuations.log_priors(
            last, before, np.array([history.events])
        )
        return first[0], second[0]

    def recent(self, now_us: int) -> Floats:
        """(width,) log share of each topic in what all did lately, before today."""
        return self.recency.log_share(np.array([now_us // DAY]))[0]
