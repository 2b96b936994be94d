"""Statistics by the events' codes, from which one learner's events can be taken out and put back.

Levels are tertiles of failure rates. A task is what an attempt tries: its item, or, where none is
named, its topic. Failure rates are told apart in `LEVEL_BINS` steps, each weighing the attempts on
its tasks, so that a learner leaves the tertiles at the cost of his own attempts alone.

The functions are plain Python; `features.batch` compiles them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import PRACTICE, QUIZ
from features.statistics import Statistics
from sensei.contracts import PASS_SCORE

LEVEL_BINS = 256


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
    """Scored attempts and passes in the statistics; whole numbers, so taking out is exact.

    The last of the topics' places stands for topics outside the statistics. Tasks are the events'
    items, then their topics.
    """

    topic_attempts: NDArray[np.float64]
    topic_passes: NDArray[np.float64]
    task_attempts: NDArray[np.float64]
    task_passes: NDArray[np.float64]
    level_mass: NDArray[np.float64]
    totals: NDArray[np.float64]


def counts_by_code(
    statistics: Statistics, slots: NDArray[np.int32], item_ids: NDArray[np.object_]
) -> Counts:
    """The statistics, by the codes of the events.

    Args:
        statistics: Corpus tables.
        slots: (T,) slot of each of the events' topics, 0 unknown.
        item_ids: (I,) the events' items.

    Returns:
        Arrays of their own: changing them leaves the statistics as they are.
    """

    def of_topics(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.append(0, counts)[slots].astype(np.float64)

    items = _places(statistics.item_ids, item_ids)

    def of_items(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.append(counts, 0)[items].astype(np.float64)

    attempts = np.append(statistics.item_attempts, statistics.plain_attempts)
    passes = np.append(statistics.item_passes, statistics.plain_passes)
    bins = failure_bin(attempts, passes)
    return Counts(
        topic_attempts=of_topics(statistics.topic_attempts),
        topic_passes=of_topics(statistics.topic_passes),
        task_attempts=np.append(
            of_items(statistics.item_attempts), of_topics(statistics.plain_attempts)
        ),
        task_passes=np.append(of_items(statistics.item_passes), of_topics(statistics.plain_passes)),
        level_mass=np.bincount(bins.astype(np.int64), attempts, LEVEL_BINS).astype(np.float64),
        totals=np.array(
            [statistics.topic_attempts.sum(), statistics.topic_passes.sum()], np.float64
        ),
    )


def _places(known: NDArray[np.str_], wanted: NDArray[np.object_]) -> NDArray[np.int64]:
    """Place of each wanted text among the known, -1 for the others."""
    place = {text: index for index, text in enumerate(known.tolist())}
    return np.fromiter((place.get(text, -1) for text in wanted), np.int64, len(wanted))


def failure_bin(attempts: Any, passes: Any) -> Any:
    """Step of a failure rate (numbers or arrays), one failure and one pass added; 0 to 255."""
    return LEVEL_BINS * (attempts - passes + 1.0) // (attempts + 2.0)


def is_scored(columns: Columns, index: int) -> bool:
    """Whether the event is an attempt with a score."""
    kind = columns.kind[index]
    return kind in (QUIZ, PRACTICE) and not np.isnan(columns.score[index])


def recount(
    columns: Columns,
    start: int,
    stop: int,
    chosen: NDArray[np.bool_],
    counts: Counts,
    sign: int,
) -> int:
    """Take a learner's scored attempts out of the counts, or put them back.

    Args:
        columns: The events.
        start: The learner's first event.
        stop: The event after his last.
        chosen: Which events are inside the counts.
        counts: Changed in place.
        sign: -1 takes out, 1 puts back.

    Returns:
        Scored attempts taken or put.
    """
    changed = 0
    items = len(counts.task_attempts) - len(counts.topic_attempts)
    for index in range(start, stop):
        if chosen[index] and is_scored(columns, index):
            changed += 1
            passed = sign if columns.score[index] >= PASS_SCORE else 0
            topic, item = columns.topic[index], columns.item[index]
            task = item if item >= 0 else items + topic
            attempts, passes = counts.task_attempts[task], counts.task_passes[task]
            counts.level_mass[int(failure_bin(attempts, passes))] -= attempts
            attempts, passes = attempts + sign, passes + passed
            counts.level_mass[int(failure_bin(attempts, passes))] += attempts
            counts.task_attempts[task], counts.task_passes[task] = attempts, passes
            counts.topic_attempts[topic] += sign
            counts.topic_passes[topic] += passed
            counts.totals[0] += sign
            counts.totals[1] += passed
    return changed


def level_bins(mass: NDArray[np.float64], levels: NDArray[np.int8]) -> None:
    """Write the level of each step of failure rates: thirds of the attempts.

    Args:
        mass: (`LEVEL_BINS`,) attempts on the tasks of each step.
        levels: (`LEVEL_BINS`,) written: the third in which the middle of a step's attempts lies, so
            that a log whose tasks all fail alike has medium ones only. Medium without attempts.
    """
    total = mass.sum()
    below = 0.0
    for index in range(LEVEL_BINS):
        middle = below + mass[index] / 2
        levels[index] = min(2, int(3 * middle / total)) if total > 0 else 1
        below += mass[index]


def level_taken(columns: Columns, index: int, counts: Counts, levels: NDArray[np.int8]) -> int:
    """The level of an attempt: as its event says, else the tertile of its item, else its topic.

    Returns:
        Code of a level; medium where nobody tried the item or the topic.
    """
    if columns.level[index] >= 0:
        return columns.level[index]  # type: ignore[no-any-return]
    topic, item = columns.topic[index], columns.item[index]
    items = len(counts.task_attempts) - len(counts.topic_attempts)
    task = item if item >= 0 else items + topic
    attempts, passes = counts.task_attempts[task], counts.task_passes[task]
    if attempts < 1:
        attempts, passes = counts.topic_attempts[topic], counts.topic_passes[topic]
    if attempts < 1:
        return 1
    return levels[int(failure_bin(attempts, passes))]  # type: ignore[no-any-return]
