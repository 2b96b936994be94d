"""Recent popularity of topics for serving: daily counts and first events from the log.

Counting a month of a long log takes longer than a response may wait. So it is done once and in
small steps, from the last event backwards, because recent events weigh most. Later reads only count
new rows, and take corrected and voided ones back. An event in quarantine or of an erased learner
still counts until the process ends or the event leaves the window. On PostgreSQL, an event
committed after a later one may be missed. Popularity sums many events, so neither has a visible
effect.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from features.corpus.catalogue_features import CatalogueFeatures, CatalogueTopic
from features.corpus.context import Corpus
from features.corpus.popularity import NEVER, WINDOW_DAYS, SlotPopularity
from features.corpus.statistics import Statistics
from sensei.contracts import DAY
from sensei.events import aggregates

if TYPE_CHECKING:
    from sensei.events.log import Log

HOUR = DAY // 24
QUICK, SLOW = 0.02, 0.1  # seconds of one query: below, the span doubles; above, it halves

Reading = Callable[[Statistics], Corpus]
"""Function that maps a model's statistics (its vocabulary) to a corpus with the counts."""


class TopicPopularity:
    """Counts of learning events by topic and UTC day; for one thread.

    Args:
        monotonic: monotonic clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counts: dict[tuple[int, int], int] = {}  # topic, day
        self._first: dict[int, int] = {}  # topic -> time of its first counted event
        self._last_id: int | None = None
        self._last_correction = 0
        self._from = int(NEVER)  # rows up to `_last_id` are counted from this time on
        self._first_day = 0
        self._span = HOUR

    def read(self, log: "Log", since_us: int, now_us: int, seconds: float = math.inf) -> bool:
        """Count new events, then continue backwards.

        Args:
            log: the learners' log.
            since_us: time from which all events are needed, in microseconds since 1970; the window
                is always counted.
            now_us: microseconds since 1970.
            seconds: maximum duration; the next call continues.

        Returns:
            True if all needed events are counted.

        Raises:
            StorageUnavailable: the log does not answer; the counts so far stay.
        """
        until = self._monotonic() + seconds
        self._open(now_us // DAY - WINDOW_DAYS)
        wanted = min(since_us, self._first_day * DAY)
        newest = log.last_id()
        self._subtract_superseded(log)
        if self._last_id is not None and newest > self._last_id:
            self._add(aggregates.learned_since(log.engine, self._last_id, newest, self._from))
        self._last_id = newest
        while self._from > wanted and self._monotonic() < until:
            self._backwards(log, wanted)
        return self._from <= wanted

    def of(self, catalogue: Iterable[CatalogueTopic]) -> Reading:
        """Return the counts so far.

        Args:
            catalogue: all topics of the catalogue, also those that no learner has met; the
                retired ones are not counted.
        """
        outline, first = CatalogueFeatures.of(catalogue), dict(self._first)
        rows = [(topic, day, events) for (topic, day), events in self._counts.items()]
        topic, day, events = np.array(rows, np.int64).reshape(-1, 3).T
        ids, index = np.unique(topic, return_inverse=True)

        def reading(statistics: Statistics) -> Corpus:
            counted = first, ids, index, day, events
            renamed = statistics.renamed(outline.replaced)
            recency = SlotPopularity.counted(renamed, *counted, outline.domains)
            return Corpus(renamed, recency, outline)

        return reading

    def _subtract_superseded(self, log: "Log") -> None:
        """Take back counted events that were corrected or voided since.

        Events that are not counted yet have left the valid ones by the time they are counted.
        """
        superseded, self._last_correction = aggregates.superseded_since(
            log.engine, self._last_correction, self._last_id or 0, self._from
        )
        for topic, day, events, _ in superseded:
            if self._counts.get((topic, day), 0) > events:
                self._counts[topic, day] -= events
            else:
                self._counts.pop((topic, day), None)

    def _open(self, first_day: int) -> None:
        """Move the window, and drop the counts of days that leave it."""
        if first_day < self._first_day:  # the clock was set back: days are missing
            self._counts, self._first, self._from, self._last_id = {}, {}, int(NEVER), None
        if first_day != self._first_day:
            self._first_day = first_day
            self._counts = {at: n for at, n in self._counts.items() if at[1] >= first_day}

    def _backwards(self, log: "Log", wanted: int) -> None:
        """Count one more span further into the past."""
        started = self._monotonic()
        last = log.last_time(self._from)
        if last is None or last < wanted:
            self._from = wanted
            return
        start = max(wanted, last - self._span)
        assert self._last_id is not None
        self._add(aggregates.learned_between(log.engine, start, self._from, self._last_id))
        self._from = start
        took = self._monotonic() - started
        if took < QUICK:
            self._span *= 2
        elif took > SLOW:
            self._span = max(self._span // 2, HOUR)

    def _add(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        for topic, day, events, first in rows:
            if day >= self._first_day:
                self._counts[topic, day] = self._counts.get((topic, day), 0) + events
            self._first[topic] = min(first, self._first.get(topic, first))


def popularity_of_log(log: "Log", catalogue: Iterable[CatalogueTopic], now_us: int) -> Reading:
    """Count all events at once, for callers that can wait; see `TopicPopularity`.

    Raises:
        StorageUnavailable: raised by the returned function if the log does not answer.
    """

    def reading(statistics: Statistics) -> Corpus:
        counts = TopicPopularity()
        counts.read(log, int(statistics.trained_until), now_us)
        return counts.of(catalogue)(statistics)

    return reading
