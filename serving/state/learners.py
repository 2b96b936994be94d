"""Cache of learners' states, each valid until something is written about the learner.

A state is a fold over the log, so the cache may be dropped at any time. Every write increases the
learner's revision in its own transaction: the same revision means the same state.
All states are of this process's `FOLD_VERSION`; a bundle of another one is never served.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sensei.errors import StorageUnavailable
from serving.state.folded_learner import (
    FoldedLearner,
    Learner,
    Networks,
    NoNetworks,
    Read,
    read_learner,
)
from serving.state.log_reads import Reads, finishes_within
from serving.state.revision_batcher import RevisionBatcher

if TYPE_CHECKING:
    from sensei.events.log import Log

CAPACITY = 2_000
"""Maximum number of cached states; one takes 15 to 40 KB."""

RETRY_SECONDS = 1.0
"""Pause, in seconds, before a caller without an event loop asks a failed log again."""

PIECE = 100
"""Number of events folded at once while other requests wait some milliseconds."""

READERS = 2
"""Maximum number of learners read at the same time."""

COLD_SECONDS = 0.5
"""Maximum wait, in seconds, of a request for a learner whose cached state is missing or old.

The request is then answered with a fallback; the read continues for the next request."""

READ_SECONDS = 10.0
"""Deadline, in seconds, of one read of a learner's events; a longer one opens the breaker."""

TRIES = 3
"""Maximum number of reads for a learner who continues to act meanwhile."""

logger = logging.getLogger(__name__)


