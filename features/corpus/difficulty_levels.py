"""Difficulty level of an attempt, and the statistics by the events' codes.

Levels are tertiles of failure rates. The task of an attempt is its item, or its topic if it names
no item. Failure rates fall into `LEVEL_BINS` bins; the weight of a bin is the number of attempts
on its tasks.

The functions are plain Python; `features.batch` compiles them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.corpus.statistics import Statistics
from features.inputs import pass_rate

LEVEL_BINS = 256


class EventColumns(NamedTuple):
    """Columns of the events that the fold reads; see `features.events.Events`."""

    kind: NDArray[np.int8]
    topic: NDArray[np.int32]
    item: NDArray[np.int32]
    score: NDArray[np.float64]
    duration: NDArray[np.float64]
    time: NDArray[np.int64]
    level: NDArray[np.int8]


class LevelCounts(NamedTuple):
    """Scored attempts and passes in the statistics, and the levels derived from them.

    Attributes:
        by_topic: (T + 1, 2) attempts and passes of each topic; the last row is for all topics.
        by_task: (I + T, 2) attempts and passes of each item, then of each topic's attempts
            without an item.
        levels: (`LEVEL_BINS`,) level of each bin of failure rates.
    """

    by_topic: NDArray[np.float64]
    by_task: NDArray[np.float64]
    levels: NDArray[np.int8]


def counts_by_code(
    statistics: Statistics, slots: NDArray[np.int32], item_ids: NDArray[np.object_]
) -> LevelCounts:
    """Convert the statistics from topic and item ids to the codes of the events.

    Args:
        statistics: Corpus tables.
        slots: (T,) slot of each of the events' topics; 0 if unknown.
        item_ids: (I,) ids of the events' items.
    """
    topics = np.stack([statistics.topic_attempts, statistics.topic_passes], axis=1)
    items = np.stack([statistics.item_attempts, statistics.item_passes], axis=1)
    plain = np.stack([statistics.plain_attempts, statistics.plain_passes], axis=1)
    zeros = np.zeros((1, 2), np.int64)
    row_of = {text: index for index, text in enumerate(statistics.item_ids.tolist())}
    item_rows = np.fromiter((row_of.get(text, -1) for text in item_ids), np.int64, len(item_ids))
    by_topic = np.vstack([np.vstack([zeros, topics])[slots], topics.sum(0, keepdims=True)])
    by_task = np.vstack([np.vstack([items, zeros])[item_rows], np.vstack([zeros, plain])[slots]])
    tasks = np.vstack([items, plain]).astype(np.float64)
    bins = failure_bin(tasks[:, 0], tasks[:, 1]).astype(np.int64)
    return LevelCounts(
        by_topic.astype(np.float64),
        by_task.astype(np.float64),
        level_bins(np.bincount(bins, tasks[:, 0], LEVEL_BINS).astype(np.float64)),
    )


def failure_bin(attempts: Any, passes: Any) -> Any:
    """Compute the bin of a failure rate; truncate it to an integer from 0 to 255.

    The rate is smoothed by one more failure and one more pass.
    """
    return LEVEL_BINS * (attempts - passes + 1.0) / (attempts + 2.0)


def rate_of(by_topic: NDArray[np.float64], topic: int) -> float:
    """Return a topic's shrunk pass rate, in (0, 1)."""
    overall = len(by_topic) - 1
    return pass_rate(
        by_topic[topic, 0], by_topic[topic, 1], by_topic[overall, 0], by_topic[overall, 1]
    )


def task_of(
    by_topic: NDArray[np.float64], by_task: NDArray[np.float64], item: int, topic: int
) -> int:
    """Return the row of an attempt's task: its item, or its topic without an item."""
    return item if item >= 0 else len(by_task) - len(by_topic) + 1 + topic


def level_bins(mass: NDArray[np.float64]) -> NDArray[np.int8]:
    """Assign a level to each bin of failure rates, by thirds of the attempts.

    Args:
        mass: (`LEVEL_BINS`,) attempts on the tasks of each bin.

    Returns:
        (`LEVEL_BINS`,) the third that contains the middle of a bin's attempts. If all tasks have
        the same failure rate, all of them are medium. Without attempts every bin is medium.
    """
    total = mass.sum()
    if total == 0:
        return np.ones(LEVEL_BINS, np.int8)
    middle = np.cumsum(mass) - mass / 2
    thirds: NDArray[np.float64] = np.minimum(2.0, 3 * middle / total)
    return thirds.astype(np.int8)


def level_taken(
    by_topic: NDArray[np.float64],
    by_task: NDArray[np.float64],
    levels: NDArray[np.int8],
    topic: int,
    task: int,
    event_level: int,
) -> int:
    """Return the level of an attempt: from its event, else the tertile of its task or topic.

    Returns:
        Code of a level; medium if nobody tried the task or the topic.
    """
    if event_level >= 0:
        return event_level
    attempts, passes = by_task[task, 0], by_task[task, 1]
    if attempts < 1:
        attempts, passes = by_topic[topic, 0], by_topic[topic, 1]
    if attempts < 1:
        return 1
    return levels[int(failure_bin(attempts, passes))]  # type: ignore[no-any-return]
