"""Schemas of events that the platform sends, and of the recorded events that it gets back."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, RootModel, TypeAdapter, WithJsonSchema

from sensei import event_fields as fields
from sensei.contracts import LEVELS, Format
from sensei.errors import InvalidInput
from sensei.events import rules
from serving.api.request_schemas import Query, TopicId, Username
from serving.api.response_schemas import Level, ResponseModel

if TYPE_CHECKING:
    from sensei.events.append import PendingRow

MAX_BATCH = 1_000
"""Maximum number of events per request."""

Style = Literal["visual", "kinesthetic", "mixed"]


def _id(name: str) -> BeforeValidator:
    """Return a validator for an id: text, or an integer that becomes text."""
    return BeforeValidator(partial(rules.check_id, name))


def _answer(name: str) -> BeforeValidator:
    """Return a validator for a value that is stored in the metadata unchanged."""

    def check(value: Any) -> Any:
        try:
            rules.check_metadata({name: value})
        except InvalidInput as error:
            raise InvalidInput(str(error).removeprefix("metadata.")) from None
        return value

    return BeforeValidator(check)


_TEXT = {"type": ["string", "integer", "null"], **fields.EVENT_ID.limits}
_SECONDS = {"type": ["number", "null"], **fields.DURATION_SECONDS.limits}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}

EventId = Annotated[
    Annotated[str, _id("event_id")] | None,
    Field(description=fields.EVENT_ID.description),
    WithJsonSchema(_TEXT),
]
Duration = Annotated[
    int | None,
    BeforeValidator(partial(rules.check_duration, field="duration")),
    Field(description="Duration in seconds", examples=[240]),
    WithJsonSchema(_SECONDS),
]
Moment = Annotated[
    Annotated[datetime, BeforeValidator(rules.check_time)] | None,
    Field(description=fields.TIMESTAMP.description),
    WithJsonSchema(_MOMENT),
]
PredictionId = Annotated[
    Annotated[str, _id("prediction_id")] | None,
    Field(description=fields.PREDICTION_ID.description),
    WithJsonSchema(_TEXT),
]


LearnerId = Annotated[
    Username,
    WithJsonSchema(
        {**TypeAdapter(Username).json_schema(), "type": ["string", "integer"]},
    ),
]
"""Learner's name in a JSON body; a number is accepted as text."""


class OfLearner(Query):
    """Path of a request that names a learner."""

    username: Username


class QuizSubmission(Query):
    """Body of `POST /api/learning/{username}/submit-quiz`."""

    topic_id: TopicId
    score: Annotated[
        float,
        BeforeValidator(rules.check_score),
        Field(description=fields.SCORE.expected, examples=[fields.SCORE.example]),
        WithJsonSchema({"type": "number", **fields.SCORE.limits}),
    ]
    duration: Duration = None
    event_id: EventId = None
    timestamp: Moment = None
    difficulty: Annotated[
        Level | None,
        Field(description="the difficulty of the quiz: easy, medium or hard", examples=["medium"]),
    ] = None
    item_id: Annotated[Annotated[str, _id("item_id")] | None, WithJsonSchema(_TEXT)] = None
    prediction_id: PredictionId = None

    def row(self, user_id: str, now: datetime) -> "PendingRow":
        """Return the row of the log that the body describes.

        Raises:
            InvalidInput: the timestamp is in the future.
        """
        from sensei.events.append import pending_row  # here: BentoML's supervisor needs no database

        return pending_row(
            user_id,
            "quiz_complete",
            self.topic_id,
            now,
            score=self.score,
            duration_seconds=self.duration,
            event_id=self.event_id,
            timestamp=self.timestamp,
            metadata=_present(
                difficulty=self.difficulty, item_id=self.item_id, prediction_id=self.prediction_id
            ),
        )


