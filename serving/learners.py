"""Learners' states, kept in memory as long as nothing was written about the learner.

A state is a fold over the log, so this cache may be thrown away at any time. Every write raises
the learner's revision in the transaction of the write: the same revision means the same state.
All states are of this process's `FOLD_VERSION`; a bundle of another one is never served.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.history import History
from sensei.errors import StorageUnavailable

if TYPE_CHECKING:
    from sensei.log import Event, Log

CAPACITY = 2_000
"""Most states kept; one takes 15 to 40 KB."""

RETRY_SECONDS = 1.0
"""How long a log that failed is left alone: requests are answered without it, none waits."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cached:
    revision: int
    history: History
    last_id: int
    last: tuple[int, str]  # timestamp and event id: the place in the order of the fold


class Learners:
    """Histories of learners, read from the log and advanced by what was appended since.

    Not for several threads at once: a history is advanced in place.

    Args:
        connect: opens the log; called at the first question, and again until it succeeds.
        monotonic: seconds that never go back.
        capacity: most histories kept; the one unused for longest is dropped first.
    """

    def __init__(
        self,
        connect: "Callable[[], Log]",
        monotonic: Callable[[], float],
        capacity: int = CAPACITY,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._capacity = capacity
        self._log: Log | None = None
        self._retry_at = 0.0
        self._cache: OrderedDict[str, _Cached] = OrderedDict()

    def history(self, user_id: str) -> History | None:
        """The learner's state after all valid events in the log; None for one never seen.

        Raises:
            StorageUnavailable: the log does not answer, or did not within the last second.
        """
        if self._monotonic() < self._retry_at:
            raise StorageUnavailable("log: expected an answer, got an error; repeat in a second")
        try:
            if self._log is None:
                self._log = self._connect()
            return self._current(self._log, user_id)
        except StorageUnavailable as error:
            self._retry_at = self._monotonic() + RETRY_SECONDS
            logger.warning("answering without the log: %s", error)
            raise

    def _current(self, log: "Log", user_id: str) -> History | None:
        revision = log.revision(user_id)
        if revision is None:
            self._cache.pop(user_id, None)
            return None
        cached = self._cache.get(user_id)
        if cached is None or cached.revision != revision:
            cached = (cached and _advanced(log, user_id, cached, revision)) or _folded(
                log, user_id, revision
            )
            self._cache[user_id] = cached
        self._cache.move_to_end(user_id)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return cached.history


def _advanced(log: "Log", user_id: str, cached: _Cached, revision: int) -> _Cached | None:
    """The state one write later; None where that write was anything but later events."""
    if revision != cached.revision + 1:
        return None  # one of the writes may have taken events away
    later = log.read_learner(user_id, after_id=cached.last_id)
    in_order = bool(later) and _place(later[0]) > cached.last
    if not in_order or log.revision(user_id) != revision:
        return None
    return _take_in(cached.history, later, revision, cached.last_id)


def _folded(log: "Log", user_id: str, revision: int) -> _Cached:
    # Events that come between reading the revision and this are folded too; they are then found
    # missing from the next question's later events, which folds anew.
    return _take_in(History.new(), log.read_learner(user_id), revision, 0)


def _take_in(history: History, events: "Sequence[Event]", revision: int, last_id: int) -> _Cached:
    for each in events:
        history.advance(
            (
                each.interaction_type,
                each.topic_id,
                each.score,
                each.duration_seconds,
                each.timestamp,
            )
        )
    last_id = max((each.id for each in events), default=last_id)
    return _Cached(revision, history, last_id, _place(events[-1]) if events else (-1, ""))


def _place(event: "Event") -> tuple[int, str]:
    return event.timestamp, event.event_id
