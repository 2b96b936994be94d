"""Counts and times of the log that the guards judge."""

from collections import Counter
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
    """Events of the log by day, and when the newest one happened and arrived.

    Attributes:
        daily: UTC day since 1970 -> number of events, at least one; the last `LOOKBACK_DAYS`.
        newest: time of the newest event; None for an empty log.
        last_received: time of arrival of the last row; None for an empty log.
    """

    daily: dict[int, int]
    newest: datetime | None
    last_received: datetime | None


_COUNTS = (
    f"SELECT timestamp / {DAY}, COUNT(*) FROM user_interactions "  # noqa: S608 - our own SQL
    "WHERE timestamp >= :start AND timestamp < :stop {condition} GROUP BY 1"
)


def read_feed(engine: Engine, end: datetime) -> FeedCounts:
    """Count the events before a time by day; the index on time suffices.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    stop = to_microseconds(end)
    # A row that supersedes another one is no arrival.
    arrived = select(UserInteraction.received_at).where(UserInteraction.arrival.is_(None))
    last_row = arrived.order_by(UserInteraction.id.desc()).limit(1)
    with database.read_connection(engine) as connection:
        newest = connection.execute(
            text("SELECT MAX(timestamp) FROM user_interactions WHERE timestamp < :stop"),
            {"stop": stop},
        ).scalar()
        if newest is None:
            return FeedCounts({}, None, None)
        values = {"start": newest - LOOKBACK_DAYS * DAY, "stop": stop}
        counts = connection.execute(text(_COUNTS.format(condition="")), values)
        daily = Counter({int(day): int(count) for day, count in counts})
        superseding = "AND id IN (SELECT replaced_by FROM corrections)"
        counts = connection.execute(text(_COUNTS.format(condition=superseding)), values)
        daily.subtract({int(day): int(count) for day, count in counts})
        return FeedCounts(daily, to_datetime(newest), connection.execute(last_row).scalar())
