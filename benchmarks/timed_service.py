"""The unchanged service with a simulated clock that is read from a file.

`STORY_CLOCK` is the path of the file, which holds microseconds since 1970. A simulated day lasts
seconds, so recent popularity is refreshed at the polling interval.
"""

import os
import time
from datetime import datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace

from serving import worker
from serving.service import SenseiService
from serving.state import bundle_follower
from serving.storage import event_writer

__all__ = ["SenseiService"]

CLOCK = Path(os.environ["STORY_CLOCK"])


def _nanoseconds() -> int:
    return 1000 * int(CLOCK.read_text())


class _SimulatedDatetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(int(CLOCK.read_text()) / 1e6, tz)


event_writer.datetime = _SimulatedDatetime  # type: ignore[misc]
worker.time = SimpleNamespace(time_ns=_nanoseconds, monotonic=time.monotonic)  # type: ignore[assignment]
bundle_follower.REFRESH_SECONDS = bundle_follower.POLL_SECONDS
