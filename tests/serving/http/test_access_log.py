"""The lines of requests are all written, also the last ones."""

import json
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest

from serving.http.access_log import EVERY_SECONDS, AccessLog

FULL = Path("/dev/full")


def test_the_end_waits_for_the_last_lines() -> None:
    lines, stream = AccessLog(), StringIO()
    lines.start(stream)
    for number in range(100):
        lines.add("id", {"number": number})
    lines.close()
    numbers = [json.loads(line)["number"] for line in stream.getvalue().splitlines()]
    assert numbers == list(range(100))


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_loses_lines_and_not_the_thread_that_writes_them() -> None:
    lines, full = AccessLog(), FULL.open("w")
    lines.start(full)
    for _ in range(3):
        lines.add("id", {})
        time.sleep(1.5 * EVERY_SECONDS)
    assert lines._thread is not None
    is_alive, waiting = lines._thread.is_alive(), len(lines._waiting)
    lines.close()
    with suppress(OSError):
        full.close()
    assert (is_alive, waiting) == (True, 0)
