"""Learners' states, kept in memory as long as nothing was written about the learner.

A state is a fold over the log, so this cache may be thrown away at any time. Every write raises
the learner's revision in the transaction of the write: the same revision means the same state.
All states are of this process's `FOLD_VERSION`; a bundle of another one is never served.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sensei.errors import StorageUnavailable
from sensei.preferences import style_override
from serving.folding import Folded, Learner, Networks, NoNetworks
from serving.gathering import Gathering

if TYPE_CHECKING:
    from sensei.log import Event, Log

CAPACITY = 2_000
"""Most states kept; one takes 15 to 40 KB."""

RETRY_SECONDS = 1.0
"""How long a log that failed is left alone: requests are answered without it, none waits."""

PIECE = 100
"""Events taken in at once where others wait: some milliseconds."""

READERS = 4
"""Learners read at the same time: each holds a connection of the pool."""

TRIES = 3
"""Times that a learner is folded who goes on acting meanwhile, before others have to wait."""

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

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
        self._cache: OrderedDict[str, Folded] = OrderedDict()
        self._folding: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._reading = asyncio.Semaphore(READERS)
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
            for _ in range(TRIES):  # he may act while his log is folded
                revision = await self._gathering.revision(user_id)
                if revision is None:
                    self._cache.pop(user_id, None)
                    return self._hand(user_id, networks, None)
                read = partial(self._kept, user_id=user_id, revision=revision, networks=networks)
                if cached := self._asked(read):
                    return self._hand(user_id, networks, cached.learner)
                await self._fold(user_id, networks)

    def _hand(self, user_id: str, networks: Networks, found: Learner | None) -> None:
        _AT_HAND.set((self, user_id, networks.states_of, found))

    async def _fold(self, user_id: str, networks: Networks) -> None:
        """Once for all who wait for it."""
        key = user_id, networks.states_of
        task = self._folding.get(key)
        if task is None:
            task = asyncio.create_task(self._folded(user_id, networks))
            self._folding[key] = task
            task.add_done_callback(lambda _: self._folding.pop(key))
        await asyncio.shield(task)

    async def _folded(self, user_id: str, networks: Networks) -> None:
        # Not in a thread: SQLite gives Python's lock away and takes it back at each row.
        events: list[Event] = []
        async with self._reading:
            revision = self._asked(lambda log: log.revision(user_id))
            pieces = self._asked(lambda log: log.learner_in_pieces(user_id, PIECE))
            while piece := self._asked(lambda _: next(pieces, ())):
                events += piece
                await asyncio.sleep(0)
        if revision is None:
            return  # erased meanwhile
        events.sort(key=lambda event: event.place)
        found = Folded.nothing(revision, networks)
        for first in range(0, len(events), PIECE):
            found = found.after(events[first : first + PIECE], revision, networks)
            await asyncio.sleep(0)
        self._keep(user_id, found)

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
            cached = Folded.nothing(revision, networks).after(events, revision, networks)
            self._keep(user_id, cached)
        return cached.learner

    def _kept(self, log: "Log", user_id: str, revision: int, networks: Networks) -> Folded | None:
        """What is kept, advanced by what was appended since; None where that is not enough."""
        cached = self._cache.get(user_id)
        if cached is None or cached.states_of != networks.states_of:
            return None
        if cached.revision != revision:
            cached = cached.advanced(log, user_id, revision, networks)
        if cached is not None:
            self._keep(user_id, cached)
        return cached

    def _keep(self, user_id: str, cached: Folded) -> None:
        self._cache[user_id] = cached
        self._cache.move_to_end(user_id)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
