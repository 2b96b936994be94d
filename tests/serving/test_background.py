"""Repeated actions: an error ends one run, `close` ends the thread."""

import logging
import threading

import pytest

from serving.background import RepeatingThread


def test_an_error_is_logged_and_the_action_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []
    done = threading.Event()

    def fail_first() -> float:
        runs.append(len(runs))
        if len(runs) == 1:
            raise ZeroDivisionError("a test")
        done.set()
        return 60.0

    ended: list[str] = []
    thread = RepeatingThread(
        "test", fail_first, 0.0, 0.01, lambda: ended.append(threading.current_thread().name)
    )
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert done.wait(10)
        thread.close()
    assert runs == [0, 1]
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert ended == ["test"], "the end is called once, in the thread"
    assert thread.is_stopping


def test_a_thread_that_never_started_can_be_closed() -> None:
    RepeatingThread("test", lambda: 1.0, 0.0, 0.0).close()


def test_a_blocked_run_delays_the_end_by_no_more_than_the_timeout() -> None:
    blocked, begun = threading.Event(), threading.Event()

    def block() -> float:
        begun.set()
        blocked.wait(10)
        return 60.0

    thread = RepeatingThread("test", block, 0.0, 0.0)
    thread.start()
    assert begun.wait(10)
    thread.close(0.05)
    assert any(each.name == "test" for each in threading.enumerate())
    blocked.set()
