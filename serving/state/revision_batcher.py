"""Batch the revision lookups of concurrent requests into one read at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from sensei.errors import StorageUnavailable
from serving.state.log_reads import Reads

if TYPE_CHECKING:
    from sensei.events.log import Log
    from sensei.storage.revisions import Revisions

SECONDS = 0.1
"""Deadline, in seconds, of one read, which looks up primary keys."""


class RevisionBatcher:
    """Batched reader of learner revisions: requests during a read share the next read.

    SQLite is read in the event loop, in one statement per tick that never waits for a lock: the
    way through a thread would cost several times as much. If the file is locked, and for
    PostgreSQL, a thread reads, with a deadline.

    Args:
        reads: threads that read the log.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._waiting: list[_Waiting] = []
        self._answering: asyncio.Task[None] | None = None
        self._direct: Revisions | None = None
        self._has_direct = True

    def revision(self, user_id: str) -> asyncio.Future[int | None]:
        """Return a future of the number of writes that changed a learner; None if never seen.

        The number is current as of the call or later. Awaiting it raises the errors of the read.
        """
        loop = asyncio.get_running_loop()
        revision: asyncio.Future[int | None] = loop.create_future()
        if not self._waiting and self._answering is None:
            loop.call_soon(self._begin)
        self._waiting.append((user_id, revision))
        return revision

    def close(self) -> None:
        """Close the connection of the event loop."""
        self._drop_direct()

    def _begin(self) -> None:
        """Answer all requests of this tick directly, or start a thread's read."""
        if self._direct is not None and not self._reads.is_down:
            try:
                revisions = self._direct.of_now([user_id for user_id, _ in self._waiting])
            except Exception:  # the thread's read reports it to whoever asks
                self._drop_direct()
            else:
                waiting, self._waiting = self._waiting, []
                return _settle(waiting, revisions)
        self._answering = asyncio.create_task(self._answer_all())
        return None

    def _drop_direct(self) -> None:
        reader, self._direct = self._direct, None
        if reader is not None:
            with suppress(StorageUnavailable):
                reader.close()

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                await self._answer(waiting)
        finally:
            self._answering = None
            if self._waiting:  # cancelled: nobody else would answer them
                asyncio.get_running_loop().call_soon(self._begin)

    async def _answer(self, waiting: "list[_Waiting]") -> None:
        read = partial(_read, user_ids=[user_id for user_id, _ in waiting])
        try:
            revisions = await self._reads.ask(read, SECONDS)
        except Exception as error:
            for _, revision in waiting:
                if not revision.done():
                    revision.set_exception(error)
                    revision.exception()  # mark as retrieved: the caller may be gone
            return
        _settle(waiting, revisions)
        if self._direct is None and self._has_direct:
            with suppress(Exception):  # without it the thread reads
                self._direct = await self._reads.run(_open_direct, SECONDS)
                self._has_direct = self._direct is not None


_Waiting = tuple[str, "asyncio.Future[int | None]"]


def _settle(waiting: "list[_Waiting]", revisions: Mapping[str, int]) -> None:
    for user_id, revision in waiting:
        if not revision.done():  # its caller went away
            revision.set_result(revisions.get(user_id))


def _read(log: "Log", user_ids: Sequence[str]) -> dict[str, int]:
    return log.revisions(user_ids)


def _open_direct(log: "Log") -> "Revisions | None":
    return log.revisions_without_waiting()
