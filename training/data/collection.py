"""The interactions that a training run takes its targets from, as one frame."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from sensei.events.log import Log


def collect_training_data(log: "Log", days: int, as_of: datetime | None = None) -> "pd.DataFrame":
    """Valid interactions of the last days, quarantined ones left out.

    For a look at the data: a run reads all history before each of these too, because the days
    bound what is learned, never what is known (`training.data.dataset`).

    Args:
        log: an open log.
        days: length of the window, at least 1.
        as_of: its end, not included; by default just after the log's last event.

    Returns:
        The frame of `sensei.events.frames`; without rows where nothing happened in these days.

    Raises:
        StorageUnavailable: the log cannot be read.
    """
    last = log.last_event() or datetime.now(UTC)
    end = as_of or last + timedelta(microseconds=1)
    return log.read(until=end, since=end - timedelta(days=days))
