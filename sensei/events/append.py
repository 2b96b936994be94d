"""Checking and appending of a few events: the write path of single requests, without Arrow."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, NamedTuple, cast

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from sqlalchemy import Connection, Engine

from sensei.corrections.merged_ids import MergedIds, merged_ids
from sensei.errors import ConflictingEvent, InvalidBatch, InvalidInput, LearnerErased
from sensei.event_fields import EVENT_KEY, RECEIVED_AT
from sensei.events import event_ids, rules
from sensei.privacy import tombstones
from sensei.storage import database
from sensei.storage.revisions import conflict, raise_revisions
from sensei.storage.sql import insert_or_ignore_sql, signs
from sensei.storage.tables import UserInteraction, to_microseconds


def _user_id(value: object) -> str:
    return rules.check_user_id("user_id", value)


def _event_id(value: object) -> str | None:
    return None if value is None else rules.check_id("event_id", value)


def _metadata(value: object) -> dict[str, Any] | None:
    text = rules.check_metadata(value).text
    return None if text is None else orjson.loads(text)


class Interaction(BaseModel):
    """One action of a learner; every value has passed its rule in `sensei.events.rules`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Annotated[str, BeforeValidator(_user_id)]
    interaction_type: Annotated[str, BeforeValidator(rules.check_kind)]
    topic_id: Annotated[int, BeforeValidator(rules.check_topic)]
    timestamp: Annotated[datetime, BeforeValidator(rules.check_time)]
    score: Annotated[float | None, BeforeValidator(rules.check_score)] = None
    duration_seconds: Annotated[int | None, BeforeValidator(rules.check_duration)] = None
    metadata: Annotated[dict[str, Any] | None, BeforeValidator(_metadata)] = None
    event_id: Annotated[str | None, BeforeValidator(_event_id)] = None


def parse(row: Mapping[str, object]) -> Interaction:
    """Validate one event.

    Raises:
        InvalidInput: a value breaks its rule, or a field is missing or unknown.
    """
    try:
        return Interaction.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            fields = ", ".join(Interaction.model_fields)
            raise InvalidInput(
                f"{field}: expected one of {fields}, got an unknown field; leave it out"
            ) from error
        raise InvalidInput(f"{field}: expected a value, got none; send it") from error


class EventRow(NamedTuple):
    """Checked event as the log stores it; `timestamp` in microseconds since 1970."""

    event_id: str
    user_id: str
    interaction_type: str
    topic_id: int
    score: float | None
    duration_seconds: int | None
    timestamp: int
    item_id: str | None
    difficulty: str | None
    metadata: str | None


@dataclass(frozen=True)
class PendingRow:
    """Row to record; `stamped`: the server set its time, so a repeat may have another time."""

    row: EventRow
    stamped: bool = False


@dataclass(frozen=True)
class AppendResult:
    """Result of appending one submission.

    Attributes:
        rows: in the order of the submission; for a repeat, the row that was stored first.
        is_new: per row, True if this write added it to the log.
    """

    rows: tuple[EventRow, ...]
    is_new: tuple[bool, ...]

    @property
    def inserted(self) -> int:
        """Number of rows that this write added."""
        return sum(self.is_new)


_NAMES = ", ".join(EventRow._fields)


def entries(events: Iterable[Interaction | Mapping[str, Any]], now: datetime) -> list[PendingRow]:
    """Check events that were sent together.

    An event without a time gets `now`. An event without an id gets an id derived from its
    content, as in a file, so it may be sent again, and identical events count once. An event with
    neither always counts as a new event.

    Raises:
        InvalidBatch: at least one event breaks a rule; all such events are listed.
    """
    until, pending, bad = rules.latest(now), [], {}
    for position, event in enumerate(events):
        try:
            stamped = not isinstance(event, Interaction) and _object(event).get("timestamp") is None
            timed = event | {"timestamp": now} if stamped else event  # type: ignore[operator]
            checked = timed if isinstance(timed, Interaction) else parse(timed)
            rules.check_not_future(checked.timestamp, until)
        except InvalidInput as error:
            bad[position] = str(error)
        else:
            pending.append(PendingRow(_row(checked, stamped), stamped))
    if bad:
        raise InvalidBatch(bad)
    return pending


