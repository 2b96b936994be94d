"""Statistics by the events' codes, from which one learner's events can be taken out and put back.

Levels are tertiles of failure rates. A task is what an attempt tries: its item, or, where none is
named, its topic. Failure rates are told apart in `LEVEL_BINS` steps, each weighing the attempts on
its tasks, so that a learner leaves the tertiles at the cost of his own attempts alone.

The functions are plain Python; `features.batch` compiles them.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.reading import pass_rate
from features.statistics import Statistics
from features.steps import PRACTICE, QUIZ
from sensei.contracts import PASS_SCORE

LEVEL_BINS = 256
EVERYBODY, WITHOUT = 0, 1  # halves of the counts


class Columns(NamedTuple):
    """The events' columns that the pass reads; see `features.events.Events`."""

    kind: NDArray[np.int8]
    topic: NDArray[np.int32]
    item: NDArray[np.int32]
    score: NDArray[np.float64]
    duration: NDArray[np.float64]
    time: NDArray[np.int64]
    level: NDArray[np.int8]


class Counts(NamedTuple):
    """Scored attempts and passes in the statistics, of everybody and without one learner.

    Whole numbers throughout, so that taking out and putting back is exact.

    Attributes:
        by_topic: (2, T + 1, 2) attempts and passes of each topic, then of all topics; first of
            everybody, then without the learner taken out.
        by_task: (2, I + T, 2) the same of each item, then of each topic's attempts without an item.
        level_mass: (2, `LEVEL_BINS`) attempts on the tasks of each step of failure rates.
    """

    by_topic: NDArray[np.float64]
    by_task: NDArray[np.float64]
    level_mass: NDArray[np.float64]


def counts_by_code(
    statistics: Statistics, slots: NDArray[np.int32], item_ids: NDArray[np.object_]
) -> Counts:
    """The statistics, by the codes of the events; nobody is taken out yet.

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
    mass = np.bincount(bins, tasks[:, 0], LEVEL_BINS)
    return Counts(
        *(np.stack([part, part]).astype(np.float64) for part in (by_topic, by_task, mass))
    )


def failure_bin(attempts: Any, passes: Any) -> Any:
    """Step of a failure rate, one failure and one pass added: 0 to 255 once cut to an integer."""
    return LEVEL_BINS * (attempts - passes + 1.0) / (attempts + 2.0)


def rate_of(by_topic: NDArray[np.float64], side: int, topic: int) -> float:
    """A topic's shrunk pass rate, by everybody or without the learner taken out."""
    overall = by_topic.shape[1] - 1
    return pass_rate(
        by_topic[side, topic, 0],
        by_topic[side, topic, 1],
        by_topic[side, overall, 0],
        by_topic[side, overall, 1],
    )


def task_of(
    by_topic: NDArray[np.float64], by_task: NDArray[np.float64], item: int, topic: int
) -> int:
    """Place of an attempt's task: its item, or, without one, its topic."""
    return item if item >= 0 else by_task.shape[1] - by_topic.shape[1] + 1 + topic


def recount(
    columns: Columns,
    start: int,
    stop: int,
    chosen: NDArray[np.bool_],
    counts: Counts,
    sign: float,
) -> None:
    """Take a learner's scored attempts out of the counts, or put them back.

    Args:
        columns: The events.
        start: The learner's first event.
        stop: The event after his last.
        chosen: Which events are inside the counts.
        counts: The half without the learner is changed in place.
        sign: -1.0 takes out, 1.0 puts back.
    """
    kinds, topics, items, scores, _, _, _ = columns
    by_topic, by_task, mass = counts
    overall = by_topic.shape[1] - 1
    for index in range(start, stop):
        if chosen[index] and kinds[index] in (QUIZ, PRACTICE) and not math.isnan(scores[index]):
            passed = sign if scores[index] >= PASS_SCORE else 0.0
            topic = topics[index]
            task = task_of(by_topic, by_task, items[index], topic)
            attempts, passes = by_task[WITHOUT, task, 0], by_task[WITHOUT, task, 1]
            mass[WITHOUT, int(failure_bin(attempts, passes))] -= attempts
            attempts += sign
            passes += passed
            mass[WITHOUT, int(failure_bin(attempts, passes))] += attempts
            by_task[WITHOUT, task, 0] = attempts
            by_task[WITHOUT, task, 1] = passes
            by_topic[WITHOUT, topic, 0] += sign
            by_topic[WITHOUT, topic, 1] += passed
            by_topic[WITHOUT, overall, 0] += sign
            by_topic[WITHOUT, overall, 1] += passed


def level_bins(mass: NDArray[np.float64], levels: NDArray[np.int8]) -> None:
    """Write the level of each step of failure rates: thirds of the attempts.

    Args:
        mass: (`LEVEL_BINS`,) attempts on the tasks of each step.
        levels: (`LEVEL_BINS`,) written: the third in which the middle of a step's attempts lies,
            so that a log whose tasks all fail alike has medium ones only. Medium without attempts.
    """
    total = below = 0.0
    for index in range(LEVEL_BINS):
        total += mass[index]
    for index in range(LEVEL_BINS):
        middle = below + mass[index] / 2
        levels[index] = min(2, int(3 * middle / total)) if total > 0 else 1
        below += mass[index]


def level_taken(
    by_topic: NDArray[np.float64],
    by_task: NDArray[np.float64],
    levels: NDArray[np.int8],
    side: int,
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
    attempts, passes = by_task[side, task, 0], by_task[side, task, 1]
    if attempts < 1:
        attempts, passes = by_topic[side, topic, 0], by_topic[side, topic, 1]
    if attempts < 1:
        return 1
    return levels[side, int(failure_bin(attempts, passes))]  # type: ignore[no-any-return]
