"""The tables of the database: the log, data derived from it, and decisions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column

from sensei import event_fields as fields
from sensei.event_fields import EventField, FieldType

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BIG_KEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself


class UtcMicroseconds(TypeDecorator[datetime]):
    """Aware UTC datetime in Python, microseconds since 1970 (BIGINT) in the database.

    Integers, because text would have to be parsed and millions of rows are read per second.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the time as an integer for storage."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the stored integer as a time in UTC."""
        return None if value is None else to_datetime(value)


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to an aware time, without rounding."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_datetime(microseconds: int) -> datetime:
    """Return the UTC time for a number of microseconds after 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


class Base(DeclarativeBase):
    """Base of all tables."""


_SQL_TYPES: dict[FieldType, Any] = {
    FieldType.KEY: BIG_KEY,
    FieldType.TEXT: String,
    FieldType.INTEGER: BigInteger,
    FieldType.NUMBER: Float(53),
    FieldType.TIME: UtcMicroseconds,
    FieldType.JSON: Text,  # Arrow readers need JSON as text
}


def _column(field: EventField) -> MappedColumn[Any]:
    """Return the column of an event's field."""
    is_key = field.type is FieldType.KEY
    kind = _SQL_TYPES[field.type]
    return mapped_column(field.name, kind, nullable=field.is_nullable, primary_key=is_key)


class UserInteraction(Base):
    """One action of a learner; never changed, only appended, superseded, quarantined or erased."""

    __tablename__ = "user_interactions"
    __table_args__ = (
        UniqueConstraint("user_id", "event_id", name="uq_user_interactions_event"),
        Index("ix_user_interactions_user_time", "user_id", "timestamp"),
        Index("ix_user_interactions_time", "timestamp"),
        {"sqlite_autoincrement": True},  # the key of an erased row is never used again
    )

    id: Mapped[int] = _column(fields.ID)
    event_id: Mapped[str] = _column(fields.EVENT_ID)
    user_id: Mapped[str] = _column(fields.USER_ID)
    interaction_type: Mapped[str] = _column(fields.INTERACTION_TYPE)
    topic_id: Mapped[int] = _column(fields.TOPIC_ID)
    score: Mapped[float | None] = _column(fields.SCORE)
    duration_seconds: Mapped[int | None] = _column(fields.DURATION_SECONDS)
    timestamp: Mapped[datetime] = _column(fields.TIMESTAMP)
    # Both are in the metadata too; extracted once, so that reading parses no JSON.
    item_id: Mapped[str | None] = _column(fields.ITEM_ID)
    difficulty: Mapped[str | None] = _column(fields.DIFFICULTY)
    received_at: Mapped[datetime] = _column(fields.RECEIVED_AT)
    # `metadata` is reserved on a declarative class.
    event_metadata: Mapped[str | None] = _column(fields.METADATA)
    import_id: Mapped[int | None] = mapped_column(BigInteger)
    # Key of the row that this one supersedes: it takes that row's turn among events of one time.
    arrival: Mapped[int | None] = mapped_column(BigInteger)


