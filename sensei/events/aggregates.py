"""Aggregates of valid events, computed by the database."""

from typing import Any

from sqlalchemy import Engine, text

from sensei.contracts import DAY, LEARNING_KINDS
from sensei.corrections.merged_ids import PRESENT_ID
from sensei.storage import database

_PRIME, _KEYS = 16_777_213, 30_011

TOPIC = (
    "COALESCE((SELECT topics.replaced_by FROM topics "
    "WHERE topics.topic_id = user_interactions.topic_id), topic_id) AS topic_id"
)
"""SQL for the topic that a row of `user_interactions` counts for, as in `valid_interactions`."""

_EVERY_EVENT = (
    f"(SELECT id, timestamp, interaction_type, {TOPIC} "  # noqa: S608 - our own SQL
    "FROM user_interactions) AS user_interactions"
)
"""All events of the log by the newest ids of their topics, superseded events included."""


def learned_between(
    engine: Engine, start_us: int, stop_us: int, last_id: int
) -> list[tuple[int, int, int, int]]:
    """Count learning events of a time range by topic and day, in rows up to a key.

    Returns:
        Topic, UTC day since 1970, number of events, time of the first (us since 1970).

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    # + makes SQLite use the index on time instead of scanning all keys
    where = "timestamp >= :start AND timestamp < :stop AND +id <= :last"
    return _learned(engine, where, start=start_us, stop=stop_us, last=last_id)


def learned_since(
    engine: Engine, after_id: int, last_id: int, start_us: int
) -> list[tuple[int, int, int, int]]:
    """Count learning events from a time on by topic and day, in rows between two keys.

    Returns:
        The same columns as `learned_between`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    where = "id > :after AND id <= :last AND +timestamp >= :start"
    return _learned(engine, where, after=after_id, last=last_id, start=start_us)


def superseded_since(
    engine: Engine, after: int, last_id: int, start_us: int
) -> tuple[list[tuple[int, int, int, int]], int]:
    """Count learning events that corrections took out of the valid ones.

    Args:
        engine: engine of the log.
        after: key of the last correction that was counted before.
        last_id: greatest key of a row to count.
        start_us: time from which rows count, in microseconds since 1970.

    Returns:
        The same columns as `learned_between`, and the key of the last correction.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    newest = _rows(engine, "SELECT COALESCE(MAX(id), 0) FROM corrections")[0][0]
    if newest <= after:
        return [], after
    first = "(SELECT MIN(c.id) FROM corrections c WHERE c.interaction_id = user_interactions.id)"
    where = (
        "id IN (SELECT interaction_id FROM corrections WHERE id > :after AND id <= :newest) "  # noqa: S608
        f"AND {first} > :after AND id <= :last AND timestamp >= :start AND NOT EXISTS "
        "(SELECT 1 FROM quarantine WHERE quarantine.interaction_id = user_interactions.id)"
    )
    values = {"after": after, "newest": newest, "last": last_id, "start": start_us}
    return _learned(engine, where, _EVERY_EVENT, **values), newest


def taken(engine: Engine, user_id: str, last_id: int) -> tuple[int, int, int]:
    """Return number, key sum and topic sum of a learner's valid events up to a key.

    Equal results mean equal events: events are never changed, only appended, superseded,
    quarantined and erased, and another catalogue may count them for other topics.

    Returns:
        Number of events, sum of their keys, and sum of `topic_checksum` of their topics.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = (
        "SELECT COUNT(*), COALESCE(SUM(id), 0), "  # noqa: S608 - our own numbers
        f"COALESCE(SUM((id % {_KEYS} + 1) * (topic_id % {_PRIME})), 0) FROM valid_interactions "
        f"WHERE user_id = {PRESENT_ID.format(':user')} AND id <= :last"
    )
    ((count, keys, topics),) = _rows(engine, query, user=user_id, last=last_id)
    return int(count), int(keys), int(topics)


def topic_checksum(key: int, topic_id: int) -> int:
    """Return a number that is added up per learner: it depends on which event has which topic.

    Its bounds keep the sum of ten million events within 64 bits.
    """
    return (key % _KEYS + 1) * (topic_id % _PRIME)


def outside_catalogue(engine: Engine) -> dict[int, int]:
    """Count the events on each topic that the catalogue does not have; empty without a catalogue.

    Quarantined events are included, superseded ones are not.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = (
        "SELECT topic_id, COUNT(*) FROM user_interactions "
        "WHERE topic_id NOT IN (SELECT topic_id FROM topics) AND EXISTS (SELECT 1 FROM topics) "
        "AND NOT EXISTS (SELECT 1 FROM corrections WHERE interaction_id = user_interactions.id) "
        "GROUP BY 1 ORDER BY 1"
    )
    return dict(_rows(engine, query))


def durations(
    engine: Engine, since_us: int, step: int, newest: int
) -> list[tuple[int, str, int, int]]:
    """Count learning events by topic, kind and duration in steps of `step` seconds.

    Args:
        engine: engine of the log.
        since_us: start of the range, microseconds since 1970.
        step: seconds per step, at least 1.
        newest: maximum number of newest rows to read, so a long log is not read as a whole.

    Returns:
        Topic, kind, duration in steps, number of events.

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


def _learned(
    engine: Engine, where: str, source: str = "valid_interactions", **parameters: int
) -> list[tuple[int, int, int, int]]:
    query = (
        f"SELECT topic_id, timestamp / {DAY}, COUNT(*), MIN(timestamp) "  # noqa: S608
        f"FROM {source} WHERE {where} "
        f"AND interaction_type IN {LEARNING_KINDS} GROUP BY 1, 2"
    )
    return _rows(engine, query, **parameters)


def _rows(engine: Engine, query: str, **parameters: int | str) -> list[Any]:
    with database.read_connection(engine) as connection:
        return [tuple(row) for row in connection.execute(text(query), parameters)]
