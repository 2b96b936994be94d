"""Group commit of learner events to the log; a request is answered after its events are durable.

One thread per worker writes, so no request blocks the event loop during disk writes. Submissions
that arrive during a write form the next group. The more requests, the more of them share one disk
flush (docs/decisions/0006).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from sensei.errors import NotRecorded, StorageUnavailable
from sensei.events import append
from sensei.events.append import AppendResult, EventRow, PendingRow
from sensei.storage import database
from serving.observability import EVENTS

if TYPE_CHECKING:
    from sensei.events.log import Log

CAPACITY = 2_000
"""Maximum number of waiting submissions; further ones are refused, to be sent again in a second."""

GROUP = 200
"""Maximum number of submissions per transaction."""

PATIENCE = 5.0
"""Maximum wait for a write, in seconds; after it the caller is told that the outcome is unknown."""


class _Waiting(NamedTuple):
    submission: Sequence[PendingRow]
    recorded: asyncio.Future[tuple[EventRow, ...]]


_Group = tuple[asyncio.AbstractEventLoop, list[_Waiting]]


class EventWriter:
    """Writer of learner events; for one event loop.

    Args:
        connect: opens the log; called by the writing thread, and again after a failure to open.
    """

    def __init__(self, connect: "Callable[[], Log]") -> None:
        self._connect = connect
        self._log: Log | None = None
        self._waiting: list[_Waiting] = []
        self._writing = False
        self._groups: SimpleQueue[_Group | None] = SimpleQueue()
        # A daemon thread: a blocked write must not prevent the process from ending.
        self._thread = Thread(target=self._run, daemon=True, name="recorder")
        self._thread.start()

    async def log_interactions(self, submission: Sequence[PendingRow]) -> tuple[EventRow, ...]:
        """Record events, all or none; they are durable on return.

        Args:
            submission: result of `sensei.events.append.entries`.

        Returns:
            The events as the log stores them; for a repeated event, the first version.

        Raises:
            ConflictingEvent: an event id exists with another payload.
            LearnerErased: a learner was erased.
            NotRecorded: the events were refused, or the outcome is unknown; it is safe to send them
                again with the same event ids.
        """
        if len(self._waiting) >= CAPACITY:
            raise _not_recorded(
                submission,
                f"log: expected to keep up, got {CAPACITY} submissions waiting; repeat in a second",
            )
        loop = asyncio.get_running_loop()
        recorded: asyncio.Future[tuple[EventRow, ...]] = loop.create_future()
        self._waiting.append(_Waiting(submission, recorded))
        if not self._writing:
            self._begin(loop)
        try:
            async with asyncio.timeout(PATIENCE):
                return await recorded
        except TimeoutError:
            sentence = (
                f"log: expected to write within {PATIENCE:g} seconds, got no answer; repeat it"
            )
            raise _not_recorded(submission, sentence) from None

    async def log_interaction(self, entry: PendingRow) -> EventRow:
        """Record one event; see `log_interactions`."""
        return (await self.log_interactions([entry]))[0]

    def close(self) -> None:
        """Write what waits, for at most `PATIENCE` seconds, and close the connection."""
        self._groups.put(None)
        self._thread.join(PATIENCE)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        self._writing = True
        self._groups.put((loop, group))

    def _run(self) -> None:
        while (item := self._groups.get()) is not None:
            loop, group = item
            try:
                outcomes = self._write([waiting.submission for waiting in group])
            except Exception as error:
                outcomes = [error] * len(group)
            with suppress(RuntimeError):  # the loop is closed: no request waits any more
                loop.call_soon_threadsafe(self._end, loop, group, outcomes)
        if self._log is not None:
            self._log.close()

    def _write(self, submissions: Sequence[Sequence[PendingRow]]) -> list[Any]:
        self._log = self._log or self._connect()
        with database.write_queue(self._log.engine):
            return list(append.record(self._log.engine, submissions, datetime.now(UTC)))

    def _end(
        self, loop: asyncio.AbstractEventLoop, group: list[_Waiting], outcomes: Sequence[Any]
    ) -> None:
        self._writing = False
        if self._waiting:
            self._begin(loop)  # the next write runs while these requests are answered
        results = (outcome for outcome in outcomes if isinstance(outcome, AppendResult))
        EVENTS.inc(sum(sum(result.is_new) for result in results))
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.recorded.done():
                continue  # the request ended; its events are recorded all the same
            if isinstance(outcome, StorageUnavailable):
                not_recorded = _not_recorded(waiting.submission, str(outcome))
                not_recorded.__cause__ = outcome
                waiting.recorded.set_exception(not_recorded)
            elif isinstance(outcome, BaseException):
                waiting.recorded.set_exception(outcome)
            else:
                waiting.recorded.set_result(outcome.rows)


def _not_recorded(submission: Sequence[PendingRow], sentence: str) -> NotRecorded:
    return NotRecorded(sentence, [entry.row.event_id for entry in submission])
