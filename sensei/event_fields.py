"""The fields of an event, each defined once.

The table `user_interactions`, the types in Arrow and pandas, the limits of the row rules and of the
request schemas, and the expectation suites derive from them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from math import inf
from typing import Any, get_args

from sensei.contracts import KINDS, LEVELS, MAX_FUTURE_MINUTES, Format


class FieldType(Enum):
    """Types of fields; times are aware and in UTC."""

    KEY = auto()
    TEXT = auto()
    INTEGER = auto()
    NUMBER = auto()
    BOOLEAN = auto()
    TIME = auto()
    JSON = auto()


@dataclass(frozen=True, eq=False)
class EventField:
    """One field of an event.

    Attributes:
        name: name in files, requests, tables and frames.
        type: type of its values.
        description: meaning, for API documentation.
        expected: valid values in words, as errors name them.
        example: valid value.
        is_nullable: True if an event in the log may have no value.
        is_sent: True if files and requests have it; otherwise this software sets it.
        is_repeated: True if many events share a text; tables then encode it.
        minimum: lowest valid number.
        maximum: highest valid number.
        max_length: maximum characters of a text, or maximum bytes of JSON; 0: no limit.
        choices: valid texts; empty: any.
    """

    name: str
    type: FieldType
    description: str
    expected: str = ""
    example: Any = None
    is_nullable: bool = False
    is_sent: bool = True
    is_repeated: bool = False
    minimum: float = -inf
    maximum: float = inf
    max_length: int = 0
    choices: tuple[str, ...] = ()

    @property
    def limits(self) -> dict[str, Any]:
        """The limits of valid values as keywords of a JSON schema."""
        if self.choices:
            return {"enum": list(self.choices)}
        if self.type is FieldType.TEXT and self.max_length:
            return {"minLength": 1, "maxLength": self.max_length}
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        return {word: bound for word, bound in bounds.items() if abs(bound) != inf}


MAX_TEXT = 200
"""Maximum characters of an id."""

MAX_METADATA = 16_384
"""Maximum bytes of an event's metadata, as JSON."""

MAX_DURATION_SECONDS = 366 * 86400
"""Maximum duration of an event in seconds: one year."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Earliest time of an event; a clock that was never set shows this time or an earlier one."""

HIDDEN_CHARACTERS = (
    r"\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
)
"""Control characters and characters without width, for a set in a regular expression.

Nobody can see them, so two ids that differ by them look the same.
"""

_ID_TEXT = f"text of 1 to {MAX_TEXT} characters"

ID = EventField(
    "id", FieldType.KEY, "Key of the row; keys only grow and are never used again", is_sent=False
)
EVENT_ID = EventField(
    "event_id",
    FieldType.TEXT,
    "Your id; events with the same id are stored once. Generated if absent",
    _ID_TEXT,
    "quiz-2026-01-31-17",
    max_length=MAX_TEXT,
)
USER_ID = EventField(
    "user_id",
    FieldType.TEXT,
    "Id of the learner",
    _ID_TEXT,
    "testuser",
    is_repeated=True,
    max_length=MAX_TEXT,
)
INTERACTION_TYPE = EventField(
    "interaction_type",
    FieldType.TEXT,
    "Kind of the event",
    "one of " + ", ".join(KINDS),
    "quiz_complete",
    is_repeated=True,
    choices=KINDS,
)
TOPIC_ID = EventField(
    "topic_id",
    FieldType.INTEGER,
    "Id of the topic in the catalogue",
    "a whole number of at least 0",
    1,
    minimum=0,
    maximum=2**63 - 1,
)
SCORE = EventField(
    "score",
    FieldType.NUMBER,
    "Share of points",
    "a fraction in [0, 1]",
    0.85,
    is_nullable=True,
    minimum=0,
    maximum=1,
)
DURATION_SECONDS = EventField(
    "duration_seconds",
    FieldType.INTEGER,
    "Duration in seconds",
    f"seconds in [0, {MAX_DURATION_SECONDS}]",
    240,
    is_nullable=True,
    minimum=0,
    maximum=MAX_DURATION_SECONDS,
)
TIMESTAMP = EventField(
    "timestamp",
    FieldType.TIME,
    "Time at which it ended, ISO 8601; now if absent",
    f"a time from {EARLIEST.year} on, at most {MAX_FUTURE_MINUTES} minutes in the future",
    "2026-01-31T09:30:00Z",
)
ITEM_ID = EventField(
    "item_id",
    FieldType.TEXT,
    "Id of the quiz or exercise, from the metadata",
    _ID_TEXT,
    "quiz-17",
    is_nullable=True,
    is_sent=False,
    is_repeated=True,
    max_length=MAX_TEXT,
)
DIFFICULTY = EventField(
    "difficulty",
    FieldType.TEXT,
    "Difficulty of the quiz, from the metadata",
    "one of " + ", ".join(LEVELS),
    "medium",
    is_nullable=True,
    is_sent=False,
    is_repeated=True,
    choices=LEVELS,
)
RECEIVED_AT = EventField(
    "received_at", FieldType.TIME, "Time at which the log received it", is_sent=False
)
METADATA = EventField(
    "metadata",
    FieldType.JSON,
    "Further facts of the event, such as item_id, difficulty, rating and helpful",
    "a JSON object",
    {"item_id": "quiz-17", "difficulty": "medium"},
    is_nullable=True,
    is_repeated=True,
    max_length=MAX_METADATA,
)

FIELDS = (
    ID,
    EVENT_ID,
    USER_ID,
    INTERACTION_TYPE,
    TOPIC_ID,
    SCORE,
    DURATION_SECONDS,
    TIMESTAMP,
    ITEM_ID,
    DIFFICULTY,
    RECEIVED_AT,
    METADATA,
)
"""The fields in the order of the table's columns."""

CHECKED = tuple(field for field in FIELDS if field not in (ID, RECEIVED_AT))
"""Fields of a checked event, as it is inserted into the log."""

CONTRACT_COLUMNS = tuple(field.name for field in FIELDS if field.is_sent)
"""Columns of a file or a request; those not in `REQUIRED_COLUMNS` may be absent."""

REQUIRED_COLUMNS = tuple(
    field.name for field in FIELDS if field.is_sent and not (field.is_nullable or field is EVENT_ID)
)

EVENT_KEY = (USER_ID.name, EVENT_ID.name)
"""Columns that identify an event."""

PAYLOAD = tuple(name for name in CONTRACT_COLUMNS if name not in EVENT_KEY)
"""Columns that must be equal if an event id arrives a second time.

Derived event ids are digests of these values in this order: another order changes the ids.
"""

RATING = EventField(
    "rating",
    FieldType.NUMBER,
    "From 1 to 5",
    "a number in [1, 5]",
    4,
    is_nullable=True,
    minimum=1,
    maximum=5,
)
HELPFUL = EventField(
    "helpful",
    FieldType.BOOLEAN,
    "True if the recommendation helped",
    "true or false",
    True,
    is_nullable=True,
)
FORMAT = EventField(
    "format",
    FieldType.TEXT,
    "Format of the resource: " + ", ".join(get_args(Format)),
    "text",
    "video",
    is_nullable=True,
)
PREDICTION_ID = EventField(
    "prediction_id",
    FieldType.TEXT,
    "Id of the answer that led to it",
    "text",
    is_nullable=True,
    max_length=MAX_TEXT,
)

ANSWER_FIELDS = (RATING, HELPFUL, FORMAT, PREDICTION_ID)
"""Fields inside the metadata of an event that answers a recommendation."""
