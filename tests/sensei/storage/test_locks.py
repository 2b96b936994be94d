"""One at a time: across connections and processes, and free again when the holder dies."""

import signal
import subprocess
import sys
import threading

import pytest

from sensei.errors import StorageUnavailable
from sensei.events.log import open_log
from sensei.storage.database import connect, write_transaction
from sensei.storage.locks import exclusive_lock

HOLD = """
import sys, time
from sensei.storage.database import connect
from sensei.storage.locks import exclusive_lock
with exclusive_lock(connect(sys.argv[1]), "job"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_waits_until_the_first_is_done_whatever_happened_to_it(log_url):
    order, inside = [], threading.Event()

    def second():
        inside.wait()
        with exclusive_lock(connect(log_url), "job"):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()

    def first():
        with exclusive_lock(connect(log_url), "job"):
            inside.set()
            waiting.join(0.3)
            order.append("first")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        first()
    waiting.join(30)
    assert order == ["first", "second"]


def test_other_jobs_and_other_writers_go_on_meanwhile(log_url):
    with exclusive_lock(connect(log_url), "job"), exclusive_lock(connect(log_url), "another"):
        log = open_log(log_url)
        log.set_fact("written", True)
        with write_transaction(log.engine):
            pass
        log.close()


def test_who_waits_is_told_once_and_again_when_it_takes_too_long(log_url):
    told = []
    with (
        exclusive_lock(connect(log_url), "job", waits=lambda: told.append("free")),
        pytest.raises(StorageUnavailable, match="job: expected no other one to run"),
        exclusive_lock(connect(log_url), "job", 0.1, lambda: told.append("waits")),
    ):
        pytest.fail("two at once")
    assert told == ["waits"]


def test_a_holder_that_is_killed_leaves_the_place(log_url):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, log_url], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    with exclusive_lock(connect(log_url), "job"):
        pass


def test_a_database_that_does_not_answer_is_said(tmp_path):
    with (
        pytest.raises(StorageUnavailable),
        exclusive_lock(connect(f"sqlite:///{tmp_path / 'absent' / 'log.db'}"), "job"),
    ):
        pytest.fail("there is no such folder")