def _object(event: object) -> Mapping[str, Any]:
    if not isinstance(event, Mapping):
        rules.refuse("event", "an object", event, "send one with the fields of an event")
    return event


def pending_row(
    user_id: str,
    interaction_type: str,
    topic_id: int,
    now: datetime,
    *,
    score: float | None = None,
    duration_seconds: int | None = None,
    event_id: str | None = None,
    timestamp: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> PendingRow:
    """Build the row of an event whose values all passed their rules; see `entries`.

    Args:
        user_id: name of the learner.
        interaction_type: kind of event.
        topic_id: topic of the event.
        now: time of an event without a timestamp.
        score: fraction in [0, 1].
        duration_seconds: whole seconds.
        event_id: id of the event; generated if None.
        timestamp: time in UTC.
        metadata: flat values; `item_id` and `difficulty` have columns too.

    Raises:
        InvalidInput: the timestamp is in the future.
    """
    if timestamp is not None:
        rules.check_not_future(timestamp, rules.latest(now))
    row = EventRow(
        event_id or "",
        user_id,
        interaction_type,
        topic_id,
        score,
        duration_seconds,
        to_microseconds(timestamp or now),
        metadata.get("item_id") if metadata else None,
        metadata.get("difficulty") if metadata else None,
        orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS).decode() if metadata else None,
    )
    is_stamped = timestamp is None
    return PendingRow(row if event_id else _with_id(row, is_stamped), is_stamped)


def _row(event: Interaction, stamped: bool) -> EventRow:
    details = rules.check_metadata(event.metadata)
    row = EventRow(
        event.event_id or "",
        event.user_id,
        event.interaction_type,
        event.topic_id,
        event.score,
        event.duration_seconds,
        to_microseconds(event.timestamp),
        details.item_id,
        details.difficulty,
        details.text,
    )
    return row if row.event_id else _with_id(row, stamped)


def _with_id(row: EventRow, is_stamped: bool) -> EventRow:
    """Give a row an id: random if the server set its time, else derived from its content."""
    if is_stamped:
        return row._replace(event_id=str(uuid.uuid4()))
    return row._replace(event_id=event_ids.event_id(*row[1:7], row.metadata))


def record(
    engine: Engine, submissions: Sequence[Sequence[PendingRow]], now: datetime
) -> list[AppendResult | ConflictingEvent | LearnerErased]:
    """Record several submissions, each all or none, in one transaction if possible.

    Args:
        engine: engine of the log.
        submissions: per submission, the events that are written together.
        now: time of receipt.

    Returns:
        The outcome of each submission, in their order.

    Raises:
        StorageUnavailable: the database failed. Of an unacknowledged transaction, all or nothing
            was written: repeat it with the same event ids.
    """
    if len(submissions) > 1:
        try:
            recorded = append(
                engine, [entry for submission in submissions for entry in submission], now
            )
        except (ConflictingEvent, LearnerErased):
            pass  # separate transactions show which submission failed
        else:
            rows, is_new = iter(recorded.rows), iter(recorded.is_new)
            sizes = [len(submission) for submission in submissions]
            return [AppendResult((*islice(rows, n),), (*islice(is_new, n),)) for n in sizes]
    return [_alone(engine, submission, now) for submission in submissions]


def _alone(
    engine: Engine, submission: Sequence[PendingRow], now: datetime
) -> AppendResult | ConflictingEvent | LearnerErased:
    try:
        return append(engine, submission, now)
    except (ConflictingEvent, LearnerErased) as error:
        return error


