"""Batch the revision lookups of concurrent requests into one read at a time."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from serving.state.log_reads import Reads

if TYPE_CHECKING:
    from sensei.events.log import Log

SECONDS = 0.1
"""Deadline, in seconds, of one read, which looks up primary keys."""


class RevisionBatcher:
    """Batched reader of learner revisions: requests during a read share the next read.

    Args:
        reads: runs reads of the log.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._waiting: list[tuple[str, asyncio.Future[int | None]]] = []
        self._answering: asyncio.Task[None] | None = None

    def revision(self, user_id: str) -> asyncio.Future[int | None]:
        """Return a future of the number of writes that changed a learner; None if never seen.

        The number is current as of the call or later. Awaiting it raises the errors of the read.
        """
        loop = asyncio.get_running_loop()
        revision: asyncio.Future[int | None] = loop.create_future()
        self._waiting.append((user_id, revision))
        if self._answering is None:
            self._answering = loop.create_task(self._answer_all())
        return revision

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                await self._answer(waiting)
        finally:
            self._answering = None

    async def _answer(self, waiting: list[tuple[str, asyncio.Future[int | None]]]) -> None:
        read = partial(_read, user_ids=[user_id for user_id, _ in waiting])
        try:
            revisions = await self._reads.ask(read, SECONDS)
        except Exception as error:
            for _, revision in waiting:
                if not revision.done():
                    revision.set_exception(error)
                    revision.exception()  # mark as retrieved: the caller may be gone
            return
        for user_id, revision in waiting:
            if not revision.done():  # done: the caller is gone
                revision.set_result(revisions.get(user_id))


def _read(log: "Log", user_ids: Sequence[str]) -> dict[str, int]:
    return log.revisions(user_ids)
