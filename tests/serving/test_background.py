"""Repeated actions: an error ends one run, `close` ends the thread."""

import logging
import threading

import pytest

from serving.background import RepeatingThread


def test_an_error_is_logged_and_the_action_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []
    finished = threading.Event()

    def fail_first() -> float:
        runs.append(len(runs))
        if len(runs) == 1:
            raise ZeroDivisionError("a test")
        finished.set()
        return 60.0

    closing_threads: list[str] = []
    thread = RepeatingThread(
        "test",
        fail_first,
        0.0,
        0.01,
        lambda: closing_threads.append(threading.current_thread().name),
    )
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert finished.wait(10)
        thread.close()
    assert runs == [0, 1]
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert closing_threads == ["test"], "the end is called once, in the thread"
    assert thread.is_stopping


def test_a_thread_that_never_started_can_be_closed() -> None:
    RepeatingThread("test", lambda: 1.0, 0.0, 0.0).close()


def test_a_blocked_run_delays_the_end_by_no_more_than_the_timeout() -> None:
    blocked, started = threading.Event(), threading.Event()

    def block() -> float:
        started.set()
        blocked.wait(10)
        return 60.0

    thread = RepeatingThread("test", block, 0.0, 0.0)
    thread.start()
    assert started.wait(10)
    thread.close(0.05)
    assert any(thread.name == "test" for thread in threading.enumerate())
    blocked.set()
