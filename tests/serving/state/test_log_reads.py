"""Reads in threads: a log that fails or hangs costs one read, not one for each question."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from sensei.errors import StorageUnavailable
from sensei.events.log import Log
from serving.state.log_reads import Reads

THREADS = 2


class Store:
    """A log that answers 7, hangs or fails."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.fails = False
        self.asked = 0

    def read(self, _: Log) -> int:
        self.asked += 1
        self.answers.wait()
        if self.fails:
            raise StorageUnavailable("database: down")
        return 7

    def close(self) -> None:
        pass


def asking(store: Store, steps: Callable[[Reads], Coroutine[Any, Any, None]]) -> None:
    reads = Reads(lambda: cast("Log", store), THREADS, "test")

    async def run() -> None:
        try:
            await steps(reads)
        finally:
            store.fails = False
            store.answers.set()
            reads.close()

    asyncio.run(run())


def stuck() -> int:
    return sum(each.name == "test" for each in threading.enumerate())


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("expected to come true within 10 s")


@pytest.mark.parametrize("is_fault", [True, False], ids=["fails", "hangs"])
def test_a_burst_in_an_outage_is_refused_and_the_first_answer_ends_it(is_fault: bool) -> None:
    store = Store()

    async def steps(reads: Reads) -> None:
        assert await reads.ask(store.read, 5) == 7
        store.fails = is_fault
        if not is_fault:
            store.answers.clear()
        first = await asyncio.gather(
            *(reads.ask(store.read, 0.2) for _ in range(50)), return_exceptions=True
        )
        assert {type(each) for each in first} == {StorageUnavailable}
        asked, started = store.asked, time.monotonic()
        for _ in range(100):
            with pytest.raises(StorageUnavailable):
                await reads.ask(store.read, 5)
        assert time.monotonic() - started < 1, "nobody waits"
        assert store.asked - asked <= 1 + (time.monotonic() - started) * 4, "only probes ask"
        assert stuck() == THREADS
        store.fails = False
        store.answers.set()
        await until(lambda: not reads.is_down)
        assert await reads.ask(store.read, 5) == 7

    asking(store, steps)


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    store = Store()

    async def steps(reads: Reads) -> None:
        store.answers.clear()
        late = [reads.run(store.read, 0.1) for _ in range(20)]
        found = await asyncio.gather(*late, return_exceptions=True)
        assert {type(each) for each in found} == {StorageUnavailable}
        store.answers.set()
        assert await reads.run(store.read, 5) == 7
        assert store.asked <= THREADS + 1

    asking(store, steps)


def test_an_outage_that_is_young_may_be_waited_for() -> None:
    store = Store()

    async def steps(reads: Reads) -> None:
        store.answers.clear()
        with pytest.raises(StorageUnavailable):
            await reads.ask(store.read, 0.1)
        assert not await reads.answers_within(0.05)
        threading.Timer(0.1, store.answers.set).start()
        assert await reads.answers_within(10)

    asking(store, steps)
