"""Learners' states, kept in memory as long as nothing was written about the learner.

Beside the state of the fold stand the hidden states of the networks that serve, advanced by
the same events in the same order; those of another bundle are folded anew.

A state is a fold over the log, so this cache may be thrown away at any time. Every write raises
the learner's revision in the transaction of the write: the same revision means the same state.
All states are of this process's `FOLD_VERSION`; a bundle of another one is never served.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.history import History
from sensei.errors import StorageUnavailable
from sensei.preferences import style_override

if TYPE_CHECKING:
    from sensei.log import Event, Log

CAPACITY = 2_000
"""Most states kept; one takes 15 to 40 KB."""

RETRY_SECONDS = 1.0
"""How long a log that failed is left alone: requests are answered without it, none waits."""

logger = logging.getLogger(__name__)

Found = TypeVar("Found")


States = dict[str, NDArray[np.float32]]
"""Hidden states by the name of the model."""


class Networks(Protocol):
    """Networks whose hidden states are kept for each learner; `serving.engine.Model` is one."""

    @property
    def states_of(self) -> str:
        """What the states were computed by: those of one are of no use to another."""

    def start(self) -> States:
        """The states of a learner without events."""

    def advance(self, states: States, history: History, event: "Event") -> States:
        """The states one event later; `history` is still as before it."""


class NoNetworks:
    """Nothing to keep: no model serves yet, or the ones that do have no state."""

    states_of = ""

    def start(self) -> States:
        """No state."""
        return {}

    def advance(self, states: States, history: History, event: "Event") -> States:  # noqa: ARG002
        """No state."""
        return states


@dataclass(frozen=True)
class Learner:
    """What is known of one learner after all valid events in the log."""

    history: History
    states: States


@dataclass(frozen=True)
class _Cached:
    revision: int
    states_of: str
    learner: Learner
    last_id: int
    last: tuple[int, str]  # timestamp and event id: the place in the order of the fold


class Learners:
    """Histories of learners, read from the log and advanced by what was appended since.

    Not for several threads at once: a history is advanced in place.

    Args:
        connect: opens the log; called at the first question, and again until it succeeds.
        monotonic: seconds that never go back.
        capacity: most learners kept; the one unused for longest is dropped first.
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

    def learner(self, user_id: str, networks: Networks | None = None) -> Learner | None:
        """What is known after all valid events in the log; None of one never seen.

        Args:
            user_id: any name.
            networks: whose hidden states are wanted; the caller goes on to ask the same ones, so
                that a swap in between cannot mix two models.

        Raises:
            StorageUnavailable: the log does not answer, or did not within the last second.
        """
        return self._asked(lambda log: self._current(log, user_id, networks or NoNetworks()))

    def style_override(self, user_id: str) -> str | None:
        """The learning style that the learner chose; None where he left it to what is observed.

        Raises:
            StorageUnavailable: as `learner`.
        """
        return self._asked(lambda log: style_override(log.engine, user_id))

    def _asked(self, read: "Callable[[Log], Found]") -> Found:
        if self._monotonic() < self._retry_at:
            raise StorageUnavailable("log: expected an answer, got an error; repeat in a second")
        try:
            if self._log is None:
                self._log = self._connect()
            return read(self._log)
        except StorageUnavailable as error:
            self._retry_at = self._monotonic() + RETRY_SECONDS
            logger.warning("answering without the log: %s", error)
            raise

    def _current(self, log: "Log", user_id: str, networks: Networks) -> Learner | None:
        revision = log.revision(user_id)
        if revision is None:
            self._cache.pop(user_id, None)
            return None
        cached = self._cache.get(user_id)
        now = revision, networks.states_of
        if cached is None or (cached.revision, cached.states_of) != now:
            cached = (cached and _advanced(log, user_id, cached, revision, networks)) or _folded(
                log, user_id, revision, networks
            )
            self._cache[user_id] = cached
        self._cache.move_to_end(user_id)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return cached.learner


def _advanced(
    log: "Log", user_id: str, cached: _Cached, revision: int, networks: Networks
) -> _Cached | None:
    """The state one write later; None where that write was anything but later events."""
    if revision != cached.revision + 1 or networks.states_of != cached.states_of:
        return None  # one of the writes may have taken events away
    later = log.read_learner(user_id, after_id=cached.last_id)
    in_order = bool(later) and _place(later[0]) > cached.last
    if not in_order or log.revision(user_id) != revision:
        return None
    return _take_in(cached.learner, later, revision, cached.last_id, networks)


def _folded(log: "Log", user_id: str, revision: int, networks: Networks) -> _Cached:
    # Events that come between reading the revision and this are folded too; they are then found
    # missing from the next question's later events, which folds anew.
    nothing = Learner(History.new(), networks.start())
    return _take_in(nothing, log.read_learner(user_id), revision, 0, networks)


def _take_in(
    learner: Learner, events: "Sequence[Event]", revision: int, last_id: int, networks: Networks
) -> _Cached:
    history, states = learner.history, learner.states
    for each in events:
        states = networks.advance(states, history, each)
        history.advance(
            (
                each.interaction_type,
                each.topic_id,
                each.score,
                each.duration_seconds,
                each.timestamp,
            ),
            each.difficulty,
        )
    last_id = max((each.id for each in events), default=last_id)
    last = _place(events[-1]) if events else (-1, "")
    return _Cached(revision, networks.states_of, Learner(history, states), last_id, last)


def _place(event: "Event") -> tuple[int, str]:
    return event.timestamp, event.event_id
