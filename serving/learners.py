"""Learners' states, kept in memory as long as nothing was written about the learner.

Beside the state of the fold stand the hidden states of the networks that serve, advanced by
the same events in the same order; those of another bundle are folded anew.

A state is a fold over the log, so this cache may be thrown away at any time. Every write raises
the learner's revision in the transaction of the write: the same revision means the same state.
All states are of this process's `FOLD_VERSION`; a bundle of another one is never served.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.history import History
from sensei import tallies
from sensei.errors import StorageUnavailable
from sensei.preferences import style_override
from serving.gathering import Gathering

if TYPE_CHECKING:
    from sensei.log import Event, Log

CAPACITY = 2_000
"""Most states kept; one takes 15 to 40 KB."""

RETRY_SECONDS = 1.0
"""How long a log that failed is left alone: requests are answered without it, none waits."""

PIECE = 100
"""Events taken in at once where others wait: some milliseconds."""

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
    taken: tuple[int, int]  # number of events and sum of their keys
    last_id: int
    last: tuple[int, str]  # timestamp and event id: the place in the order of the fold


_AT_HAND: ContextVar[tuple["Learners", str, str, Learner | None] | None] = ContextVar(
    "at_hand", default=None
)
"""What `Learners.prepare` read for the next question of the same request."""


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
        self._folding: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._reading = asyncio.Lock()  # one after the other: each holds a connection of the pool
        self._gathering = Gathering(lambda ids: self._asked(lambda log: log.revisions(ids)))

    async def prepare(self, user_id: str, networks: Networks | None = None) -> None:
        """Read what the question that follows at once needs; meanwhile others get their turn.

        That question answers without it, too, but asks the log alone and folds a long one at once.

        Args:
            user_id: any name.
            networks: as `learner`.
        """
        networks = networks or NoNetworks()
        with suppress(StorageUnavailable):  # the question says so
            revision = await self._gathering.revision(user_id)
            found = None
            if revision is None:
                self._cache.pop(user_id, None)
            elif cached := self._asked(lambda log: self._kept(log, user_id, revision, networks)):
                found = cached.learner
            else:
                return await self._fold(user_id, revision, networks)
            _AT_HAND.set((self, user_id, networks.states_of, found))

    async def _fold(self, user_id: str, revision: int, networks: Networks) -> None:
        """Once for all who wait for it."""
        key = user_id, networks.states_of
        task = self._folding.get(key)
        if task is None:
            task = asyncio.create_task(self._folded(user_id, revision, networks))
            self._folding[key] = task
            task.add_done_callback(lambda _: self._folding.pop(key))
        await asyncio.shield(task)

    async def _folded(self, user_id: str, revision: int, networks: Networks) -> None:
        events = await self._read(user_id)
        found = _nothing(revision, networks)
        for first in range(0, len(events), PIECE):
            found = _take_in(found, events[first : first + PIECE], revision, networks)
            await asyncio.sleep(0)
        self._keep(user_id, found)

    async def _read(self, user_id: str) -> "list[Event]":
        # Not in a thread: SQLite gives Python's lock away and takes it back at each row.
        events: list[Event] = []
        async with self._reading:
            pieces = self._asked(lambda log: log.learner_in_pieces(user_id, PIECE))
            while piece := self._asked(lambda _: next(pieces, ())):
                events += piece
                await asyncio.sleep(0)
        return sorted(events, key=_place)

    def learner(self, user_id: str, networks: Networks | None = None) -> Learner | None:
        """What is known after all valid events in the log; None of one never seen.

        Args:
            user_id: any name.
            networks: whose hidden states are wanted; the caller goes on to ask the same ones, so
                that a swap in between cannot mix two models.

        Raises:
            StorageUnavailable: the log does not answer, or did not within the last second.
        """
        networks = networks or NoNetworks()
        at_hand = _AT_HAND.get()
        if at_hand:
            _AT_HAND.set(None)
            if at_hand[:3] == (self, user_id, networks.states_of):
                return at_hand[3]
        return self._asked(lambda log: self._current(log, user_id, networks))

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
        cached = self._kept(log, user_id, revision, networks)
        if cached is None:
            # Events that come between reading the revision and this are taken in too; they are then
            # found missing from the next question's later events, which takes in all anew.
            events = log.read_learner(user_id)
            cached = _take_in(_nothing(revision, networks), events, revision, networks)
            self._keep(user_id, cached)
        return cached.learner

    def _kept(self, log: "Log", user_id: str, revision: int, networks: Networks) -> _Cached | None:
        """What is kept, advanced by what was appended since; None where that is not enough."""
        cached = self._cache.get(user_id)
        if cached is None or cached.states_of != networks.states_of:
            return None
        if cached.revision != revision:
            cached = _advanced(log, user_id, cached, revision, networks)
        if cached is not None:
            self._keep(user_id, cached)
        return cached

    def _keep(self, user_id: str, cached: _Cached) -> None:
        self._cache[user_id] = cached
        self._cache.move_to_end(user_id)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)


def _advanced(
    log: "Log", user_id: str, cached: _Cached, revision: int, networks: Networks
) -> _Cached | None:
    """The state some writes later; None where one of them was anything but later events."""
    several = revision != cached.revision + 1
    if several and tallies.taken(log.engine, user_id, cached.last_id) != cached.taken:
        return None  # events were taken away, or came late
    later = log.read_learner(user_id, after_id=cached.last_id)
    in_order = bool(later) and _place(later[0]) > cached.last
    if not in_order or log.revision(user_id) != revision:
        return None
    return _take_in(cached, later, revision, networks)


def _nothing(revision: int, networks: Networks) -> _Cached:
    nobody = Learner(History.new(), networks.start())
    return _Cached(revision, networks.states_of, nobody, (0, 0), 0, (-1, ""))


def _take_in(
    cached: _Cached, events: "Sequence[Event]", revision: int, networks: Networks
) -> _Cached:
    history, states = cached.learner.history, cached.learner.states
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
    ids = [each.id for each in events]
    return _Cached(
        revision,
        networks.states_of,
        Learner(history, states),
        (cached.taken[0] + len(ids), cached.taken[1] + sum(ids)),
        max([cached.last_id, *ids]),
        _place(events[-1]) if events else cached.last,
    )


def _place(event: "Event") -> tuple[int, str]:
    return event.timestamp, event.event_id