class LearnerRow(Base):
    """Learner with at least one write; `revision` counts the writes that touched them."""

    __tablename__ = "learners"

    user_id: Mapped[str] = mapped_column(String, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    style_override: Mapped[str | None] = mapped_column(String)


class ErasedLearner(Base):
    """Erased learner, known only by a keyed digest; see `sensei.privacy.tombstones`."""

    __tablename__ = "erased"

    tombstone: Mapped[str] = mapped_column(String, primary_key=True)
    # The learner's former revision: the sum of all revisions must never fall.
    revision: Mapped[int] = mapped_column(BigInteger)
    erased_at: Mapped[datetime] = mapped_column(UtcMicroseconds)


class TopicRow(Base):
    """Topic of the curriculum."""

    __tablename__ = "topics"

    topic_id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(String)
    domain: Mapped[str] = mapped_column(String)
    prerequisites: Mapped[list[int]] = mapped_column(JSON, default=list)
    minutes: Mapped[int | None] = mapped_column(Integer)
    # A retired topic keeps its events and is never offered.
    retired: Mapped[bool] = mapped_column(Boolean, default=False)
    # Offered topic that the events on this one count for; null if there is none.
    replaced_by: Mapped[int | None] = mapped_column(BigInteger)


class ResourceRow(Base):
    """Resource of a topic to read, watch or do."""

    __tablename__ = "resources"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    topic_id: Mapped[int] = mapped_column(ForeignKey("topics.topic_id"), index=True)
    kind: Mapped[str] = mapped_column(String)
    title: Mapped[str] = mapped_column(String)
    url: Mapped[str] = mapped_column(String)
    minutes: Mapped[int | None] = mapped_column(Integer)


class Prediction(Base):
    """Served answer: its learner, content, model version and inputs."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_user_time", "user_id", "created_at"),)

    prediction_id: Mapped[str] = mapped_column(String, primary_key=True)
    user_id: Mapped[str] = mapped_column(String)
    kind: Mapped[str] = mapped_column(String)  # recommendation, difficulty or learning_path
    topic_id: Mapped[int | None] = mapped_column(BigInteger)  # of the request, if any
    model: Mapped[str] = mapped_column(String)
    version: Mapped[str | None] = mapped_column(String)  # a counting policy has none
    bundle: Mapped[str | None] = mapped_column(String)
    arm: Mapped[str] = mapped_column(String)
    propensity: Mapped[float] = mapped_column(Float(53))  # of a learner to be in that arm
    fallback: Mapped[str | None] = mapped_column(String)  # reason why no model answered
    answer: Mapped[Any] = mapped_column(JSON)  # as shown: list indices are ranks
    candidates: Mapped[Any] = mapped_column(JSON, nullable=True)  # [topic, probability], best first
    inputs: Mapped[Any] = mapped_column(JSON, nullable=True)  # name -> numbers that the model read
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds, index=True)


class Promotion(Base):
    """Entry of the ledger: a version became champion, or was to become champion."""

    __tablename__ = "promotions"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    model: Mapped[str] = mapped_column(String, index=True)
    from_version: Mapped[str | None] = mapped_column(String)
    to_version: Mapped[str] = mapped_column(String)
    bundle: Mapped[str | None] = mapped_column(String)
    status: Mapped[str] = mapped_column(String)
    decided_by: Mapped[str] = mapped_column(String)
    reason: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds)
    finished_at: Mapped[datetime | None] = mapped_column(UtcMicroseconds)


class ServingState(Base):
    """Pointer to the bundle that serving must load: a single row."""

    __tablename__ = "serving_state"

    name: Mapped[str] = mapped_column(String, primary_key=True)
    bundle: Mapped[str] = mapped_column(String)
    updated_at: Mapped[datetime] = mapped_column(UtcMicroseconds)


class Quarantined(Base):
    """Row that was refused or excluded from the valid interactions, with the reason."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    digest: Mapped[str] = mapped_column(String, unique=True)
    interaction_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    user_id: Mapped[str | None] = mapped_column(String, index=True)
    event_id: Mapped[str | None] = mapped_column(String)
    source: Mapped[str] = mapped_column(String)
    reason: Mapped[str] = mapped_column(String)
    expectation: Mapped[str] = mapped_column(String)
    row: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds)


class CorrectionRow(Base):
    """Correction of an interaction; several may name the same one, and the newest counts.

    `action` is `void`, `correct`, `merge` or `undo`; `replaced_by` is the key of the row that
    supersedes the interaction, None if none does.
    """

    __tablename__ = "corrections"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    user_id: Mapped[str] = mapped_column(String, index=True)
    interaction_id: Mapped[int] = mapped_column(BigInteger, index=True)
    replaced_by: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String)
    reason: Mapped[str | None] = mapped_column(String)
    actor: Mapped[str] = mapped_column(String)
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds)


class ImportRow(Base):
    """Import of files; `rows` counts the events that it added."""

    __tablename__ = "imports"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    source: Mapped[str] = mapped_column(String)
    digest: Mapped[str] = mapped_column(String)
    actor: Mapped[str] = mapped_column(String)
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds)
    rows: Mapped[int] = mapped_column(BigInteger)


class MergedLearner(Base):
    """Former id of a learner; events sent under it count for `into_user_id`."""

    __tablename__ = "merged_learners"

    user_id: Mapped[str] = mapped_column(String, primary_key=True)
    into_user_id: Mapped[str] = mapped_column(String, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds)


class AppStateRow(Base):
    """Named value about the database, such as the demo mark or the previous run's facts."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(String, primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class ApiKey(Base):
    """API key of the service; the key itself is shown once and never stored."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String, primary_key=True)
    role: Mapped[str] = mapped_column(String)
    digest: Mapped[str] = mapped_column(String)
    created_at: Mapped[datetime] = mapped_column(UtcMicroseconds)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcMicroseconds)


class AuditEntry(Base):
    """Act with its actor, time and origin; a learner is known only by a keyed digest."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcMicroseconds)
    actor: Mapped[str] = mapped_column(String)
    action: Mapped[str] = mapped_column(String)
    origin: Mapped[str] = mapped_column(String)
    subject: Mapped[str | None] = mapped_column(String)
    detail: Mapped[Any] = mapped_column(JSON)