class RecommendationFeedback(Query):
    """Body of `POST /api/user/{username}/feedback/recommendation`."""

    topic_id: TopicId
    helpful: Annotated[
        bool | None,
        _answer("helpful"),
        Field(description=fields.HELPFUL.expected, examples=[fields.HELPFUL.example]),
    ] = None
    rating: Annotated[
        float | None,
        _answer("rating"),
        Field(description=fields.RATING.description, examples=[fields.RATING.example]),
        WithJsonSchema({"type": ["number", "null"], **fields.RATING.limits}),
    ] = None
    event_id: EventId = None
    timestamp: Moment = None
    prediction_id: PredictionId = None

    def row(self, user_id: str, now: datetime) -> "PendingRow":
        """Return the row of the log that the body describes.

        Raises:
            InvalidInput: both `helpful` and `rating` are absent, or the timestamp is in the future.
        """
        from sensei.events.append import pending_row

        if self.helpful is None and self.rating is None:
            rules.refuse("helpful", "true or false, or a rating", None, "send one of them")
        return pending_row(
            user_id,
            "feedback_recommendation",
            self.topic_id,
            now,
            event_id=self.event_id,
            timestamp=self.timestamp,
            metadata=_present(
                helpful=self.helpful, rating=self.rating, prediction_id=self.prediction_id
            ),
        )


def _present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


class TimeSpent(Query):
    """Body of `POST /api/knowledge-base/{doc_id}/view`."""

    username: LearnerId
    duration: Annotated[
        int,
        BeforeValidator(partial(rules.check_duration, field="duration")),
        Field(description="seconds spent with the resource", examples=[300]),
        WithJsonSchema(_SECONDS | {"type": "number"}),
    ]
    event_id: EventId = None
    timestamp: Moment = None


def _doc_id(value: Any) -> int:
    try:
        return rules.check_topic(value)
    except InvalidInput:
        rules.refuse("doc_id", "a whole number of at least 0", value, "send the resource's number")


class DocumentQuery(Query):
    """Path and query of `GET /api/knowledge-base/{doc_id}`."""

    doc_id: Annotated[
        int,
        BeforeValidator(_doc_id),
        Field(description="Id of the resource", examples=[1]),
        WithJsonSchema({"type": "integer", **fields.TOPIC_ID.limits}),
    ]


class ViewQuery(DocumentQuery):
    """Path and query of `GET /api/knowledge-base/{doc_id}`; a named learner's view is recorded."""

    username: Annotated[Username | None, Field(description="Learner who views the resource")] = None
    event_id: EventId = None


class SentEvent(BaseModel):
    """Event in the format of the log, for documentation only.

    `sensei.events.append` validates events.
    """

    user_id: LearnerId
    interaction_type: Annotated[str, WithJsonSchema(fields.INTERACTION_TYPE.limits)]
    topic_id: TopicId
    score: Annotated[float | None, Field(ge=fields.SCORE.minimum, le=fields.SCORE.maximum)] = None
    duration_seconds: Annotated[int | None, WithJsonSchema(_SECONDS)] = None
    event_id: EventId = None
    timestamp: Moment = None
    metadata: Annotated[
        dict[str, Any] | None,
        Field(description=f"item_id, difficulty ({', '.join(LEVELS)}), rating, helpful, ..."),
    ] = None


def _one_or_many(value: Any) -> Any:
    many = isinstance(value, list)
    if not isinstance(value, Mapping) and not (many and 1 <= len(value) <= MAX_BATCH):
        got = f"{len(value)} events" if many else value
        rules.refuse("body", f"an event, or a list of 1 to {MAX_BATCH}", got, "send it so")
    return value


_EVENT = SentEvent.model_json_schema() | {"additionalProperties": False}


class SentEvents(
    RootModel[
        Annotated[
            Any,
            BeforeValidator(_one_or_many),
            WithJsonSchema(
                {
                    "anyOf": [
                        _EVENT,
                        {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MAX_BATCH},
                    ]
                }
            ),
        ]
    ]
):
    """One event, or a list of events that is recorded as a whole or not at all."""


class RecordedEvent(ResponseModel):
    """An event as the log stores it."""

    event_id: str
    user_id: str
    interaction_type: str
    topic_id: int
    score: float | None
    duration_seconds: int | None
    timestamp: datetime
    metadata: dict[str, Any] | None


class RecordedEvents(ResponseModel):
    """Events as the log stores them, in the order in which they were sent."""

    interactions: list[RecordedEvent]


class RecordedResponse(RootModel[RecordedEvent | RecordedEvents]):
    """One recorded event, or several if a list was sent."""


class Document(ResponseModel):
    """A learning resource on a topic: something to read, watch or do."""

    doc_id: int
    topic_id: int
    topic: str = Field(description="Title of the topic")
    title: str
    format: Format
    url: str
    minutes: int | None
    view: RecordedEvent | None = Field(description="Logged event; null without a username")
