"""Tallies of valid events, counted by the database."""

from typing import Any

from sqlalchemy import Engine, text

from sensei.contracts import DAY, LEARNING_KINDS
from sensei.storage import database


def learned_between(
    engine: Engine, start_us: int, stop_us: int, last_id: int
) -> list[tuple[int, int, int, int]]:
    """Learning events of a stretch of time in rows up to a key, counted by topic and day.

    Returns:
        Topic, UTC day since 1970, number of events, time of the first (us since 1970).

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    # + keeps SQLite from walking over all keys instead of the stretch
    where = "timestamp >= :start AND timestamp < :stop AND +id <= :last"
    return _learned(engine, where, start=start_us, stop=stop_us, last=last_id)


def learned_since(
    engine: Engine, after_id: int, last_id: int, start_us: int
) -> list[tuple[int, int, int, int]]:
    """The same of rows after a key, up to another, that happened from a moment on."""
    where = "id > :after AND id <= :last AND +timestamp >= :start"
    return _learned(engine, where, after=after_id, last=last_id, start=start_us)


def taken(engine: Engine, user_id: str, last_id: int) -> tuple[int, int]:
    """Number and sum of keys of a learner's valid events up to a key: the same, the same events.

    Events are never changed, only appended, quarantined and erased.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = (
        "SELECT COUNT(*), COALESCE(SUM(id), 0) FROM valid_interactions "
        "WHERE user_id = :user AND id <= :last"
    )
    ((count, keys),) = _rows(engine, query, user=user_id, last=last_id)
    return int(count), int(keys)


def durations(
    engine: Engine, since_us: int, step: int, newest: int
) -> list[tuple[int, str, int, int]]:
    """Topic, kind, duration in steps of so many seconds, and number of such learning events.

    Args:
        engine: the log's.
        since_us: events from that moment on, microseconds since 1970.
        step: seconds, at least 1.
        newest: of so many events appended last, at most: a long log is not read as a whole.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = (
        f"SELECT topic_id, interaction_type, duration_seconds / {int(step)}, COUNT(*) "  # noqa: S608
        "FROM valid_interactions WHERE timestamp >= :since AND duration_seconds > 0 "
        "AND id > (SELECT MAX(id) FROM user_interactions) - :newest "
        f"AND interaction_type IN {LEARNING_KINDS} GROUP BY 1, 2, 3"
    )
    return _rows(engine, query, since=since_us, newest=newest)


def _learned(engine: Engine, where: str, **given: int) -> list[tuple[int, int, int, int]]:
    query = (
        f"SELECT topic_id, timestamp / {DAY}, COUNT(*), MIN(timestamp) "  # noqa: S608
        f"FROM valid_interactions WHERE {where} "
        f"AND interaction_type IN {LEARNING_KINDS} GROUP BY 1, 2"
    )
    return _rows(engine, query, **given)


def _rows(engine: Engine, query: str, **given: int | str) -> list[Any]:
    with database.read_connection(engine) as connection:
        return [tuple(row) for row in connection.execute(text(query), given)]
