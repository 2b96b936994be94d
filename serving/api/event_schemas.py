"""Schemas of events that the platform sends, and of the recorded events that it gets back."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, RootModel, TypeAdapter, WithJsonSchema

from sensei.contracts import KINDS, LEVELS, Format
from sensei.errors import InvalidInput
from sensei.events import rules
from serving.api.request_schemas import Query, TopicId, Username
from serving.api.response_schemas import Level, ResponseModel

MAX_BATCH = 1_000
"""Maximum number of events per request."""

Style = Literal["visual", "kinesthetic", "mixed"]


def _named(name: str, rule: Callable[[Any], Any]) -> BeforeValidator:
    """Wrap a rule of the log so that its error names the field as the request does."""

    def check(value: Any) -> Any:
        try:
            return rule(value)
        except InvalidInput as error:
            raise InvalidInput(name + str(error)[str(error).index(":") :]) from None

    return BeforeValidator(check)


def _optional(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else rule(value)


def _text(name: str) -> Any:
    return _named(name, _optional(lambda value: rules.check_id(name, value)))


def _scored(value: Any) -> float:
    score = rules.check_score(value)
    if score is None:
        rules.refuse("score", "a fraction in [0, 1]", value, "send the share of points")
    return score


def _level(value: Any) -> str | None:
    return rules.check_metadata({"difficulty": value}).difficulty


def _told(name: str) -> Any:
    """Return a validator for a value that is stored in the metadata unchanged."""

    def check(value: Any) -> Any:
        rules.check_metadata({name: value})
        return value

    return _named(name, check)


_TEXT = {"type": ["string", "integer", "null"], "minLength": 1, "maxLength": rules.MAX_TEXT}
_SECONDS = {"type": ["number", "null"], "minimum": 0, "maximum": rules.MAX_DURATION_SECONDS}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}

EventId = Annotated[
    str | None,
    _text("event_id"),
    Field(description="Your id; events with the same id are stored once. Generated if absent"),
    WithJsonSchema(_TEXT),
]
Duration = Annotated[
    int | None,
    _named("duration", rules.check_duration),
    Field(description="Duration in seconds", examples=[240]),
    WithJsonSchema(_SECONDS),
]
Moment = Annotated[
    datetime | None,
    _named("timestamp", _optional(rules.check_time)),
    Field(description="Time at which it ended, ISO 8601; now if absent"),
    WithJsonSchema(_MOMENT),
]
PredictionId = Annotated[
    str | None,
    _text("prediction_id"),
    Field(description="Id of the answer that led to it"),
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
        BeforeValidator(_scored),
        Field(description="a fraction in [0, 1]", examples=[0.85]),
        WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
    ]
    duration: Duration = None
    event_id: EventId = None
    timestamp: Moment = None
    difficulty: Annotated[
        Level | None, _named("difficulty", _level), Field(description="Difficulty of the quiz")
    ] = None
    item_id: Annotated[str | None, _text("item_id"), WithJsonSchema(_TEXT)] = None
    prediction_id: PredictionId = None

    def event(self, user_id: str) -> dict[str, Any]:
        """Return the event that the body describes."""
        return {
            "user_id": user_id,
            "interaction_type": "quiz_complete",
            "topic_id": self.topic_id,
            "score": self.score,
            "duration_seconds": self.duration,
            "event_id": self.event_id,
            "timestamp": self.timestamp,
            "metadata": _given(self, "difficulty", "item_id", "prediction_id"),
        }


class RecommendationFeedback(Query):
    """Body of `POST /api/user/{username}/feedback/recommendation`."""

    topic_id: TopicId
    helpful: Annotated[
        bool | None,
        _told("helpful"),
        Field(description="true or false", examples=[True]),
    ] = None
    rating: Annotated[
        float | None,
        _told("rating"),
        Field(description="From 1 to 5", examples=[4]),
        WithJsonSchema({"type": ["number", "null"], "minimum": 1, "maximum": 5}),
    ] = None
    event_id: EventId = None
    timestamp: Moment = None
    prediction_id: PredictionId = None

    def event(self, user_id: str) -> dict[str, Any]:
        """Return the event that the body describes.

        Raises:
            InvalidInput: both `helpful` and `rating` are absent.
        """
        if self.helpful is None and self.rating is None:
            rules.refuse("helpful", "true or false, or a rating", None, "send one of them")
        return {
            "user_id": user_id,
            "interaction_type": "feedback_recommendation",
            "topic_id": self.topic_id,
            "event_id": self.event_id,
            "timestamp": self.timestamp,
            "metadata": _given(self, "helpful", "rating", "prediction_id"),
        }


def _given(sent: BaseModel, *names: str) -> dict[str, Any] | None:
    found = {name: getattr(sent, name) for name in names}
    return {name: value for name, value in found.items() if value is not None} or None


class TimeSpent(Query):
    """Body of `POST /api/knowledge-base/{doc_id}/view`."""

    username: LearnerId
    duration: Annotated[
        int,
        _named("duration", rules.check_duration),
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
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": rules.MAX_TOPIC_ID}),
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
    interaction_type: Annotated[str, WithJsonSchema({"enum": list(KINDS)})]
    topic_id: TopicId
    score: Annotated[float | None, Field(ge=0, le=1)] = None
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