class LearnerCache:
    """Cache of learners' states, read from the log and advanced by later events.

    It is for one thread, because a history is advanced in place. Other threads read the log, so the
    event loop never waits for it.

    Args:
        connect: opens the log; called at the first read, and again until it succeeds.
        monotonic: monotonic clock, in seconds.
        capacity: maximum number of cached learners; the least recently used is dropped first.
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
        self._cache: OrderedDict[str, FoldedLearner] = OrderedDict()
        self._folding: dict[tuple[str, str], asyncio.Task[FoldedLearner | None]] = {}
        # Separate threads: a lookup must not wait for the events of one learner.
        self._lookups = Reads(connect, 1, "revisions")
        self._reads = Reads(connect, READERS, "learners")
        self._free_readers = asyncio.Semaphore(READERS)
        self._revisions = RevisionBatcher(self._lookups)

    @property
    def is_unreachable(self) -> bool:
        """True while answers are made without the log."""
        return self._lookups.is_down or self._reads.is_down

    def close(self) -> None:
        """Stop the reading threads."""
        self._revisions.close()
        self._lookups.close()
        self._reads.close()

    async def read(self, user_id: str, networks: Networks | None = None) -> Learner | None:
        """Return the state after all valid events in the log; None for an unknown learner.

        Other requests are answered meanwhile. Use the state before the next `await`: later events
        advance its history in place. If the log does not answer, the state is that of the last
        read, marked as stale.

        Args:
            user_id: any name.
            networks: networks whose hidden states are needed. The caller must use the same ones,
                so that a swap in between cannot mix two models.

        Raises:
            StorageUnavailable: the log does not answer, and nothing is cached.
        """
        networks = networks or NoNetworks()
        try:
            try:
                revision = await self._revisions.revision(user_id)
            except StorageUnavailable:
                revision = await self._revision_after_outage(user_id, networks)
            folded = self._cache.get(user_id)
            is_current = folded is not None and folded.revision == revision
            if folded is None or not is_current or folded.states_of != networks.states_of:
                return await self._catch_up(user_id, networks, revision)
            self._cache.move_to_end(user_id)
            return folded.learner
        except StorageUnavailable:
            folded = self._cached(user_id, networks)
            if folded is None:
                raise
            return replace(folded.learner, is_stale=True)

    async def _revision_after_outage(self, user_id: str, networks: Networks) -> int | None:
        """Look the revision of a cold learner up again after a short outage.

        Raises:
            StorageUnavailable: the outage lasts, or a cached state can answer.
        """
        if self._cached(user_id, networks) or not await self._lookups.answers_within(COLD_SECONDS):
            raise StorageUnavailable("log: expected an answer, got none; repeat in a second")
        return await self._revisions.revision(user_id)

    async def _catch_up(
        self, user_id: str, networks: Networks, revision: int | None
    ) -> Learner | None:
        """Return the state of a revision or a later one, read from the log if necessary."""
        wait_ends = time.monotonic() + COLD_SECONDS
        folded: FoldedLearner | None = None
        for _ in range(TRIES):  # the learner may act while the log is folded
            if revision is None:
                self._cache.pop(user_id, None)
                return None
            cached = self._cached(user_id, networks)
            if cached and cached.revision == revision:
                return cached.learner
            folded = await self._fold(user_id, networks, wait_ends - time.monotonic())
            revision = await self._revisions.revision(user_id)
        return folded.learner if folded else None

    async def _fold(self, user_id: str, networks: Networks, seconds: float) -> FoldedLearner | None:
        """Read and fold a learner once for all requests that wait for it.

        Args:
            user_id: the learner's name.
            networks: as `read`.
            seconds: maximum wait; a fold that takes longer continues, and its result is cached.

        Raises:
            StorageUnavailable: the log does not answer, or the wait ended.
        """
        key = user_id, networks.states_of
        task = self._folding.get(key)
        if task is None:
            task = self._folding[key] = asyncio.create_task(self._read_and_fold(user_id, networks))
            task.add_done_callback(partial(self._end_fold, key))
        if await finishes_within(task, seconds):
            return task.result()
        raise StorageUnavailable(
            f"log: expected a learner's events within {COLD_SECONDS:g} s, got none yet; "
            "repeat in a second"
        )

    def _end_fold(self, key: tuple[str, str], task: "asyncio.Task[FoldedLearner | None]") -> None:
        del self._folding[key]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StorageUnavailable):
            logger.error("a learner cannot be read", exc_info=error)  # maybe nobody waits any more

    async def _read_and_fold(self, user_id: str, networks: Networks) -> FoldedLearner | None:
        before = self._cached(user_id, networks)
        read_events = partial(read_learner, user_id=user_id, before=before)
        async with self._free_readers:  # the deadline does not include the wait for a thread
            read = await self._reads.ask(read_events, READ_SECONDS)
        if read is None:
            self._cache.pop(user_id, None)
            return None
        if read.is_later:
            cached = self._cached(user_id, networks)
            # A caller without an event loop may have advanced it meanwhile.
            return self._advance(user_id, before, read, networks) if cached is before else cached
        folded = await _folded(read, networks)
        self._store(user_id, folded)
        return folded

    def read_blocking(self, user_id: str, networks: Networks | None = None) -> Learner | None:
        """Return the same as `read`, for callers without an event loop; it waits for the log.

        Raises:
            StorageUnavailable: the log does not answer, or did not within the last second.
        """
        networks = networks or NoNetworks()
        if self._monotonic() < self._retry_at:
            raise StorageUnavailable("log: expected an answer, got an error; repeat in a second")
        try:
            self._log = self._log or self._connect()
            return self._current(self._log, user_id, networks)
        except StorageUnavailable as error:
            self._retry_at = self._monotonic() + RETRY_SECONDS
            logger.warning("answering without the log: %s", error)
            raise

    def _current(self, log: "Log", user_id: str, networks: Networks) -> Learner | None:
        revision, before = log.revision(user_id), self._cached(user_id, networks)
        if revision is not None and before and before.revision == revision:
            self._store(user_id, before)
            return before.learner
        read = read_learner(log, user_id, before)
        if read is None:
            self._cache.pop(user_id, None)
            return None
        before = before if read.is_later else None
        return self._advance(user_id, before, read, networks).learner

    def _cached(self, user_id: str, networks: Networks) -> FoldedLearner | None:
        """Return the cached state of a learner, if it was computed for these networks."""
        folded = self._cache.get(user_id)
        return folded if folded and folded.states_of == networks.states_of else None

    def _advance(
        self, user_id: str, before: FoldedLearner | None, read: Read, networks: Networks
    ) -> FoldedLearner:
        before = before or FoldedLearner.nothing(read.revision, networks)
        folded = before.after(read.events, read.revision, networks).styled(read.chosen_style)
        self._store(user_id, folded)
        return folded

    def _store(self, user_id: str, folded: FoldedLearner) -> None:
        self._cache[user_id] = folded
        self._cache.move_to_end(user_id)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)


async def _folded(read: Read, networks: Networks) -> FoldedLearner:
    """Fold all events of a learner in pieces; other requests are answered in between."""
    folded = FoldedLearner.nothing(read.revision, networks)
    for first in range(0, len(read.events), PIECE):
        folded = folded.after(read.events[first : first + PIECE], read.revision, networks)
        await asyncio.sleep(0)
    return folded.styled(read.chosen_style)
