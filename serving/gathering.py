"""What requests of one turn of the event loop ask the log, asked once for all of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

Revisions = Callable[[Sequence[str]], Mapping[str, int]]


class Gathering:
    """Reads revisions of learners: one statement answers all that wait, each as of after it asked.

    Args:
        read: revisions of learners; those never seen are left out.
    """

    def __init__(self, read: Revisions) -> None:
        self._read = read
        self._waiting: list[tuple[str, asyncio.Future[int | None]]] = []

    def revision(self, user_id: str) -> asyncio.Future[int | None]:
        """How many writes touched a learner, None: never seen; raises what reading raises."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._answer)
        found: asyncio.Future[int | None] = loop.create_future()
        self._waiting.append((user_id, found))
        return found

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            revisions = self._read([user_id for user_id, _ in waiting])
        except Exception as error:
            for _, found in waiting:
                if not found.done():
                    found.set_exception(error)
            return
        for user_id, found in waiting:
            if not found.done():  # its caller went away
                found.set_result(revisions.get(user_id))
