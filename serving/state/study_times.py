"""Study times of topics, measured in the log."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sensei.contracts import DAY
from sensei.errors import StorageUnavailable
from sensei.events import aggregates
from serving.background import RepeatingThread

if TYPE_CHECKING:
    from sensei.events.log import Log

WINDOW_DAYS = 90
"""Maximum age of events in days; the material of a topic changes, so older events say little."""

NEWEST_EVENTS = 200_000
"""Maximum number of events: reading five million kept a core busy for a quarter of a minute."""

LEAST_EVENTS = 5
"""Minimum number of events for a median."""

STEP_SECONDS = 30
"""Width, in seconds, of the histogram bins of durations."""

FIRST_SECONDS, EVERY_SECONDS = 10.0, 3_600.0
"""Seconds until the first read, and between reads.

The first read waits, so that a worker's first requests come before it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyTimes:
    """Median minutes of an event, by topic and kind of event."""

    minutes: Mapping[tuple[int, str], float] = field(default_factory=dict)


def measured(log: "Log", now_us: int) -> StudyTimes:
    """Measure study times from the newest events of the last `WINDOW_DAYS` days.

    Args:
        log: the learners' log.
        now_us: microseconds since 1970.

    Raises:
        StorageUnavailable: the log does not answer.
    """
    counts: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    since = now_us - WINDOW_DAYS * DAY
    read = aggregates.durations(log.engine, since, STEP_SECONDS, NEWEST_EVENTS)
    for topic_id, kind, step, events in read:
        counts[topic_id, kind].append((step, events))
    minutes = {
        topic_and_kind: _median(steps)
        for topic_and_kind, steps in counts.items()
        if sum(events for _, events in steps) >= LEAST_EVENTS
    }
    return StudyTimes(minutes)


def _median(steps: list[tuple[int, int]]) -> float:
    """Return the middle, in minutes, of the bin that holds the median event."""
    half = sum(events for _, events in steps) / 2
    in_order = sorted(steps)
    while len(in_order) > 1 and in_order[0][1] < half:
        half -= in_order.pop(0)[1]
    return (in_order[0][0] + 0.5) * STEP_SECONDS / 60


class StudyTimeReader:
    """Periodic reader of study times, in its own thread.

    Args:
        connect: opens the log, for one read.
        clock: returns the current time, in microseconds since 1970 UTC.
        receive: receives the result of each read.
    """

    def __init__(
        self,
        connect: "Callable[[], Log]",
        clock: Callable[[], int],
        receive: Callable[[StudyTimes], None],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._receive = receive
        self._thread = RepeatingThread("durations", self._read_hourly, FIRST_SECONDS, EVERY_SECONDS)

    def start(self) -> None:
        """Start the thread; the first read follows after `FIRST_SECONDS`."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Stop the thread.

        Args:
            timeout: maximum wait, in seconds, for a read in progress.
        """
        self._thread.close(timeout)

    def read(self) -> None:
        """Read once; if the log does not answer, keep the previous result."""
        try:
            log = self._connect()
            try:
                self._receive(measured(log, self._clock()))
            finally:
                log.close()
        except StorageUnavailable as error:
            logger.warning("durations stay as they were: %s", error)

    def _read_hourly(self) -> float:
        self.read()
        return EVERY_SECONDS
