"""Slices of the targets: newcomers and new topics, how long a history is, how popular a topic."""

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from training.data.dataset import Splits

Mask = NDArray[np.bool_]

LENGTHS = {"0": 0, "1-4": 1, "5-19": 5, "20-99": 20, "100+": 100}
"""Name of each bucket of history length -> its smallest number of earlier learning events."""

FEW = 5
"""Learners and topics with fewer events are new."""

QUARTERS = ("rarest", "rarer", "commoner", "commonest")
"""Topics in four groups of equal number, by their events in training."""


def slices_of(rows: Examples, parts: Splits) -> dict[str, dict[str, Mask]]:
    """Which targets lie in which slice.

    Args:
        rows: n targets.
        parts: what was known in training.

    Returns:
        `cold` (`no_history`, `unseen_topic`), `history_length` and `topic_popularity` -> slice ->
        (n,). A topic is unseen where training knew no event on it; it has no popularity.
    """
    events = _events_of_topic(rows, parts)
    return {
        "cold": {"no_history": rows.previous == 0, "unseen_topic": events == 0},
        "history_length": _by_length(rows.previous),
        "topic_popularity": _by_quarter(events, parts.statistics.topic_events),
    }


def newcomers(rows: Examples, parts: Splits) -> dict[str, Mask]:
    """Slices in which a challenger must not be inferior, whatever it gains elsewhere.

    Args:
        rows: n targets.
        parts: what was known in training.

    Returns:
        `new learners` with fewer than `FEW` earlier learning events, `new topics` on which
        training knew fewer than `FEW` -> (n,).
    """
    events = _events_of_topic(rows, parts)
    return {"new learners": rows.previous < FEW, "new topics": events < FEW}


def _events_of_topic(rows: Examples, parts: Splits) -> NDArray[np.int64]:
    """(n,) events on the target's topic in training; 0 for one without a slot, or a spare one."""
    known = np.append(0, parts.statistics.topic_events)
    return known[np.where(rows.target < len(known), rows.target, 0)]


def _by_length(previous: NDArray[np.int32]) -> dict[str, Mask]:
    bucket = np.searchsorted(list(LENGTHS.values()), previous, side="right") - 1
    return {name: bucket == place for place, name in enumerate(LENGTHS)}


def _by_quarter(events: NDArray[np.int64], of_topics: NDArray[np.int64]) -> dict[str, Mask]:
    met = np.sort(of_topics[of_topics > 0])
    # topics of equal counts share a quarter, so that the order of topics changes nothing
    below = np.searchsorted(met, events, side="left")
    quarter = np.where(events > 0, below * len(QUARTERS) // max(len(met), 1), -1)
    return {name: quarter == place for place, name in enumerate(QUARTERS)}
