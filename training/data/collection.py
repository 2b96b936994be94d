"""Interactions from which a training run takes its targets, as one frame."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from sensei.events.log import Log


def collect_training_data(log: "Log", days: int, as_of: datetime | None = None) -> "pd.DataFrame":
    """Return the valid interactions of the last days, without quarantined ones.

    Use it to inspect the data. A training run also reads all history before these days: the days
    limit the targets, not the history (`training.data.dataset`).

    Args:
        log: an open log.
        days: length of the window in days, at least 1.
        as_of: end of the window (exclusive); by default just after the log's last event.

    Returns:
        The frame of `sensei.events.frames`; without rows if the window has no events.

    Raises:
        StorageUnavailable: the log cannot be read.
    """
    last = log.last_event() or datetime.now(UTC)
    end = as_of or last + timedelta(microseconds=1)
    return log.read(until=end, since=end - timedelta(days=days))
