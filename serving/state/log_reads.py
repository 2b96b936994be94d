"""Reads of the log in threads: each has a deadline, and a circuit breaker stops reads in an outage.

Each thread has its own connection. The first read that fails or exceeds its deadline opens the
circuit breaker. Then every read is refused at once, while the failed read is repeated in the
background until it succeeds. A read that never returns blocks one thread, never a second one.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sensei.errors import StorageUnavailable

if TYPE_CHECKING:
    from sensei.events.log import Log

PROBE_SECONDS = 0.25
"""Pause before the read that failed is repeated in the background."""

STARVED_SECONDS = 0.02
"""Delay of a timer, in seconds, from which the machine is busy and the log may not be slow."""

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


async def finishes_within(future: asyncio.Future[Any], seconds: float) -> bool:
    """Wait for a future, and return true if it is done in time; it is not cancelled if it is late.

    On a busy machine, where the timer itself is late, wait once more.
    """
    started = time.monotonic()
    await asyncio.wait((future,), timeout=seconds)
    if not future.done() and time.monotonic() - started - seconds > STARVED_SECONDS:
        await asyncio.wait((future,), timeout=seconds)
    return future.done()


class _Job(NamedTuple):
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]
    read: "Callable[[Log], Any]"


class Reads:
    """A few threads that read the log, behind one circuit breaker; for one event loop.

    Args:
        connect: opens the log; called by each thread, and again after a failure to open.
        threads: reads at the same time; the threads start with the first question.
        name: of the threads, and in the service's log.
    """

    def __init__(self, connect: "Callable[[], Log]", threads: int, name: str) -> None:
        self._connect = connect
        self._name = name
        self._count = threads
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._recovery: asyncio.Task[None] | None = None
        self._down_since = 0.0

    @property
    def is_down(self) -> bool:
        """True while questions are refused at once."""
        return self._recovery is not None

    async def ask(self, read: "Callable[[Log], Result]", seconds: float) -> Result:
        """Read, or refuse at once while the log does not answer.

        Args:
            read: reads and changes nothing: it may be repeated.
            seconds: the deadline.

        Raises:
            StorageUnavailable: the log failed, is late, or did not answer the last question.
        """
        if self.is_down:
            raise StorageUnavailable("log: expected an answer, got none; repeat in a second")
        job = self._submit(read)
        try:
            return await self._awaited(job, seconds)
        except StorageUnavailable as error:
            self._open_breaker(read, job, error)
            raise

    async def run(self, action: "Callable[[Log], Result]", seconds: float) -> Result:
        """Do something once, within a deadline, whether the log answered before or not.

        An action that has not begun by the deadline never begins; one under way is finished.

        Raises:
            StorageUnavailable: the log failed or is late.
        """
        job = self._submit(action)
        try:
            return await self._awaited(job, seconds)
        finally:
            job.cancel()

    async def answers_within(self, seconds: float) -> bool:
        """Wait for the end of an outage that is younger than `seconds`.

        Returns:
            True if the log answers again.
        """
        left = self._down_since + seconds - time.monotonic()
        if self._recovery is not None and left > 0:
            await asyncio.wait((self._recovery,), timeout=left)
        return not self.is_down

    def close(self) -> None:
        """Let the threads end; one that still reads is not waited for."""
        for _ in self._threads:
            self._jobs.put(None)

    def _submit(self, read: "Callable[[Log], Result]") -> asyncio.Future[Result]:
        if not self._threads:
            # Daemons: a read that never returns must not keep the process from ending.
            self._threads = [
                threading.Thread(target=self._run, daemon=True, name=self._name)
                for _ in range(self._count)
            ]
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._jobs.put(_Job(loop, result, read))
        return result

    async def _awaited(self, job: asyncio.Future[Result], seconds: float) -> Result:
        if await finishes_within(job, seconds):
            return job.result()
        raise StorageUnavailable(
            f"log: expected an answer within {seconds:g} s, got none; repeat in a second"
        )

    def _open_breaker(
        self,
        read: "Callable[[Log], Any]",
        job: asyncio.Future[Any],
        error: StorageUnavailable,
    ) -> None:
        if self.is_down:
            job.cancel()  # one read is repeated, the others are dropped
            return
        logger.warning("%s: answering without the log: %s", self._name, error)
        self._down_since = time.monotonic()
        self._recovery = asyncio.create_task(self._recover(read, job))

    async def _recover(self, read: "Callable[[Log], Any]", job: asyncio.Future[Any]) -> None:
        try:
            while not await _succeeded(job):
                await asyncio.sleep(PROBE_SECONDS)
                job = self._submit(read)
            logger.info("%s: the log answers again", self._name)
        finally:
            self._recovery = None

    def _run(self) -> None:
        log: Log | None = None
        while (job := self._jobs.get()) is not None:
            if job.result.done():
                continue  # nobody waits any more
            result, error = None, None
            try:
                log = log or self._connect()
                result = job.read(log)
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop was closed
                job.loop.call_soon_threadsafe(_settle, job.result, result, error)
            del job, result, error
        if log is not None:
            with suppress(StorageUnavailable):
                log.close()


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
        future.exception()  # seen: whoever asked may have given up
    else:
        future.set_result(result)


async def _succeeded(job: asyncio.Future[Any]) -> bool:
    """False if the log failed; any other error is an answer of a log that works."""
    try:
        await job
    except StorageUnavailable:
        return False
    except Exception:
        logger.exception("a read failed")
    return True
