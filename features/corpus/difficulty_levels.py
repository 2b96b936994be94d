"""Statistics by the events' codes, and the level of an attempt.

Levels are tertiles of failure rates. A task is what an attempt tries: its item, or, where none is
named, its topic. Failure rates are told apart in `LEVEL_BINS` steps, each weighing the attempts on
its tasks.

The functions are plain Python; `features.batch` compiles them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.corpus.statistics import Statistics
from features.inputs import pass_rate

LEVEL_BINS = 256


class EventColumns(NamedTuple):
    """The events' columns that the pass reads; see `features.events.Events`."""

    kind: NDArray[np.int8]
    topic: NDArray[np.int32]
    item: NDArray[np.int32]
    score: NDArray[np.float64]
    duration: NDArray[np.float64]
    time: NDArray[np.int64]
    level: NDArray[np.int8]


class LevelCounts(NamedTuple):
    """Scored attempts and passes in the statistics, and the levels that follow from them.

    Attributes:
        by_topic: (T + 1, 2) attempts and passes of each topic, then of all topics.
        by_task: (I + T, 2) the same of each item, then of each topic's attempts without an item.
        levels: (`LEVEL_BINS`,) level of each step of failure rates.
    """

    by_topic: NDArray[np.float64]
    by_task: NDArray[np.float64]
    levels: NDArray[np.int8]


def counts_by_code(
    statistics: Statistics, slots: NDArray[np.int32], item_ids: NDArray[np.object_]
) -> LevelCounts:
    """The statistics, by the codes of the events.

    Args:
        statistics: Corpus tables.
        slots: (T,) slot of each of the events' topics, 0 unknown.
        item_ids: (I,) the events' items.
    """
    topics = np.stack([statistics.topic_attempts, statistics.topic_passes], axis=1)
    items = np.stack([statistics.item_attempts, statistics.item_passes], axis=1)
    plain = np.stack([statistics.plain_attempts, statistics.plain_passes], axis=1)
    nothing = np.zeros((1, 2), np.int64)
    place = {text: index for index, text in enumerate(statistics.item_ids.tolist())}
    places = np.fromiter((place.get(text, -1) for text in item_ids), np.int64, len(item_ids))
    by_topic = np.vstack([np.vstack([nothing, topics])[slots], topics.sum(0, keepdims=True)])
    by_task = np.vstack([np.vstack([items, nothing])[places], np.vstack([nothing, plain])[slots]])
    tasks = np.vstack([items, plain]).astype(np.float64)
    bins = failure_bin(tasks[:, 0], tasks[:, 1]).astype(np.int64)
    return LevelCounts(
        by_topic.astype(np.float64),
        by_task.astype(np.float64),
        level_bins(np.bincount(bins, tasks[:, 0], LEVEL_BINS).astype(np.float64)),
    )


def failure_bin(attempts: Any, passes: Any) -> Any:
    """Step of a failure rate, one failure and one pass added: 0 to 255 once cut to an integer."""
    return LEVEL_BINS * (attempts - passes + 1.0) / (attempts + 2.0)


def rate_of(by_topic: NDArray[np.float64], topic: int) -> float:
    """A topic's shrunk pass rate."""
    overall = len(by_topic) - 1
    return pass_rate(
        by_topic[topic, 0], by_topic[topic, 1], by_topic[overall, 0], by_topic[overall, 1]
    )


def task_of(
    by_topic: NDArray[np.float64], by_task: NDArray[np.float64], item: int, topic: int
) -> int:
    """Place of an attempt's task: its item, or, without one, its topic."""
    return item if item >= 0 else len(by_task) - len(by_topic) + 1 + topic


def level_bins(mass: NDArray[np.float64]) -> NDArray[np.int8]:
    """The level of each step of failure rates: thirds of the attempts.

    Args:
        mass: (`LEVEL_BINS`,) attempts on the tasks of each step.

    Returns:
        (`LEVEL_BINS`,) the third in which the middle of a step's attempts lies, so that a log
        whose tasks all fail alike has medium ones only. Medium without attempts.
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
    given: int,
) -> int:
    """The level of an attempt: as its event says, else the tertile of its task, else its topic.

    Returns:
        Code of a level; medium where nobody tried the item or the topic.
    """
    if given >= 0:
        return given
    attempts, passes = by_task[task, 0], by_task[task, 1]
    if attempts < 1:
        attempts, passes = by_topic[topic, 0], by_topic[topic, 1]
    if attempts < 1:
        return 1
    return levels[int(failure_bin(attempts, passes))]  # type: ignore[no-any-return]
