"""What the log says about topics lately, as serving reads it: counts of days, and newcomers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from features.recency import WINDOW_DAYS, Recency
from features.statistics import Statistics
from features.steps import DAY

if TYPE_CHECKING:
    from sensei.log import Log


def lately(log: "Log", catalogue: Iterable[int], now_us: int) -> Callable[[Statistics], Recency]:
    """Read the log once; what it says depends on the vocabulary of who asks.

    Args:
        log: the learners' log.
        catalogue: ids of the topics that are offered; those nobody has met yet come last.
        now_us: microseconds since 1970.

    Raises:
        StorageUnavailable: the log does not answer.
    """
    offered = sorted(catalogue)
    counts = log.learning_by_day((now_us // DAY - WINDOW_DAYS) * DAY)
    topic, day, events = np.array(counts, np.int64).reshape(-1, 3).T
    ids, place = np.unique(topic, return_inverse=True)

    def of(statistics: Statistics) -> Recency:
        first = dict(log.first_events(int(statistics.trained_until)))
        unmet = [each for each in offered if each not in first and not statistics.slot_of(each)]
        first |= dict.fromkeys(unmet, now_us - DAY)  # known since yesterday, though nobody met them
        return Recency.counted(statistics, first, ids, place, day, events)

    return of
