"""Counts and times of the log that the guards judge."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select, text

from sensei.contracts import DAY
from sensei.storage import database
from sensei.storage.tables import UserInteraction, to_datetime, to_microseconds

LOOKBACK_DAYS = 400
"""Days before the newest event that are counted: a school year with its holidays."""


@dataclass(frozen=True)
class FeedCounts:
    """Valid events of the log by day, and when the newest one happened and arrived.

    Attributes:
        daily: UTC day since 1970 -> number of events, at least one; the last `LOOKBACK_DAYS`.
        newest: time of the newest event; None without one.
        last_received: time of arrival of the last row; None for an empty log.
    """

    daily: dict[int, int]
    newest: datetime | None
    last_received: datetime | None


_NEWEST = text("SELECT MAX(timestamp) FROM valid_interactions WHERE timestamp < :stop")
_DAILY = text(
    f"SELECT timestamp / {DAY}, COUNT(*) FROM valid_interactions "  # noqa: S608 - our own SQL
    "WHERE timestamp >= :start AND timestamp < :stop GROUP BY 1"
)


def read_feed(engine: Engine, end: datetime) -> FeedCounts:
    """Count the valid events before a time by day: those that training and serving read.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    stop = to_microseconds(end)
    # A row that supersedes another one is no arrival.
    arrived = select(UserInteraction.received_at).where(UserInteraction.arrival.is_(None))
    last_row = arrived.order_by(UserInteraction.id.desc()).limit(1)
    with database.read_connection(engine) as connection:
        newest = connection.execute(_NEWEST, {"stop": stop}).scalar()
        if newest is None:
            return FeedCounts({}, None, None)
        values = {"start": newest - LOOKBACK_DAYS * DAY, "stop": stop}
        daily = {int(day): int(count) for day, count in connection.execute(_DAILY, values)}
        return FeedCounts(daily, to_datetime(newest), connection.execute(last_row).scalar())
