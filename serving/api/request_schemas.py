"""Request schemas, and the error sentence for an invalid request."""

from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS, Format, Input
from sensei.errors import InvalidInput
from sensei.event_fields import HIDDEN_CHARACTERS, TOPIC_ID, USER_ID
from sensei.events import rules

MAX_COUNT = 50
"""Maximum number of topics or steps per request."""

MAX_FAULTS = 10
"""Maximum number of faults named in an error: a body may hold a hundred thousand unknown fields."""

_HIDDEN = HIDDEN_CHARACTERS.replace(r"\x", r"\u00")  # as JSON schemas spell them

# The same rules as for the log: an id that cannot be logged cannot be queried.
Username = Annotated[
    str,
    BeforeValidator(partial(rules.check_user_id, "username")),
    Field(description=USER_ID.expected, examples=[USER_ID.example]),
    WithJsonSchema(
        {
            "type": "string",
            **USER_ID.limits,
            "pattern": f"^[^{_HIDDEN}]*[^\\s{_HIDDEN}][^{_HIDDEN}]*$",
        }
    ),
]
TopicId = Annotated[
    int,
    BeforeValidator(rules.check_topic),
    Field(description=TOPIC_ID.expected, examples=[TOPIC_ID.example]),
    WithJsonSchema({"type": "integer", **TOPIC_ID.limits}),
]


class Query(BaseModel):
    """Base of all requests; unknown fields are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecommendationsQuery(Query):
    """Path and query of `GET /api/user/{username}/recommendations`."""

    username: Username
    count: int = Field(
        3, ge=1, le=MAX_COUNT, description=f"a whole number from 1 to {MAX_COUNT}", examples=[3]
    )
    exclude_mastered: bool = Field(
        False, description="true or false: leave out mastered topics", examples=[True]
    )
    only_new: bool = Field(
        False, description="true or false: only topics new to the learner", examples=[True]
    )
    respect_prerequisites: bool = Field(
        False,
        description="true or false: leave out topics with unfinished prerequisites",
        examples=[True],
    )


class DifficultyQuery(Query):
    """Path and query of `GET /api/learning/topic/{topic_id}/difficulty/suggest`."""

    topic_id: TopicId
    username: Username


class LearningPathQuery(Query):
    """Path and query of `GET /api/user/{username}/learning-path`."""

    username: Username
    topic_id: TopicId | None = Field(
        None, description="a topic as the goal: a whole number of at least 0", examples=[12]
    )
    domain: str | None = Field(
        None, description="a domain of the catalogue as the goal", examples=["Cryptography"]
    )
    steps: int = Field(
        5, ge=1, le=MAX_COUNT, description=f"a whole number from 1 to {MAX_COUNT}", examples=[5]
    )
    format: Format | None = Field(None, description="one of text, video, lab", examples=["video"])


def _row_schema(contract: tuple[Input, ...]) -> list[dict[str, Any]]:
    """Return the JSON schemas of a row of inputs: as an object and as a list."""
    numbers = {
        column.name: {
            "type": "integer" if column.is_id else "number",
            "minimum": column.low,
            "maximum": column.high,
            "description": column.formula,
        }
        for column in contract
    }
    count = len(contract)
    return [
        {
            "type": "object",
            "properties": numbers,
            "required": list(numbers),
            "additionalProperties": False,
        },
        {
            "type": "array",
            "prefixItems": list(numbers.values()),
            "minItems": count,
            "maxItems": count,
        },
    ]


class PredictBody(Query):
    """Body of `POST /predict`."""

    features: Annotated[
        Any,
        WithJsonSchema(
            {"anyOf": [*_row_schema(RECOMMENDATION_INPUTS), *_row_schema(DIFFICULTY_INPUTS)]}
        ),
    ] = Field(
        description="a row of inputs by name or in order, or a list of rows",
        examples=[[1.5, 0.7, 0.1, 8.0]],
    )
    model: str | None = Field(
        None,
        description="recommendation, difficulty, or the candidate in use as one of them "
        "(such as reference)",
        examples=["difficulty"],
    )


Asked = TypeVar("Asked", bound=BaseModel)


def parse(model: type[Asked], values: Any) -> Asked:
    """Validate values and return the request.

    Args:
        model: schema of the request.
        values: path parameters and query, as text; or the content of a JSON body.

    Raises:
        InvalidInput: the message says what was expected, what was received, and what to send.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid_request(model, error) from None


def invalid_request(model: type[BaseModel], error: ValidationError) -> InvalidInput:
    """Return the error whose message names the faults found in a request."""
    faults = error.errors(include_url=False)
    sentences = [_sentence(model, fault) for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        sentences.append(f"{len(faults) - MAX_FAULTS} more faults; correct these first")
    return InvalidInput(". ".join(sentences))


def _sentence(model: type[BaseModel], error: Any) -> str:
    location = error["loc"]
    if not location:
        fields = ", ".join(model.model_fields)
        return f"body: expected an object of {fields}, got {error['input']!r:.80}; send one"
    path, name = ".".join(map(str, location)), str(location[0])
    field = model.model_fields.get(name)
    if field is None:
        names = ", ".join(model.model_fields) or "nothing"
        return f"{path}: expected only {names}, got {path}; leave it out"
    inside = len(location) > 1 or not field.description
    expected = error["msg"][0].lower() + error["msg"][1:] if inside else field.description
    got = "nothing" if error["type"] == "missing" else repr(error["input"])[:80]
    send = f"{name}={field.examples[0]}" if field.examples else name
    return f"{path}: expected {expected}, got {got}; send {send}"
