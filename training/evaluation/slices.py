"""Slices of the targets: cold start, length of history, popularity of the topic."""

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from training.data.dataset import Splits

Mask = NDArray[np.bool_]

LENGTHS = {"0": 0, "1-4": 1, "5-19": 5, "20-99": 20, "100+": 100}
"""Minimum number of earlier learning events, by name of the history-length bucket."""

FEW = 5
"""Number of events below which a learner or a topic is new."""

QUARTERS = ("rarest", "rarer", "commoner", "commonest")
"""Names of the topic quartiles by number of events in training."""


def slices_of(rows: Examples, parts: Splits) -> dict[str, dict[str, Mask]]:
    """Assign targets to slices.

    Args:
        rows: n targets.
        parts: split with the training statistics.

    Returns:
        `cold` (`no_history`, `unseen_topic`), `history_length` and `topic_popularity` -> slice ->
        (n,) bool. A topic is unseen if training had no event on it; it is in no popularity slice.
    """
    events = _events_of_topic(rows, parts)
    return {
        "cold": {"no_history": rows.previous == 0, "unseen_topic": events == 0},
        "history_length": _by_length(rows.previous),
        "topic_popularity": _by_quarter(events, parts.statistics.topic_events),
    }


def newcomers(rows: Examples, parts: Splits) -> dict[str, Mask]:
    """Return the slices in which a challenger must not be inferior, whatever its overall gain.

    Args:
        rows: n targets.
        parts: split with the training statistics.

    Returns:
        `new learners` (fewer than `FEW` earlier learning events) and `new topics` (fewer than `FEW`
        events in training) -> (n,) bool.
    """
    events = _events_of_topic(rows, parts)
    return {"new learners": rows.previous < FEW, "new topics": events < FEW}


def _events_of_topic(rows: Examples, parts: Splits) -> NDArray[np.int64]:
    """Return (n,) training events on the target's topic; 0 without a slot or with a spare one."""
    events = np.append(0, parts.statistics.topic_events)
    return events[np.where(rows.target < len(events), rows.target, 0)]


def _by_length(previous: NDArray[np.int32]) -> dict[str, Mask]:
    bucket = np.searchsorted(list(LENGTHS.values()), previous, side="right") - 1
    return {name: bucket == position for position, name in enumerate(LENGTHS)}


def _by_quarter(events: NDArray[np.int64], of_topics: NDArray[np.int64]) -> dict[str, Mask]:
    counts = np.sort(of_topics[of_topics > 0])
    # topics with equal counts share a quartile, so the order of topics has no effect
    below = np.searchsorted(counts, events, side="left")
    quarter = np.where(events > 0, below * len(QUARTERS) // max(len(counts), 1), -1)
    return {name: quarter == position for position, name in enumerate(QUARTERS)}
