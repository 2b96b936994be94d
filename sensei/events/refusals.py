"""Count of refused rows: over HTTP, at import and by validation, without those repaired since."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from sensei.errors import InvalidInput
from sensei.events import rules
from sensei.storage import database
from sensei.storage.tables import EPOCH, Quarantined, UserInteraction

HTTP = "HTTP"
"""Source of rows that the service refused; a refused row of a file has the file's name."""

ARRIVALS = timedelta(days=7)
"""Length of the period before the last arrival in which recent refusals are counted."""

FEWEST = 5
"""Minimum number of refused rows; fewer are single mistakes."""

_CHUNK = 500  # refused rows whose learners' events are read together


@dataclass(frozen=True)
class Refusals:
    """Rows that arrived, and those of them that were refused.

    Attributes:
        stored: rows that entered the log.
        http: rows that the service refused.
        imported: rows that an import refused.
        excluded: stored rows that validation excluded.
    """

    stored: int = 0
    http: int = 0
    imported: int = 0
    excluded: int = 0

    @property
    def rows(self) -> int:
        """Number of rows that arrived."""
        return self.stored + self.http + self.imported

    @property
    def at_the_door(self) -> int:
        """Number of rows that did not enter the log."""
        return self.http + self.imported

    @property
    def bad(self) -> int:
        """Number of rows refused anywhere."""
        return self.at_the_door + self.excluded

    @property
    def share(self) -> float:
        """Refused rows over all rows, in [0, 1]; 0 without rows."""
        return self.bad / max(self.rows, 1)

    def exceed(self, max_share: float) -> bool:
        """Tell if the share exceeds a maximum in [0, 1], with at least `FEWEST` refused rows."""
        return self.share > max_share and self.bad >= FEWEST

    def sentence(self) -> str:
        """Describe the counts."""
        return (
            f"{self.bad:,} of {self.rows:,} rows ({self.share:.1%}) were refused: "
            f"{self.http:,} over HTTP, {self.imported:,} at import, {self.excluded:,} by validation"
        )


NO_REFUSALS = Refusals()
"""Counts of a log without rows."""


def recent_refusals(engine: Engine) -> Refusals:
    """Count the rows of the last `ARRIVALS` before the last arrival.

    A period that ends now would forget a refused import before anything else arrived.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    with database.read_connection(engine) as connection:
        last = [
            connection.execute(query).scalar()
            for query in (
                select(UserInteraction.received_at)
                .where(_ARRIVED)
                .order_by(UserInteraction.id.desc())
                .limit(1),
                select(func.max(Quarantined.created_at)).where(_AT_THE_DOOR),
            )
        ]
        arrived = [moment for moment in last if moment is not None]
        return _count(connection, max(arrived) - ARRIVALS) if arrived else NO_REFUSALS


_AT_THE_DOOR = Quarantined.interaction_id.is_(None)
_ARRIVED = UserInteraction.arrival.is_(None)
"""Condition of rows that were sent; a row that supersedes another one was not."""


def _count(connection: Connection, since: Any) -> Refusals:
    stored = select(func.count()).select_from(UserInteraction).where(_ARRIVED)
    excluded = (
        select(func.count())
        .select_from(Quarantined)
        .join(UserInteraction, UserInteraction.id == Quarantined.interaction_id)
    )
    recent = UserInteraction.received_at >= since
    by_door = Counter(
        row.source == HTTP
        for rows in _refused(connection, since)
        for row in _without_repaired(connection, rows)
    )
    return Refusals(
        stored=int(connection.execute(stored.where(recent)).scalar_one()),
        http=by_door[True],
        imported=by_door[False],
        excluded=int(connection.execute(excluded.where(recent)).scalar_one()),
    )


def _refused(connection: Connection, since: Any) -> Iterator[list[Any]]:
    """Yield the rows refused at import and over HTTP, in lists of `_CHUNK`, by learner."""
    table, after = Quarantined, 0
    query = (
        select(table.id, table.user_id, table.event_id, table.source, table.row, table.created_at)
        .where(_AT_THE_DOOR, table.created_at >= since)
        .order_by(table.id)
        .limit(_CHUNK)
    )
    while rows := list(connection.execute(query.where(table.id > after)).all()):
        yield rows
        after = rows[-1].id


def _without_repaired(connection: Connection, refused: list[Any]) -> list[Any]:
    """Leave out rows that arrived again and were stored.

    A stored row is the repaired one if it arrived later and has the learner's event id, or the
    learner's topic and time.
    """
    event = UserInteraction
    query = select(
        event.user_id, event.event_id, event.topic_id, event.timestamp, event.received_at
    ).where(
        event.user_id.in_({row.user_id for row in refused if row.user_id is not None}),
        event.received_at > min(row.created_at for row in refused),
    )
    arrived: dict[tuple[Any, ...], Any] = {}
    for row in connection.execute(query):
        for key in ((row.user_id, row.event_id), (row.user_id, row.topic_id, row.timestamp)):
            arrived[key] = max(row.received_at, arrived.get(key, row.received_at))
    return [
        row
        for row in refused
        if not any(arrived.get(key, EPOCH) > row.created_at for key in _keys(row))
    ]


def _keys(refused: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the keys by which a refused row is found again."""
    if refused.event_id:
        yield refused.user_id, refused.event_id
    raw = refused.row if isinstance(refused.row, dict) else {}
    try:
        topic = rules.check_topic(_number(raw.get("topic_id")))
        yield refused.user_id, topic, rules.check_time(raw.get("timestamp"))
    except InvalidInput:
        return


def _number(value: Any) -> Any:
    """Return text as a whole number if it is one: files hold text."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value
