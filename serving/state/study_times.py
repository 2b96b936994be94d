"""How long topics take, as the log knows it."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sensei.contracts import DAY
from sensei.errors import StorageUnavailable
from sensei.events import aggregates

if TYPE_CHECKING:
    from sensei.events.log import Log

WINDOW_DAYS = 90
"""Older events say little about a topic whose material changes."""

NEWEST_EVENTS = 200_000
"""Of so many events at most: reading five millions kept a core busy for a quarter of a minute."""

LEAST_EVENTS = 5
"""From fewer events no median is taken."""

STEP_SECONDS = 30
"""Durations are counted in steps of so many seconds."""

FIRST_SECONDS, EVERY_SECONDS = 10.0, 3_600.0
"""A worker's first requests come before the first reading."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyTimes:
    """Median minutes of an event, by topic and kind of event."""

    minutes: Mapping[tuple[int, str], float] = field(default_factory=dict)


def measured(log: "Log", now_us: int) -> StudyTimes:
    """What the newest events say, as far as they are of the last `WINDOW_DAYS` days.

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
    found = {
        each: _median(steps)
        for each, steps in counts.items()
        if sum(events for _, events in steps) >= LEAST_EVENTS
    }
    return StudyTimes(found)


def _median(steps: list[tuple[int, int]]) -> float:
    """Minutes in the middle of the step that holds the middle event."""
    half = sum(events for _, events in steps) / 2
    in_order = sorted(steps)
    while len(in_order) > 1 and in_order[0][1] < half:
        half -= in_order.pop(0)[1]
    return (in_order[0][0] + 0.5) * STEP_SECONDS / 60


class StudyTimeReader:
    """Reads the durations now and then, in a thread of its own.

    Args:
        connect: opens the log, for one reading.
        clock: now, in microseconds since 1970 UTC.
        found: takes what was read.
    """

    def __init__(
        self,
        connect: "Callable[[], Log]",
        clock: Callable[[], int],
        found: Callable[[StudyTimes], None],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._found = found
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="durations")

    def start(self) -> None:
        """Begin; the first reading comes some seconds later."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Stop.

        Args:
            timeout: seconds to wait for a reading under way.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def read(self) -> None:
        """Read once; where the log does not answer, what was known stays."""
        try:
            log = self._connect()
            try:
                self._found(measured(log, self._clock()))
            finally:
                log.close()
        except StorageUnavailable as error:
            logger.warning("durations are as they were: %s", error)
        except Exception:  # the thread must outlive whatever one reading runs into
            logger.exception("durations are as they were")

    def _run(self) -> None:
        pause = FIRST_SECONDS
        while not self._stop.wait(pause):
            self.read()
            pause = EVERY_SECONDS