def append(engine: Engine, submission: Sequence[PendingRow], now: datetime) -> AppendResult:
    """Append events in one transaction, all or none; events that are stored already stay unchanged.

    Events whose import was undone are brought back.

    Raises:
        ConflictingEvent: an event id is stored with another payload.
        LearnerErased: a learner was erased.
        StorageUnavailable: the database failed.
    """
    rows = tuple(entry.row for entry in submission)
    if not rows:
        return AppendResult((), ())
    with database.write_transaction(engine) as connection:
        tombstones.join_writers(connection)
        merged = merged_ids(connection, {row.user_id for row in rows})
        if merged.into:
            submission = [_under_present_id(entry, merged) for entry in submission]
            rows = tuple(entry.row for entry in submission)
        learners = merged.all_of(row.user_id for row in rows)
        tombstones.refuse_erased(connection, learners)
        # Before the rows: on PostgreSQL this locks the learners, in the same order for all writers.
        raise_revisions(connection, learners)
        inserted, is_new = _insert(connection, rows, now), (True,) * len(rows)
        if inserted < len(rows):
            stored = [_stored(connection, entry, now) for entry in submission]
            inserted += sum(row.is_restored for row in stored)
            rows = tuple(row.row for row in stored)
            is_new = _added([row.key for row in stored], inserted)
        if not inserted:  # nothing new: no revision may rise
            connection.get_transaction().rollback()  # type: ignore[union-attr]
    return AppendResult(rows, is_new)


def _under_present_id(entry: PendingRow, merged: MergedIds) -> PendingRow:
    present = entry.row._replace(user_id=merged.present(entry.row.user_id))
    return PendingRow(present, entry.stamped)


def _insert(connection: Connection, rows: Sequence[EventRow], now: datetime) -> int:
    cursor = connection.connection.cursor()
    columns = [*EventRow._fields, RECEIVED_AT.name]
    values = f"VALUES ({signs(connection, len(EventRow._fields))}, {to_microseconds(now)})"
    cursor.executemany(
        insert_or_ignore_sql(UserInteraction.__tablename__, columns, values, EVENT_KEY), rows
    )
    return int(cursor.rowcount)


class _StoredRow(NamedTuple):
    key: int
    row: EventRow
    is_restored: bool = False


def _stored(connection: Connection, entry: PendingRow, now: datetime) -> _StoredRow:
    """Return key and row that the log stores under the entry's id.

    An event whose import was undone is brought back, as it is sent; see `settle_superseded`.

    Raises:
        ConflictingEvent: the stored row has another payload.
    """
    cursor, sign = connection.connection.cursor(), signs(connection, 1)
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM corrections WHERE interaction_id = user_interactions.id), "  # noqa: S608
        f"id, {_NAMES} FROM user_interactions WHERE user_id = {sign} AND event_id = {sign}",
        (entry.row.user_id, entry.row.event_id),
    )
    is_superseded, key, *values = cast("Sequence[Any]", cursor.fetchone())
    stored = EventRow._make(values)
    sent = entry.row._replace(timestamp=stored.timestamp) if entry.stamped else entry.row
    if is_superseded:
        from sensei.corrections import corrections, superseding  # they import this module

        restored, unchanged = corrections.settle_superseded(connection, [sent], None, now)
        if restored:
            newest = superseding.current_version(connection, sent.user_id, sent.event_id)
            assert newest is not None, "it was stored two lines above"
            return _StoredRow(newest.stored.id, sent, is_restored=True)
        if unchanged:
            return _StoredRow(key, sent)
    if sent != stored:
        raise ConflictingEvent(conflict(sent.event_id))
    return _StoredRow(key, stored)


def _added(keys: Sequence[int], inserted: int) -> tuple[bool, ...]:
    """Mark the first mention of every row that this transaction inserted or brought back.

    These rows have the greatest keys: keys only grow. No other writer can have added a row of these
    learners since this transaction locked them.
    """
    added = set(sorted({*keys}, reverse=True)[:inserted])
    marks = []
    for key in keys:
        marks.append(key in added)
        added.discard(key)
    return tuple(marks)
